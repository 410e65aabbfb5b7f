package node

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/geo"
)

// inputs tell where what is in use came from: each file as it was when the load read it that is served now.
type inputs struct {
	zones     api.Input
	databases []api.Input // by position in the configuration
	overrides api.Input
	secrets   api.Input
}

// noteInputs takes in a load that ended. Of what it refused the one before stays, with the reason. n.mu is held.
func (n *Node) noteInputs(r *reading, at time.Time) {
	c, in := n.cfg, &n.inputs
	in.zones.Name, in.zones.Path = api.InputZones, c.Zones
	in.overrides.Name, in.overrides.Path = api.InputOverrides, c.Geo.Overrides
	in.secrets.Name, in.secrets.Path = api.InputCookieSecrets, c.Cookies.SecretFile
	if in.databases == nil {
		in.databases = make([]api.Input, len(c.Geo.Databases))
	}
	var databases []geo.Info
	if r.loaded != nil {
		databases = r.loaded.geo.Databases()
		used(&in.zones, r.print.zones, at, r.loaded.zones.ID())
		in.zones.Commit = r.print.commit
		used(&in.overrides, r.print.files[c.Geo.Overrides], at, r.overrides)
	}
	if len(r.secrets) > 0 {
		used(&in.secrets, r.print.files[c.Cookies.SecretFile], at, "")
	}
	for i, path := range c.Geo.Databases {
		db := &in.databases[i]
		db.Name, db.Path = api.InputDatabase, path
		if i < len(databases) && databases[i].Refused == "" {
			used(db, r.print.files[path], at, databases[i].Hash)
		}
		db.Error = firstError(r.findings, path)
	}
	in.zones.Error = firstError(r.findings, c.Zones)
	in.overrides.Error = firstError(r.findings, c.Geo.Overrides)
	in.secrets.Error = firstError(r.findings, c.Cookies.SecretFile)
}

// used notes that a file is in use as it is now.
func used(in *api.Input, modified, loaded time.Time, hash string) {
	in.Modified, in.Loaded, in.Hash = modified.UTC(), loaded.UTC(), hash
	if modified.IsZero() {
		in.Modified = time.Time{}
	}
}

// noteCommit takes in that the files served, which did not change, are of this commit by now: git writes files first, and a commit may
// change others alone.
func (n *Node) noteCommit(commit string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last.Result == api.LoadRefused || n.inputs.zones.Commit == commit {
		return
	}
	n.inputs.zones.Commit = commit
	n.log.Info("the zones are of another commit, with the same files", "commit", commit)
}

// firstError is the first error at a file, or below a folder.
func firstError(findings source.Findings, path string) string {
	if path == "" {
		return ""
	}
	below := filepath.Clean(path) + string(filepath.Separator)
	for _, f := range findings {
		if f.Severity == source.Error && (f.File == path || strings.HasPrefix(filepath.Clean(f.File), below)) {
			return f.String()
		}
	}
	return ""
}

// overridesHash is the hash of a file of overrides, in the form of a database's; "" if there is none.
func (c *Config) overridesHash() string {
	if c.Geo.Overrides == "" {
		return ""
	}
	data, err := ReadSmall(c.Geo.Overrides, source.YAMLBytesMax)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return fmt.Sprintf("%x", sum[:8])
}

// inputDocuments are all inputs that are configured.
func (n *Node) inputDocuments() []api.Input {
	n.mu.Lock()
	all := append([]api.Input{n.inputs.zones}, n.inputs.databases...)
	all = append(all, n.inputs.overrides, n.inputs.secrets)
	n.mu.Unlock()
	all = append(all, n.access.tokens.input(api.InputTokens), n.access.roles.input(api.InputRoles), binaryInput(n.started))
	return slices.DeleteFunc(all, func(in api.Input) bool { return in.Path == "" })
}

// binaryInput tells of this program what the go command recorded in it.
func binaryInput(started time.Time) api.Input {
	in := api.Input{Name: api.InputBinary, Path: os.Args[0], Loaded: started.UTC()}
	if path, err := os.Executable(); err == nil {
		in.Path = path
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return in
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if in.Commit = settings["vcs.revision"]; in.Commit != "" && settings["vcs.modified"] == "true" {
		in.Commit += "+dirty"
	}
	if at, err := time.Parse(time.RFC3339, settings["vcs.time"]); err == nil {
		in.Modified = at.UTC()
	}
	return in
}
