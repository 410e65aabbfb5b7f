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
const environment = `GEODNS_API       URL of a running server's API, for the commands that ask one, where --api does not say
GEODNS_API_CA    file of the CAs of its certificate, where --api-ca does not say
GEODNS_API_CERT  file of the client certificate to show it, with GEODNS_API_KEY
GEODNS_API_KEY   file of that certificate's private key
GEODNS_TOKEN     token of that API
GEODNS_...       a key of the server's file, such as GEODNS_API_LISTEN for api.listen; a flag is stronger, the file weaker
NO_COLOR         if it is not empty, no colors
TERM             dumb: neither colors nor progress`

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

// checkHelp has `help` refuse a command that there is not. cobra's own shows the help of the whole command in its place, as if that
// had been asked for.
func checkHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() != "help" {
			continue
		}
		c.Args = func(_ *cobra.Command, args []string) error {
			found, rest, err := root.Find(args)
			if err != nil || len(rest) == 0 {
				return err
			}
			known := names(found)
			if known == "" {
				return usagef("there is no command %q: %s has none below it", strings.Join(args, " "), found.CommandPath())
			}
			return usagef("there is no command %q; %s has %s", strings.Join(args, " "), found.CommandPath(), known)
		}
	}
}

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
