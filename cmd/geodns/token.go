package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"geodns/internal/node"
	"geodns/internal/source"
	"geodns/pkg/api"
)

// newToken builds `geodns token` and what is below it.
func newToken() *cobra.Command {
	cmd := group("token", "Make, list and revoke tokens of the API, in the file that auth.tokens names")
	create := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token, and print it: this once",
		Long: `Make a token and add its hash to the file. The token alone goes to standard output, this once: it is kept nowhere. The server
reads the file again by itself.

A scope is a permission, with patterns that an object has to match: "*:read", "leases:write pool=web*", "votes:write pop=fra".
A role is a name for scopes in the file that auth.roles names. What is not permitted is refused.`,
		Args: arguments(1, 1, "a name"),
		RunE: func(cmd *cobra.Command, args []string) error { return createToken(cmd, args[0]) },
	}
	create.Flags().StringArray("scope", nil, `what it may do, such as "leases:write pool=web*"; again for more`)
	create.Flags().StringArray("role", nil, "a role that it has; again for more")
	create.Flags().Duration("expires", 0, "how long it is valid, such as 720h (for ever)")
	list := &cobra.Command{
		Use:   "list",
		Short: "List the tokens by their names",
		Args:  arguments(0, 0, "no arguments"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return listTokens(cmd) },
	}
	addOutput(list)
	revoke := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Take a token out of the file, so that it is worth nothing from now on",
		Args:  arguments(1, 1, "a name"),
		RunE:  func(cmd *cobra.Command, args []string) error { return revokeToken(cmd, args[0]) },
	}
	for _, c := range []*cobra.Command{create, list, revoke} {
		addFile(c)
		c.Flags().String("file", "", "the file of tokens (the one that the server's file or GEODNS_AUTH_TOKENS names)")
		cmd.AddCommand(c)
	}
	return cmd
}

// group builds a command that does nothing but hold others.
func group(name, short string) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s what? One of %s", cmd.CommandPath(), names(cmd))
			}
			return usagef("%s knows no %q; there are %s", cmd.CommandPath(), args[0], names(cmd))
		},
	}
}

// tokensFile is the file that a command is about.
func tokensFile(cmd *cobra.Command) (string, error) {
	if cmd.Flags().Changed("file") {
		if name := cmd.Flag("file").Value.String(); name != "" {
			return name, nil
		}
		return "", usagef("--file: a path is wanted")
	}
	cfg, err := configFor(cmd)
	if err != nil {
		return "", err
	}
	if cfg.AuthTokens == "" {
		return "", errors.New("no file of tokens is configured: set auth.tokens in the server's file, or name one by --file")
	}
	return cfg.AuthTokens, nil
}

// readTokens reads a file of tokens and prints what is wrong with it.
func readTokens(cmd *cobra.Command, name string) ([]byte, []api.Token, error) {
	data, err := node.ReadSmall(name, api.TokensBytesMax)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the file of tokens: %w", err)
	}
	var findings source.Findings
	tokens, ok := api.ParseTokens(name, data, &findings)
	writeFindings(cmd.ErrOrStderr(), findings)
	if !ok {
		return nil, nil, errRefused
	}
	return data, tokens, nil
}

// createToken adds a token and prints it.
func createToken(cmd *cobra.Command, name string) error {
	if err := api.CheckTokenName(name); err != nil {
		return usagef("%q: %w", name, err)
	}
	life, err := cmd.Flags().GetDuration("expires")
	if err != nil {
		return err
	}
	if cmd.Flags().Changed("expires") && life < time.Second {
		return usagef("--expires: %s is no time to use a token; without the flag it does not expire", life)
	}
	token := api.Token{Name: name, Created: time.Now().UTC().Truncate(time.Second)}
	if err = addRights(cmd, &token); err != nil {
		return err
	}
	file, err := tokensFile(cmd)
	if err != nil {
		return err
	}
	var secret api.TokenSecret
	_, _ = rand.Read(secret[:]) // it never fails: the runtime ends the process first
	token.Hash = api.HashToken(secret.Text())
	if life > 0 {
		token.Expires = token.Created.Add(life).Truncate(time.Second)
	}
	err = changeFile(file, func() ([]byte, error) { return withToken(cmd, file, &token) })
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), secret.Text())
	fmt.Fprintf(cmd.ErrOrStderr(), "token %s, which %s, is in %s by its hash. It may: %s. It is shown this once: keep it where GEODNS_TOKEN is set from.\n",
		name, expiry(&token), file, rights(&token))
	return warnRoles(cmd, &token)
}

// warnRoles says which roles of a token are in no file of roles, so that they permit nothing yet.
func warnRoles(cmd *cobra.Command, token *api.Token) error {
	if len(token.Roles) == 0 {
		return nil
	}
	cfg, err := configFor(cmd)
	if err != nil {
		return err
	}
	var roles *api.Roles
	if cfg.AuthRoles != "" {
		data, err := node.ReadSmall(cfg.AuthRoles, source.YAMLBytesMax)
		if err != nil {
			return fmt.Errorf("reading the file of roles: %w", err)
		}
		var findings source.Findings
		roles, _ = api.ParseRoles(cfg.AuthRoles, data, &findings)
	}
	for _, role := range token.Roles {
		if !roles.Has(role) {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: there is no role %s in the file of roles (auth.roles): it permits nothing until there is\n", role)
		}
	}
	return nil
}

// addRights reads what a new token may do. One that may do nothing is a mistake.
func addRights(cmd *cobra.Command, token *api.Token) error {
	scopes, err := cmd.Flags().GetStringArray("scope")
	if err != nil {
		return err
	}
	roles, err := cmd.Flags().GetStringArray("role")
	if err != nil {
		return err
	}
	if len(scopes)+len(roles) == 0 {
		return usagef(`--scope or --role is wanted: what may the token do? Such as --scope "*:read"`)
	}
	if len(scopes) > api.GrantsMax || len(roles) > api.GrantsMax {
		return usagef("a token has at most %d scopes and as many roles", api.GrantsMax)
	}
	for _, text := range scopes {
		g, err := api.ParseGrant(text)
		if err != nil {
			return usagef("--scope: %w", err)
		}
		token.Scopes = append(token.Scopes, g)
	}
	for _, role := range roles {
		if err := api.CheckRoleName(role); err != nil {
			return usagef("--role: %q: %w", role, err)
		}
		token.Roles = append(token.Roles, role)
	}
	return nil
}

// rights gives in a line what a token may do.
func rights(t *api.Token) string {
	var all []string
	for _, g := range t.Scopes {
		all = append(all, g.String())
	}
	for _, role := range t.Roles {
		all = append(all, "role "+role)
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, "; ")
}

// withToken gives the text of a file with a token more.
func withToken(cmd *cobra.Command, file string, token *api.Token) ([]byte, error) {
	data, tokens, err := readTokens(cmd, file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // else this is the first
		return nil, err
	}
	for i := range tokens {
		if tokens[i].Name == token.Name {
			return nil, fmt.Errorf("%s has a token %q already; revoke it, or take another name", file, token.Name)
		}
	}
	if len(tokens) >= api.TokensMax {
		return nil, fmt.Errorf("%s has %d tokens, and more are not read; revoke those that nobody uses", file, len(tokens))
	}
	return api.AddToken(data, token), nil
}

// withoutToken gives the text of a file without one of its tokens.
func withoutToken(cmd *cobra.Command, file, name string) ([]byte, error) {
	data, _, err := readTokens(cmd, file)
	if err != nil {
		return nil, err
	}
	out, found := api.RemoveToken(data, name)
	if !found {
		return nil, fmt.Errorf("%s has no token %q; geodns token list shows them", file, name)
	}
	return out, nil
}

// expiry says when a token ends.
func expiry(t *api.Token) string {
	if t.Expires.IsZero() {
		return "does not expire"
	}
	return "expires at " + stamp(t.Expires)
}

// tokenDocument is a token in `token list -o json`.
type tokenDocument struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Expired bool      `json:"expired"`
	Hash    string    `json:"sha256"`
	Scopes  []string  `json:"scopes"`
	Roles   []string  `json:"roles"`

	rights string
}

// listTokens prints what is known of each token.
func listTokens(cmd *cobra.Command) error {
	file, err := tokensFile(cmd)
	if err != nil {
		return err
	}
	_, tokens, err := readTokens(cmd, file)
	if err != nil {
		return err
	}
	now := time.Now()
	documents := make([]tokenDocument, 0, len(tokens))
	for i := range tokens {
		t := &tokens[i]
		d := tokenDocument{
			Name: t.Name, Created: t.Created, Expires: t.Expires, Expired: t.Expired(now), Hash: fmt.Sprintf("%x", t.Hash),
			Scopes: []string{}, Roles: append([]string{}, t.Roles...), rights: rights(t),
		}
		for _, g := range t.Scopes {
			d.Scopes = append(d.Scopes, g.String())
		}
		documents = append(documents, d)
	}
	if wantsDocument(cmd) {
		return writeDocument(cmd, map[string]any{"tokens": documents})
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tCREATED\tEXPIRES\tSHA256\tMAY")
	for _, d := range documents {
		expires := stamp(d.Expires)
		if d.Expired {
			expires += " (expired)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.16s\t%s\n", d.Name, stamp(d.Created), expires, d.Hash, d.rights)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("writing the tokens: %w", err)
	}
	return nil
}

// revokeToken takes a token out.
func revokeToken(cmd *cobra.Command, name string) error {
	file, err := tokensFile(cmd)
	if err != nil {
		return err
	}
	err = changeFile(file, func() ([]byte, error) { return withoutToken(cmd, file, name) })
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "token %s is revoked: %s has it no more.\n", name, file)
	return nil
}

// tokensMode is the mode of a new file: who can add a line to it can do everything.
const tokensMode fs.FileMode = 0o600

// changeFile replaces a file whole or not at all, by what change makes of it. The new text is written beside it and renamed over
// it; the file's owner and mode stay, less what others may do. The file beside it is made first, and only where there is none: two
// commands at once are one after the other, or one of them is refused, and no line is lost.
func changeFile(name string, change func() ([]byte, error)) (err error) {
	// A link stays one: what it leads to is replaced.
	if at, broken := filepath.EvalSymlinks(name); broken == nil {
		name = at
	}
	temp := name + ".new"
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, tokensMode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there: another command changes the file at this moment; or one was ended in the middle, then remove it", temp)
	}
	if err != nil {
		return fmt.Errorf("changing %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			_ = file.Close() // where it is open still
			if left := os.Remove(temp); !errors.Is(left, fs.ErrNotExist) {
				err = errors.Join(err, left)
			}
		}
	}()
	data, err := change()
	if err != nil {
		return err
	}
	if info, err := os.Stat(name); err == nil {
		if err := keepOwner(file, info); err != nil {
			return fmt.Errorf("changing %s: keeping its owner: %w", name, err)
		}
		if err := file.Chmod(info.Mode().Perm() &^ 0o007); err != nil {
			return fmt.Errorf("changing %s: %w", name, err)
		}
	}
	if err := writeClosed(file, data); err != nil {
		return fmt.Errorf("changing %s: %w", name, err)
	}
	if err := os.Rename(temp, name); err != nil {
		return fmt.Errorf("changing %s: %w", name, err)
	}
	return syncFolder(filepath.Dir(name))
}

// writeClosed writes a file and waits until it is on disk.
func writeClosed(file *os.File, data []byte) error {
	if _, err := bytes.NewReader(data).WriteTo(file); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return file.Close()
}

// syncFolder waits until a rename in a folder is on disk.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	defer func() { _ = folder.Close() }() // only read: closing loses nothing
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}
