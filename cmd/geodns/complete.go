package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"geodns/pkg/api"
	"geodns/pkg/operator"
)

// completeTimeout bounds what a person waits for who pressed the tab key.
const completeTimeout = time.Second

// complete has a flag completed from a few words.
func complete(cmd *cobra.Command, flag string, words ...string) {
	// It only fails where there is no such flag, or where it has a completion already.
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}

// completeFiles has a flag completed from the YAML files that there are.
func completeFiles(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagFilename(flag, "yaml", "yml"); err != nil {
		panic(err) // there is no such flag
	}
}

// completeFrom completes a word from what a running server says; without one there is nothing to offer. It says nothing: the
// person is in the middle of a line.
func completeFrom(cmd *cobra.Command, path string, document any, words func() []string) ([]string, cobra.ShellCompDirective) {
	cmd.SetErr(io.Discard)
	ctx, cancel := context.WithTimeout(cmdContext(cmd), completeTimeout)
	defer cancel()
	c, err := newClient(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c.say = io.Discard
	if err := c.get(ctx, path, document); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found := words()
	slices.Sort(found)
	return slices.Compact(found), cobra.ShellCompDirectiveNoFileComp
}

// cmdContext is a command's context; one that is completed may have none.
func cmdContext(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// completeObject completes a kind, then the name of an object of it.
func completeObject(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return kinds(), cobra.ShellCompDirectiveNoFileComp
	case 1:
		var document targetsDocument
		return completeFrom(cmd, "/v1/targets", &document, func() []string { return objects(operator.Kind(args[0]), document.Targets) })
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// objects are the names of a kind's objects that have targets.
func objects(kind operator.Kind, targets []api.Target) []string {
	var found []string
	for i := range targets {
		t := &targets[i]
		switch kind {
		case operator.KindTarget:
			found = append(found, t.ID)
		case operator.KindPool:
			pool, _, _ := strings.Cut(t.ID, "/")
			found = append(found, pool)
		case operator.KindRegion:
			found = append(found, t.Region)
		case operator.KindTag:
			found = append(found, t.Tags...)
		}
	}
	return slices.DeleteFunc(found, func(name string) bool { return name == "" })
}

// completeHeld completes a kind, then the name of an object with a lease that can be ended.
func completeHeld(of operator.Action) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return kinds(), cobra.ShellCompDirectiveNoFileComp
		}
		if len(args) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var document leasesDocument
		return completeFrom(cmd, "/v1/leases", &document, func() []string {
			var found []string
			for i := range document.Leases {
				if l := &document.Leases[i]; l.Active && l.Action == string(of) && l.Kind == args[0] {
					found = append(found, l.Name)
				}
			}
			return found
		})
	}
}

// completeLease completes the id of a lease.
func completeLease(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var document leasesDocument
	return completeFrom(cmd, "/v1/leases", &document, func() []string {
		var found []string
		for i := range document.Leases {
			found = append(found, document.Leases[i].ID)
		}
		return found
	})
}

// completeTarget completes a target.
func completeTarget(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeObject(cmd, []string{string(operator.KindTarget)}, "")
}

// completeCheck completes the name of a check.
func completeCheck(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var document checksDocument
	return completeFrom(cmd, "/v1/checks", &document, func() []string {
		var found []string
		for i := range document.Checks {
			found = append(found, document.Checks[i].Name)
		}
		return found
	})
}

// completeNoFiles keeps files from being offered where no command takes one as an argument.
func completeNoFiles(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
			c.ValidArgsFunction = cobra.NoFileCompletions
		}
		completeNoFiles(c)
	}
}
