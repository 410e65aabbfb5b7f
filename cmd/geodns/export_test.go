package main

// Main is the command, for the scripts that run it as a process.
func Main() { main() }
