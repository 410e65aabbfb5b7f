package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"geodns/pkg/operator"
)

// auditFolder is the audit log's place in the state folder.
const auditFolder = "audit"

// newAuditVerify builds `geodns audit verify`.
func newAuditVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [DIR]",
		Short: "Verify an audit log on disk, offline: that nothing in it was changed or taken away",
		Long: `Read an audit log from its beginning and say what does not hold: each entry is as it was written, follows from the one before, and
is covered by a signature up to the last checkpoint. Without DIR it is the log in the state folder that the server's file names; a copy
will do as well. Whoever can write the folder can put a key of his own there: give the key that you noted from "geodns status" or
"geodns audit show -o json" elsewhere by --key. Findings are exit code 1.`,
		Example: "  geodns audit verify /backup/geodns/audit --key $KEY",
		Args:    arguments(0, 1, "the folder of a log, or nothing"),
		RunE:    verifyAudit,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	addFile(cmd)
	addOutput(cmd)
	cmd.Flags().String("key", "", "public key of the signatures, Ed25519, base64 (the one in the folder)")
	return cmd
}

// verifyDocument is what `audit verify -o json` prints.
type verifyDocument struct {
	Folder       string         `json:"folder"`
	Entries      int            `json:"entries_total"`
	First        uint64         `json:"first"`
	Last         uint64         `json:"last"`
	Files        int            `json:"files_total"`
	Bytes        int64          `json:"bytes_total"`
	Checkpoint   uint64         `json:"checkpoint,omitempty"`
	CheckpointAt time.Time      `json:"checkpoint_at,omitzero"`
	Unsigned     int            `json:"unsigned_total"`
	Key          string         `json:"key,omitempty"`
	KeyGiven     bool           `json:"key_given"`
	Findings     []auditFinding `json:"findings"`
	Notes        []string       `json:"notes"`
}

// auditFinding is one of a verifyDocument.
type auditFinding struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

// verifyAudit reads a log and prints what is wrong with it.
func verifyAudit(cmd *cobra.Command, args []string) error {
	key, err := auditKey(cmd.Flag("key").Value.String())
	if err != nil {
		return err
	}
	var dir string
	if len(args) > 0 {
		dir = args[0]
	} else if dir, err = auditDir(cmd); err != nil {
		return err
	}
	stop := progress(cmd.ErrOrStderr(), "reading the log")
	report, err := operator.VerifyLog(dir, key)
	stop()
	if err != nil {
		return err
	}
	document := verifyDocumentOf(dir, &report)
	if err := show(cmd, document, func(p *page) error { document.write(p); return nil }); err != nil {
		return err
	}
	if n := len(document.Findings); n > 0 {
		return fmt.Errorf("the log in %s does not hold: %s", dir, count(n, "finding"))
	}
	return nil
}

// auditDir is the folder of the log that the server's file is about.
func auditDir(cmd *cobra.Command) (string, error) {
	cfg, err := configFor(cmd)
	if err != nil {
		return "", err
	}
	if cfg.State == "" {
		return "", errors.New("the server's file names no state folder, so there is no log; name one: geodns audit verify DIR")
	}
	return filepath.Join(cfg.State, auditFolder), nil
}

// auditKey reads a public key; nothing is nil.
func auditKey(text string) (ed25519.PublicKey, error) {
	if text == "" {
		return nil, nil
	}
	key, err := operator.ParseLogKey([]byte(text))
	if err != nil {
		return nil, usagef("--key: %w", err)
	}
	return key, nil
}

// verifyDocumentOf makes the document of a report.
func verifyDocumentOf(dir string, r *operator.LogReport) *verifyDocument {
	d := &verifyDocument{
		Folder: dir, Entries: r.Entries, First: r.First, Last: r.Last, Files: r.Segments, Bytes: r.Bytes, Checkpoint: r.Checkpoint,
		CheckpointAt: r.CheckpointTime, Unsigned: r.Uncovered, Key: r.Key, KeyGiven: r.Pinned, Findings: []auditFinding{}, Notes: []string{},
	}
	for _, f := range r.Findings {
		d.Findings = append(d.Findings, auditFinding(f))
	}
	d.Notes = append(d.Notes, r.Notes...)
	return d
}

// write prints findings, one a line as compilers do, then what was read.
func (d *verifyDocument) write(p *page) {
	for _, f := range d.Findings {
		p.line("%s", operator.LogFinding(f))
	}
	for _, note := range d.Notes {
		p.line("note: %s", note)
	}
	p.line("%d entries read, %d to %d, in %s of %d bytes", d.Entries, d.First, d.Last, count(d.Files, "file"), d.Bytes)
	if d.Checkpoint == 0 {
		p.line("nothing is signed yet")
	} else {
		p.line("signed up to entry %d at %s; %d after it are not signed yet", d.Checkpoint, stamp(d.CheckpointAt), d.Unsigned)
	}
	if d.Key == "" {
		return
	}
	where := "from the folder: compare it with the one that you noted elsewhere"
	if d.KeyGiven {
		where = "as given"
	}
	p.line("key %s, %s", d.Key, where)
}
