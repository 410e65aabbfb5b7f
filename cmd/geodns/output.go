package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"geodns/internal/source"
)

// The forms of output.
const (
	outputTable = "table"
	outputText  = "text" // the table's older name
	outputJSON  = "json"
	outputYAML  = "yaml"
)

// addOutput adds -o and checks it before the command runs.
func addOutput(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", outputTable, "table for people; json or yaml for programs")
	complete(cmd, "output", outputTable, outputJSON, outputYAML)
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		form := cmd.Flag("output").Value.String()
		if !slices.Contains([]string{outputTable, outputText, outputJSON, outputYAML}, form) {
			return usagef("--output is table, json or yaml, not %q", form)
		}
		return nil
	}
}

// wantsDocument says whether a program reads what is printed.
func wantsDocument(cmd *cobra.Command) bool {
	form := cmd.Flag("output").Value.String()
	return form == outputJSON || form == outputYAML
}

// writeDocument writes a document for programs, in the form that was asked for.
func writeDocument(cmd *cobra.Command, document any) error {
	var err error
	if cmd.Flag("output").Value.String() == outputYAML {
		err = writeYAML(cmd.OutOrStdout(), document)
	} else {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(document)
	}
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// show writes a document in the form that was asked for; what people read, text writes.
func show(cmd *cobra.Command, document any, text func(*page) error) error {
	if wantsDocument(cmd) {
		return writeDocument(cmd, document)
	}
	if err := text(newPage(cmd)); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// writeFindings writes findings in their line form, as editors read them.
func writeFindings(w io.Writer, findings source.Findings) {
	findings.Sort()
	for _, f := range findings {
		fmt.Fprintln(w, f)
	}
}

// count says how many of a thing there are.
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
