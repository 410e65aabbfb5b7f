// Command geodns is the server and the tools around it: serve runs it, check and explain work offline from the same files, the other
// commands ask a running server over its HTTP API.
//
// The command is thin. It reads flags, environment and the server's file into a node.Config, handles signals, prints results
// and turns them into exit codes: 0 fine, 1 refused or wrong, 2 usage. Results go to standard output, errors to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"geodns/pkg/operator"
)

// The exit codes.
const (
	exitFine    = 0
	exitRefused = 1
	exitUsage   = 2
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole command: arguments in, exit code out.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitFine
	}
	if errors.Is(err, errRefused) {
		return exitRefused // the findings were printed, they say all
	}
	fmt.Fprintf(stderr, "geodns: %v\n", err)
	if _, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(stderr, "geodns: see %s --help\n", cmd.CommandPath())
		return exitUsage
	}
	return exitRefused
}

// errRefused ends a command with exit code 1 and no more words.
var errRefused = errors.New("refused")

// usageError is a command line that cannot be meant.
type usageError struct{ err error }

// Error gives what is wrong with the command line.
func (e *usageError) Error() string { return e.err.Error() }

// Unwrap gives the error behind it.
func (e *usageError) Unwrap() error { return e.err }

// usagef makes a usageError.
func usagef(format string, a ...any) error { return &usageError{fmt.Errorf(format, a...)} }

// flagError makes a usageError of a flag that cannot be read. pflag's own text of a bad value tells of the function that read it,
// where a person wants to know what would be right.
func flagError(err error) error {
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return &usageError{err}
	}
	wanted := map[string]string{
		"duration": "a time such as 90m or 48h", "float64": "a number such as 0.5", "int": "a whole number", "uint64": "a whole number",
	}[bad.GetFlag().Value.Type()]
	if wanted == "" {
		return &usageError{err}
	}
	return usagef("--%s: %q is not %s", bad.GetFlag().Name, bad.GetValue(), wanted)
}

// newRoot builds the command tree.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "geodns",
		Short:         "An authoritative DNS server that steers traffic",
		Long:          rootLong + "\n\nExit codes:\n" + indent(exitCodes),
		SilenceUsage:  true,
		SilenceErrors: true,
		// cobra's own answer to an unknown command is an error that cannot be told from others.
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("which command? One of %s", names(cmd))
			}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				return usagef("unknown command %q; did you mean %q?", args[0], near[0])
			}
			return usagef("unknown command %q; there are %s", args[0], names(cmd))
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	root.AddCommand(newServe(), newCheck(), newExplain(), newStatus(), newWatch(), newList(), newReload(), newChecks(), newRUM(), newToken(), newVersion())
	root.AddCommand(newDrain(), newSet(), newLeases(), newAudit(),
		newEnd("undrain", operator.Drain, "End the leases that drain a target, region, tag or pool"),
		newEnd("unset", operator.Set, "End the leases that hold a target, region, tag or pool at a state or a part of its traffic"))
	root.AddCommand(newTopics()...)
	addMan(root)
	checkHelp(root)
	addCompletion(root)
	completeNoFiles(root)
	return root
}

// names lists the commands.
func names(root *cobra.Command) string {
	list := ""
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			if list != "" {
				list += ", "
			}
			list += c.Name()
		}
	}
	return list
}

// arguments checks how many there are; cobra's own checks give errors that are no usageError.
func arguments(lo, hi int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < lo || len(args) > hi {
			return usagef("%s takes %s, not %q", cmd.CommandPath(), what, args)
		}
		return nil
	}
}
