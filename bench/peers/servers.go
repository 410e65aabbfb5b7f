//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// site is where a server runs, and what it serves.
type site struct {
	dir  string // of its own, empty before
	port int    // of loopback
	work *workload
}

// zoneFile is where the site's zone is, under the name that geodns and gdnsd know it by with the right suffix.
func (s *site) zoneFile(suffix string) string {
	return filepath.Join(s.dir, "zones", s.work.origin+suffix)
}

// path is a file in the site's folder.
func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// write writes a configuration file.
func (s *site) write(name, text string) error {
	return os.WriteFile(s.path(name), []byte(text), 0o600)
}

// server is a program that is measured.
type server struct {
	name    string
	program string   // path; empty if it is not there
	missing string   // what to install then
	version []string // arguments that make the program say its version
	floor   bool     // it looks nothing up: its answers are not those that are wanted
	steers  bool     // it has answers for a client's subnet, with what is installed
	static  bool     // it never has
	copied  bool     // a copy of the program is run
	// configure writes the site's files and gives the program's arguments.
	configure func(s *site) ([]string, error)
}

// versionWait is how long a program may take to say its version.
const versionWait = 5 * time.Second

// versionOf asks the program for its version: the first word of what it says that has digits and a dot.
func (s *server) versionOf(ctx context.Context) string {
	if s.version == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, versionWait)
	defer cancel()
	out, _ := exec.CommandContext(ctx, s.program, s.version...).CombinedOutput() //nolint:gosec // a known program; some exit with 1
	for word := range strings.FieldsSeq(string(out)) {
		if major, _, dotted := strings.Cut(word, "."); dotted && major != "" && strings.Trim(major, "0123456789") == "" {
			return word
		}
	}
	if s.name == ourName {
		return strings.TrimSpace(strings.TrimPrefix(string(out), ourName))
	}
	return "unknown"
}

const ourName = "geodns"

// findProgram looks where users look, and where the packages of daemons put theirs.
func findProgram(name string) string {
	for _, place := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(place); err == nil {
			return path
		}
	}
	return ""
}

// installed reports whether a file of that pattern is there, as modules of servers are.
func installed(pattern string) bool {
	found, err := filepath.Glob(pattern)
	return err == nil && len(found) > 0
}

// servers lists what can be measured, in the order of the report. ours is the path of geodns, floorC that of the C floor.
func servers(ours, floorC, floorGo string) []*server {
	floor := func(args ...string) func(*site) ([]string, error) {
		return func(s *site) ([]string, error) { return append(args, fmt.Sprint(s.port)), nil }
	}
	return []*server{
		{name: ourName, program: ours, version: []string{"version"}, steers: true, configure: configureOurs},
		{name: "gdnsd", program: findProgram("gdnsd"), missing: "gdnsd", version: []string{"-V"}, steers: true, configure: configureGdnsd},
		{
			name: "knot", program: findProgram("knotd"), missing: "knot knot-module-geoip", version: []string{"--version"},
			steers: installed("/usr/lib/*/knot/modules-*/geoip.so"), configure: configureKnot,
		},
		{name: "nsd", program: findProgram("nsd"), missing: "nsd", version: []string{"-v"}, static: true, configure: configureNSD},
		{
			// Where AppArmor is in force, a profile for its usual place keeps it from reading our folder.
			name: "bind", program: findProgram("named"), missing: "bind9", version: []string{"-v"}, static: true, copied: true, configure: configureBIND,
		},
		{
			name: "pdns", program: findProgram("pdns_server"), missing: "pdns-server pdns-backend-bind pdns-backend-geoip", version: []string{"--version"},
			steers: installed("/usr/lib/*/pdns/libgeoipbackend.so"), configure: configurePowerDNS,
		},
		{name: "go-floor", program: floorGo, steers: true, floor: true, configure: floor(floorCommand)},
		{name: "c-floor", program: floorC, missing: "gcc libc6-dev", steers: true, floor: true, configure: floor()},
	}
}

// serves reports whether the server can answer a workload's questions.
func (s *server) serves(w *workload) bool { return s.steers || len(w.steered) == 0 }

// lacks reports whether the server, or the part of it that steers, is not there.
func (s *server) lacks() bool { return s.program == "" || !s.steers && !s.static }

// Every server has one worker, no rate limit, no log of queries, no additional records but those that are needed; what else it
// has stays as its package ships it.

func configureOurs(s *site) ([]string, error) {
	err := s.work.writeZone(s.zoneFile(".zone"), func(owner string) string { return "IN STEER " + owner })
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf("node: bench\nlisten: [\"127.0.0.1:%d\"]\nworkers: 1\nzones: %q\nstate: %q\napi: {listen: none}\n", s.port, s.path("zones"), s.path("state"))
	if len(s.work.steered) > 0 {
		conf += fmt.Sprintf("geo: {databases: [%q]}\n", s.work.database)
		if err := s.write("zones/steering.yaml", ourPolicy(s.work)); err != nil {
			return nil, err
		}
	}
	return []string{"serve", "--config", s.path("geodns.yaml")}, s.write("geodns.yaml", conf)
}

func configureGdnsd(s *site) ([]string, error) {
	err := s.work.writeZone(s.zoneFile(""), func(owner string) string { return "DYNA geoip!" + owner })
	if err != nil {
		return nil, err
	}
	// It does not follow a CNAME within a zone unless told so, and the others do.
	conf := fmt.Sprintf("options => {\n listen => { 127.0.0.1:%d => { udp_threads = 1, tcp_threads = 1 } }\n run_dir = %s\n state_dir = %s\n"+
		" edns_client_subnet = true\n experimental_no_chain = false\n}\n", s.port, s.path("run"), s.path("state"))
	if len(s.work.steered) > 0 {
		conf += gdnsdPolicy(s.work)
	}
	return []string{"-c", s.dir, "start"}, s.write("config", conf)
}

// configureKnot writes Knot's files. Its UDP worker binds itself to core 0, whatever the affinity that it was started with.
func configureKnot(s *site) ([]string, error) {
	// The module takes over where it has an answer for the client; the zone has the default.
	err := s.work.writeZone(s.zoneFile(".zone"), s.defaultAddress)
	if err != nil {
		return nil, err
	}
	module, use, ecs := "", "", ""
	if len(s.work.steered) > 0 {
		if err := s.write("geo.conf", knotPolicy(s.work)); err != nil {
			return nil, err
		}
		ecs, use = "  edns-client-subnet: on\n", "    module: mod-geoip/steer\n"
		module = fmt.Sprintf("mod-geoip:\n  - id: steer\n    config-file: %q\n    ttl: %d\n    mode: geodb\n    geodb-file: %q\n"+
			"    geodb-key: [ continent/code, country/iso_code ]\n", s.path("geo.conf"), zoneTTL, s.work.database)
	}
	conf := fmt.Sprintf("server:\n  rundir: %q\n  listen: 127.0.0.1@%d\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n%s"+
		"log:\n  - target: stderr\n    any: warning\ndatabase:\n  storage: %q\n%szone:\n  - domain: %s\n    file: %q\n"+
		"    zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: none\n    semantic-checks: off\n%s",
		s.dir, s.port, ecs, s.path("db"), module, s.work.origin, s.zoneFile(".zone"), use)
	return []string{"-c", s.path("knot.conf")}, s.write("knot.conf", conf)
}

// defaultAddress is the zone's line of a steered owner where something else than the zone does the steering.
func (s *site) defaultAddress(owner string) string {
	for i, name := range s.work.steered {
		if name == owner {
			return "A " + steeredAddress(i, 0).String()
		}
	}
	return ""
}

func configureNSD(s *site) ([]string, error) {
	err := s.work.writeZone(s.zoneFile(".zone"), nil)
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf("server:\n  ip-address: 127.0.0.1@%d\n  server-count: 1\n  zonesdir: %q\n  zonelistfile: %q\n  xfrdfile: %q\n  xfrdir: %q\n"+
		"  pidfile: %q\n  logfile: %q\n  username: \"\"\n  database: \"\"\n  minimal-responses: yes\n  rrl-ratelimit: 0\n"+
		"remote-control:\n  control-enable: no\nzone:\n  name: %s\n  zonefile: %q\n",
		s.port, s.dir, s.path("zone.list"), s.path("xfrd.state"), s.dir, s.path("nsd.pid"), s.path("nsd.log"), s.work.origin, s.zoneFile(".zone"))
	return []string{"-d", "-c", s.path("nsd.conf")}, s.write("nsd.conf", conf)
}

func configureBIND(s *site) ([]string, error) {
	err := s.work.writeZone(s.zoneFile(".zone"), nil)
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf("options {\n  directory %q;\n  listen-on port %d { 127.0.0.1; };\n  listen-on-v6 { none; };\n  pid-file none;\n"+
		"  session-keyfile none;\n  lock-file none;\n  recursion no;\n  minimal-responses yes;\n  dnssec-validation no;\n  notify no;\n"+
		"  empty-zones-enable no;\n};\ncontrols { };\nlogging { category default { null; }; };\nzone %q { type primary; file %q; };\n",
		s.dir, s.port, s.work.origin, s.zoneFile(".zone"))
	return []string{"-f", "-n", "1", "-c", s.path("named.conf")}, s.write("named.conf", conf)
}

func configurePowerDNS(s *site) ([]string, error) {
	backend := fmt.Sprintf("launch=bind\nbind-config=%s\nbind-check-interval=0\n", s.path("named.conf"))
	if len(s.work.steered) > 0 {
		backend = fmt.Sprintf("launch=geoip\ngeoip-database-files=mmdb:%s\ngeoip-zones-file=%s\nedns-subnet-processing=yes\n", s.work.database, s.path("geo.yaml"))
		if err := s.write("geo.yaml", powerDNSPolicy(s.work)); err != nil {
			return nil, err
		}
	} else {
		if err := s.work.writeZone(s.zoneFile(".zone"), nil); err != nil {
			return nil, err
		}
		named := fmt.Sprintf("zone %q { type master; file %q; };\n", s.work.origin, s.zoneFile(".zone"))
		if err := s.write("named.conf", named); err != nil {
			return nil, err
		}
	}
	conf := fmt.Sprintf("local-address=127.0.0.1\nlocal-port=%d\nsocket-dir=%s\nwrite-pid=no\nreceiver-threads=1\ndistributor-threads=1\n"+
		"webserver=no\napi=no\nloglevel=3\nsecurity-poll-suffix=\n", s.port, s.dir)
	args := []string{"--config-dir=" + s.dir, "--daemon=no", "--guardian=no", "--disable-syslog"}
	return args, s.write("pdns.conf", conf+backend)
}

// copyProgram copies a program into dir.
func copyProgram(program, dir string) (string, error) {
	from, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, filepath.Base(program)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	if e := to.Close(); err == nil {
		err = e
	}
	return to.Name(), err
}
