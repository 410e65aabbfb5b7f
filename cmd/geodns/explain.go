package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"geodns/internal/node"
	"geodns/pkg/api"
	"geodns/pkg/policy"
)

// newExplain builds `geodns explain`.
func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain NAME [TYPE] --client IP",
		Short: "Say how a question would be answered, and why",
		Long: `Say how a question would be answered, and why. Offline, from the same files as serve, with every target's state unknown; with
--live a running server explains with what it knows now, the one of the server's file or of GEODNS_API; with --api the one there.`,
		Example: `  geodns explain www.example.com --client 193.0.6.139
  geodns explain www.example.com --client 193.0.6.139 --live
  geodns explain www.example.com AAAA --client 2001:db8::/32 --api http://127.0.0.1:8053`,
		Args: arguments(1, 2, "a name and maybe a type"),
		RunE: explain,
	}
	addConfig(cmd)
	addOutput(cmd)
	addAPI(cmd)
	cmd.Flag("api").Usage = "ask the running server with the API at this URL, not the files"
	cmd.Flags().Bool("live", false, "ask the running server, not the files")
	cmd.Flags().String("client", "", "the client's address, or the prefix that its resolver sends (EDNS Client Subnet)")
	return cmd
}

// explain asks the files, or a running server.
func explain(cmd *cobra.Command, args []string) error {
	question := policy.Question{Name: args[0], Type: "A"}
	if len(args) > 1 {
		question.Type = args[1]
	}
	given := cmd.Flag("client").Value.String()
	if given == "" {
		return usagef("explain needs --client, whose answer it is about")
	}
	client, err := api.ParseClient(given)
	if err != nil {
		return usagef("--client: %w", err)
	}
	question.Client = client
	if cmd.Flags().Changed("api") || isSet(cmd, "live") {
		return explainRemote(cmd, question)
	}
	cfg, err := configFor(cmd)
	if err != nil {
		return err
	}
	stop := progress(cmd.ErrOrStderr(), "compiling the files")
	explanation, findings, err := node.Explain(cfg, question)
	stop()
	if findings.HasErrors() {
		writeFindings(cmd.ErrOrStderr(), findings)
		return fmt.Errorf("explain: the files would be refused: %s", count(findings.Errors(), "error"))
	}
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	if wantsDocument(cmd) {
		return writeDocument(cmd, explanation)
	}
	fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSuffix(explanation.Text(), "\n"))
	return nil
}

// explainRemote asks a running server. Its text or JSON is printed as it comes.
func explainRemote(cmd *cobra.Command, question policy.Question) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	accept := "text/plain"
	if wantsDocument(cmd) {
		accept = "application/json"
	}
	query := url.Values{"name": {question.Name}, "type": {question.Type}, "client": {question.Client.String()}}
	body, err := c.do(cmd.Context(), "GET", "/v1/explain?"+query.Encode(), accept, answerTimeout)
	if err != nil {
		return err
	}
	if wantsDocument(cmd) {
		return writeDocument(cmd, json.RawMessage(body))
	}
	_, err = cmd.OutOrStdout().Write(body)
	return err
}
