package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// exitCodes says what a command's exit code means.
const exitCodes = `0   it is done; also a watch that was interrupted, and an end of leases that were not there
1   refused or wrong: files with errors, a guard, a server that cannot be reached or says no
2   usage: a command line that cannot be meant`

// environment says which variables the commands read. What sets the server's own keys is named with its flags.
const environment = `GEODNS_API     URL of a running server's API, for the commands that ask one, where --api does not say
GEODNS_TOKEN   token of that API
GEODNS_...     a key of the server's file, such as GEODNS_API_LISTEN for api.listen; a flag is stronger, the file weaker
NO_COLOR       if it is not empty, no colors
TERM           dumb: neither colors nor progress`

// rootLong is the help of the whole command.
const rootLong = `An authoritative DNS server that steers traffic, and the tools around it: serve runs it, check and explain work offline from the
same files, the other commands ask a running server over its HTTP API. Results go to standard output, errors and progress to
standard error. -o json or -o yaml gives documents for programs.`

// newTopics builds the texts that are help alone.
func newTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the exit codes mean", Long: "Exit codes:\n\n" + indent(exitCodes)},
		{Use: "environment", Short: "Which variables are read", Long: "Environment:\n\n" + indent(environment)},
	}
}

// indent moves a text's lines in.
func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

// addCompletion adds cobra's `completion`, for the shells that are tested.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Short = "Print a script for bash, zsh or fish that completes commands, flags and names"
		// cobra's own checks give errors that are no usageError.
		inner := group(c.Name(), c.Short)
		c.Args, c.RunE = inner.Args, inner.RunE
		for _, shell := range c.Commands() {
			if shell.Name() == "powershell" {
				c.RemoveCommand(shell)
				continue
			}
			shell.Args = arguments(0, 0, "no arguments")
		}
	}
}
