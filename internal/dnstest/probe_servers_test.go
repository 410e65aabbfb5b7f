package dnstest_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/dnswire"
	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/server"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

const (
	loopback4, loopback6 = "127.0.0.1", "::1"

	probeNode    = "probe"
	probeVersion = "1.2.3"
	// nsdErrors is how many errors NSD is brought to answer in a second: it is silent about all after a hundred.
	nsdErrors = 85
	// notGdnsd ends the lines of zone files that gdnsd cannot load, forGdnsdAlone those in their place.
	notGdnsd      = "; not gdnsd"
	forGdnsdAlone = "; for gdnsd"
)

// zoneText is a zone file.
type zoneText struct{ origin, text string }

// probeZones reads the zones that every server has, and adds the large sets of records to the first.
func probeZones(t *testing.T) []zoneText {
	t.Helper()
	var zones []zoneText
	for _, origin := range []string{"example.com", "example.net", "child.example.com", "dname.example"} {
		text, err := os.ReadFile(filepath.Join(probesDir, "zones", origin+".zone"))
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, zoneText{origin, string(text)})
	}
	// A TXT record of n octets in one string takes 13 more in an answer, its owner compressed.
	var sets strings.Builder
	for _, set := range []struct {
		name        string
		count, each int
	}{{"s480", 2, 200}, {"*.edge", 2, 200}, {"s1200", 5, 215}, {"s3000", 12, 240}, {"s16000", 64, 240}} {
		for i := range set.count {
			fmt.Fprintf(&sets, "%s IN TXT \"%02d%s\"\n", set.name, i, strings.Repeat("x", set.each-2))
		}
	}
	zones[0].text += sets.String()
	return zones
}

// writeZones writes zone files into a folder, and gives their paths by origin.
func writeZones(t *testing.T, dir string, zones []zoneText) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, z := range zones {
		files[z.origin+"."] = filepath.Join(dir, z.origin+".zone")
		if err := os.WriteFile(files[z.origin+"."], []byte(z.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// without is the zones without the lines that end in a mark.
func without(zones []zoneText, mark string) []zoneText {
	var out []zoneText
	for _, z := range zones {
		var b strings.Builder
		for line := range strings.Lines(z.text) {
			if !strings.HasSuffix(strings.TrimSpace(line), mark) {
				b.WriteString(line)
			}
		}
		out = append(out, zoneText{z.origin, b.String()})
	}
	return out
}

// forPeer is the zones as a peer can load them; gdnsd has no zone inside another, and no DNAME.
func forPeer(name string, zones []zoneText) []zoneText {
	if name != "gdnsd" {
		return without(zones, forGdnsdAlone)
	}
	return slices.DeleteFunc(without(zones, notGdnsd), func(z zoneText) bool { return z.origin == "child.example.com" || z.origin == "dname.example" })
}

// peer is how one of the others is started.
type peer struct {
	name  string
	start func(t *testing.T, zones []zoneText) *target
}

// peers are the others. None of them steers, or has our CH names. What else one of them is not asked for, it cannot have by its
// documentation.
func peers() []peer {
	one := func(name string, start func(testing.TB, map[string]string) *dnstest.Peer, lacks ...string) peer {
		return peer{name, func(t *testing.T, zones []zoneText) *target {
			t.Helper()
			p := start(t, writeZones(t, t.TempDir(), forPeer(name, zones)))
			s := &target{name: name, version: p.Version, addr: p.Addr, client: loopback4, lacks: append(lacks, "ours")}
			if name == "NSD" {
				s.pace.most = nsdErrors
			}
			return s
		}}
	}
	return []peer{
		one("NSD", dnstest.StartNSD),
		one("Knot", dnstest.StartKnot),
		one("BIND", dnstest.StartBIND),
		one("gdnsd", dnstest.StartGdnsd, "dname", "child", "loop", "deep", "occluded", "dangling", "rfc9018", "tsig"),
		one("PowerDNS", dnstest.StartPowerDNS),
	}
}

// startOurs starts our server in each of its variants:
//
//	""      as it is by default
//	strict  cookies are required
//	rolled  the same, and the secret that all have is the older one of two
//	lost    the geo data was lost
//	v6      asked over IPv6
//	hasty   waits on TCP connections for a shorter time
//	bare    no cookies, no identity, no version
func startOurs(t *testing.T, zones []zoneText) map[string]*target {
	t.Helper()
	dir := t.TempDir()
	writeZones(t, dir, without(zones, forGdnsdAlone))
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(probesDir, "ours"))); err != nil {
		t.Fatal(err)
	}
	var secret server.CookieSecret
	if _, err := hex.Decode(secret[:], []byte(dnstest.CookieSecret)); err != nil {
		t.Fatal(err)
	}
	usual := server.Config{
		Identity: probeNode, Version: probeVersion, CookieSecrets: []server.CookieSecret{secret}, ECSOff: []string{"plain.example."},
		Chaos: probeChaos, ChaosAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	strict, rolled, hasty := usual, usual, usual
	hasty.TCP = server.TCPConfig{Read: time.Second, Idle: 300 * time.Millisecond} // a query of ours is there within the first
	strict.RequireCookie, rolled.RequireCookie = true, true
	rolled.CookieSecrets = []server.CookieSecret{{1, 2, 3}, secret}
	world, lost := probeWorld(t, dir, false), probeWorld(t, dir, true)
	return map[string]*target{
		"v6":     startOne(t, loopback6, usual, world),
		"":       startOne(t, loopback4, usual, world),
		"strict": startOne(t, loopback4, strict, world),
		"rolled": startOne(t, loopback4, rolled, world),
		"hasty":  startOne(t, loopback4, hasty, world),
		"lost":   startOne(t, loopback4, usual, lost),
		"bare":   startOne(t, loopback4, server.Config{}, world),
	}
}

// probeChaos answers hello.probe.geodns.
func probeChaos(_ *server.World, q *dnswire.Query, _ netip.Addr) ([]string, bool) {
	if string(q.Name[:q.NameLen]) != "\x05hello\x05probe\x06geodns\x00" {
		return nil, false
	}
	return []string{"first", "second"}, true
}

// probeWorld loads zones and policies of a folder, every target up but that of the pool that is gone.
func probeWorld(t *testing.T, dir string, lost bool) *server.World {
	t.Helper()
	set, fs := zone.Load(dir, 0)
	doc, more := policy.Load(dir)
	fs = append(fs, more...)
	if fs.HasErrors() {
		t.Fatal(fs)
	}
	data, _ := geo.Load(geo.Config{}, nil)
	compiled, fs := policy.Compile(doc, policy.Input{Networks: data.Networks, GeoLost: lost, Zones: set})
	if compiled == nil {
		t.Fatal(fs.Err())
	}
	verdicts := make([]steering.Verdict, len(compiled.Targets))
	for i, target := range compiled.Targets {
		verdicts[i] = steering.Unchecked()
		if target.ID == "gone/g1" {
			verdicts[i].State = steering.Down
		}
	}
	states, err := steering.NewStates(compiled.Table, verdicts)
	if err != nil {
		t.Fatal(err)
	}
	world, err := server.NewWorld(set, compiled.Table, states, compiled.PolicyIDs())
	if err != nil {
		t.Fatal(err)
	}
	return world
}

// startOne serves a world on loopback until the test ends.
func startOne(t *testing.T, address string, cfg server.Config, w *server.World) *target {
	t.Helper()
	cfg.Listen = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(address), 0)}
	cfg.Workers = 1
	s, err := server.New(cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return &target{name: "geodns", ours: true, addr: s.Addrs()[0].String(), client: address}
}
