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
		Short: "Check everything that serve would load, offline",
		Long: `Check the server's file, zones, policies and geo databases as serve would, without a socket or a probe. Findings go to
standard output, one a line: file:line:col: error: message. Warnings alone exit 0, errors 1.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return check(cmd) },
	}
	addConfig(cmd)
	addOutput(cmd)
	return cmd
}

// check prints what is wrong in the files.
func check(cmd *cobra.Command) error {
	cfg, findings, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	if !findings.HasErrors() {
		stop := progress(cmd.ErrOrStderr(), "checking the files")
		findings = append(findings, node.Check(cfg)...)
		stop()
	}
	if wantsDocument(cmd) {
		document := struct {
			Findings []api.Finding `json:"findings"`
			Errors   int           `json:"errors_total"`
		}{api.FindingsOf(findings), findings.Errors()}
		if err := writeDocument(cmd, document); err != nil {
			return err
		}
	} else {
		writeFindings(cmd.OutOrStdout(), findings)
	}
	if findings.HasErrors() {
		return fmt.Errorf("check: %s", count(findings.Errors(), "error"))
	}
	return nil
}
