//go:build man

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manSection is the manual's section of commands.
const manSection = "1"

// addMan adds `man DIR`, which writes a page for each command. It is no part of the binary that is installed: build with -tags man.
func addMan(root *cobra.Command) {
	root.AddCommand(&cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual's pages",
		Hidden: true,
		Args:   arguments(1, 1, "a folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("writing the manual: %w", err)
			}
			return writeMan(cmd.Root(), args[0])
		},
	})
}

// writeMan writes the pages of a command and of all below it: geodns.1, geodns-drain.1.
func writeMan(cmd *cobra.Command, dir string) error {
	if !cmd.IsAvailableCommand() && cmd.HasParent() || cmd.IsAdditionalHelpTopicCommand() || cmd.Name() == "help" {
		return nil
	}
	page, err := manPage(cmd)
	if err != nil {
		return err
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + "." + manSection
	if err := os.WriteFile(filepath.Join(dir, name), page, 0o644); err != nil {
		return fmt.Errorf("writing the manual: %w", err)
	}
	for _, c := range cmd.Commands() {
		if err := writeMan(c, dir); err != nil {
			return err
		}
	}
	return nil
}

// manPage is the page of a command, with what all of them share.
func manPage(cmd *cobra.Command) ([]byte, error) {
	date, text, err := manDate()
	if err != nil {
		return nil, err
	}
	cmd.DisableAutoGenTag = true // it has the day in it
	if !cmd.HasParent() {
		cmd.Long = rootLong // the exit codes come below
	}
	cmd.InitDefaultHelpFlag()
	var page bytes.Buffer
	header := &doc.GenManHeader{Section: manSection, Date: &date, Source: "geodns", Manual: "geodns"}
	if err := doc.GenMan(cmd, header, &page); err != nil {
		return nil, fmt.Errorf("the page of %s: %w", cmd.CommandPath(), err)
	}
	out := bytes.Replace(page.Bytes(), []byte(`"`+date.Format("Jan 2006")+`"`), []byte(`"`+text+`"`), 1)
	out = append(out, manList("EXIT STATUS", exitCodes)...)
	if !cmd.HasParent() {
		out = append(out, manList("ENVIRONMENT", environment)...)
	}
	return out, nil
}

// manDate is the day of SOURCE_DATE_EPOCH, so that the same source makes the same pages; without it they have none.
func manDate() (date time.Time, text string, err error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return time.Time{}, "", nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, "", fmt.Errorf("SOURCE_DATE_EPOCH: %q is no count of seconds", epoch)
	}
	date = time.Unix(seconds, 0).UTC()
	return date, date.Format(time.DateOnly), nil
}

// manList is a section with a paragraph for each line of a text: a word, and what it means.
func manList(title, text string) string {
	escape := strings.NewReplacer(`\`, `\e`, "-", `\-`)
	var section strings.Builder
	section.WriteString(".SH " + title + "\n")
	for line := range strings.Lines(text) {
		word, meaning, _ := strings.Cut(strings.TrimSpace(line), " ")
		section.WriteString(".TP\n\\fB" + escape.Replace(word) + "\\fP\n\\&" + escape.Replace(strings.TrimSpace(meaning)) + "\n")
	}
	return section.String()
}
