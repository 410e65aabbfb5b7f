//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"geodns/internal/dnstest"
)

// smallSize has everything that the full size has, and is made at once.
func smallSize() size {
	return size{hosts: 50, steered: 5, million: 1000, questions: 2000, slash16: 64, cities: 1}
}

// asked is how many questions each server is asked.
const asked = 400

// TestMain makes this binary the Go floor where it is called so.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == floorCommand {
		if err := runFloor(os.Args[2]); err != nil {
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// TestPeersAnswer starts every server with every workload that it serves, small, and checks some hundred answers of each at
// full windows, and a few at random times.
func TestPeersAnswer(t *testing.T) {
	dir := t.TempDir()
	ours := filepath.Join(dir, ourName)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", ours, "geodns/cmd/geodns").CombinedOutput(); err != nil {
		t.Fatalf("building geodns: %v\n%s", err, out)
	}
	floorC, err := buildFloor(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seed := dnstest.Seed(t)
	for _, name := range workloadNames() {
		w, err := newWorkload(name, dir, smallSize(), seed)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range servers(ours, floorC, self) {
			if !s.serves(w) && !s.lacks() {
				continue
			}
			t.Run(name+"/"+s.name, func(t *testing.T) {
				if s.lacks() {
					if os.Getenv("GEODNS_PEERS") == "require" {
						t.Fatalf("%s or its part that steers is not installed, and GEODNS_PEERS=require", s.name)
					}
					t.Skipf("%s or its part that steers is not installed", s.name)
				}
				askServer(t, &bench{seed: seed, dir: t.TempDir()}, s, w)
			})
		}
	}
}

// askServer starts a server, asks it, and holds that every question was answered right.
func askServer(t *testing.T, b *bench, s *server, w *workload) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, st, err := b.launch(ctx, s, w, anyCore)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	g, err := newGenerator(&w.questions, st.port, 0, s.floor)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	g.reset(asked)
	if err = g.saturate(ctx, func(int64) bool { return g.tally.answered >= asked }); err != nil {
		t.Fatal(err)
	}
	if err = g.drain(ctx); err != nil {
		t.Fatal(err)
	}
	x := &g.tally
	if x.wrong > 0 || x.answered < asked || x.answered+x.lost != x.sent {
		t.Errorf("sent %d, answered %d, lost %d, wrong %d; %s", x.sent, x.answered, x.lost, x.wrong, x.firstWrong)
	}
	if version := s.versionOf(ctx); version == "unknown" {
		t.Errorf("%s does not say its version", s.name)
	}
	if p.memory() == 0 {
		t.Errorf("no memory is counted")
	}
	cpu, err := cpuOf(p.tree())
	if err != nil || cpu.total == 0 {
		t.Errorf("CPU time %+v, %v", cpu, err)
	}
}
