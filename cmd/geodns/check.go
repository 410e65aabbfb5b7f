package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"geodns/internal/node"
	"geodns/pkg/api"
)

// newCheck builds `geodns check`.
func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check everything that serve would load, and run the policy tests, offline",
		Long: `Check the server's file, zones, policies and geo databases as serve would, without a socket or a probe, and run the policy
tests of *.test.yaml if nothing else is wrong. Findings go to standard output, one a line: file:line:col: error: message. A test that
does not pass is an error. Warnings alone exit 0, errors 1.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return check(cmd) },
	}
	addConfig(cmd)
	addOutput(cmd)
	return cmd
}

// The results of a policy test.
const (
	testPassed = "passed"
	testFailed = "failed"
	testNotRun = "not run" // something else is wrong in the files
)

// checkTest is a policy test in the document that check writes.
type checkTest struct {
	Name   string `json:"name,omitempty"`
	Expect string `json:"expect"`
	Result string `json:"result"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Col    int    `json:"col"`
}

// check prints what is wrong in the files.
func check(cmd *cobra.Command) error {
	cfg, findings, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	var checked node.Checked
	if !findings.HasErrors() {
		stop := progress(cmd.ErrOrStderr(), "checking the files")
		checked = node.Check(cfg)
		findings = append(findings, checked.Findings...)
		stop()
	}
	tests, passed := checkTests(&checked)
	if wantsDocument(cmd) {
		document := struct {
			Findings []api.Finding `json:"findings"`
			Errors   int           `json:"errors_total"`
			Tests    []checkTest   `json:"tests"`
			Passed   int           `json:"tests_passed_total"`
		}{api.FindingsOf(findings), findings.Errors(), tests, passed}
		if err := writeDocument(cmd, document); err != nil {
			return err
		}
	} else {
		writeFindings(cmd.OutOrStdout(), findings)
	}
	said := ""
	switch {
	case len(tests) > 0 && !checked.Ran:
		said = fmt.Sprintf("%s not run", count(len(tests), "policy test"))
	case len(tests) > 0:
		said = fmt.Sprintf("%d of %s passed", passed, count(len(tests), "policy test"))
	}
	switch {
	case findings.HasErrors() && said != "":
		return fmt.Errorf("check: %s; %s", count(findings.Errors(), "error"), said)
	case findings.HasErrors():
		return fmt.Errorf("check: %s", count(findings.Errors(), "error"))
	case said != "":
		fmt.Fprintln(cmd.ErrOrStderr(), "geodns: check: "+said)
	}
	return nil
}

// checkTests lists the policy tests, and counts those that passed.
func checkTests(c *node.Checked) (tests []checkTest, passed int) {
	tests = []checkTest{}
	for _, r := range c.Tests {
		t := checkTest{Name: r.Name, Expect: r.Text, Result: testNotRun, File: r.Place.File, Line: r.Place.Line, Col: r.Place.Col}
		switch {
		case r.Passed:
			t.Result = testPassed
			passed++
		case c.Ran:
			t.Result = testFailed
		}
		tests = append(tests, t)
	}
	return tests, passed
}
