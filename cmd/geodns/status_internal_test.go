package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"geodns/pkg/api"
)

// normalFleet is a node as most are: some regions, a dozen targets, something going on.
func normalFleet() *statusDocument {
	now := at(4)
	d := &statusDocument{Status: api.Status{
		Node: "pop-fra1", Version: "v1.4.0", Started: now.Add(-76 * time.Hour), Ready: true, Listen: []string{"192.0.2.53:53"},
		World:    api.World{ID: "a67aef93416a36d9-ae03b1a7e1d5954e", Table: "ae03b1a7e1d5954e", Since: now.Add(-time.Hour), ZoneN: 3, Records: 210, Policies: 2, Targets: 12, Cells: 48211},
		LastLoad: api.Load{Result: api.LoadLoaded, At: now.Add(-time.Hour), Seconds: 0.81, Warnings: 1},
		Geo:      []api.Database{{Path: "/var/lib/geo/city.mmdb", Type: "City", Networks: 4_000_000, State: "current", Built: now.Add(-90 * time.Hour)}},
		Checker:  api.Checker{Addresses: 12, CanariesGood: 3},
		Cookies:  api.Cookies{From: api.CookiesFile, File: "/etc/geodns/cookies", Secrets: []string{"8f1d2c3b"}, Since: now.Add(-9 * time.Hour)},
		Auth:     api.Auth{File: "/etc/geodns/tokens", Tokens: 3},
		Audit:    api.AuditStatus{Seq: 412, CheckpointSeq: 400, CheckpointAt: now.Add(-time.Hour)},
		Leases:   fleetLeases().Leases[:2], LeaseN: 2,
		Inputs: []api.Input{
			{Name: "zones", Path: "/etc/geodns/zones", Commit: "4be1c02a9d77aa10c3", Modified: now.Add(-26 * time.Hour), Loaded: now.Add(-time.Hour)},
			{Name: "geo", Path: "/var/lib/geo/city.mmdb", Hash: "0011223344556677", Modified: now.Add(-90 * time.Hour), Loaded: now.Add(-76 * time.Hour), Error: "moves 41 % of the world"},
			{Name: "tokens", Path: "/etc/geodns/tokens", Hash: "99aabbccddeeff00", Modified: now.Add(-500 * time.Hour), Loaded: now.Add(-76 * time.Hour)},
		},
		Events: []api.EventLine{
			{At: now.Add(-3 * time.Hour), Kind: "load", ID: "l-1", Text: "loaded in 0.810 s"},
			{At: now.Add(-2 * time.Minute), Kind: "verdict", ID: "v-1", Text: "web/iad1 up -> down: fall, status 503"},
		},
		Regions: []api.RegionStatus{
			{Name: "fra", Targets: 6, Up: 6, Drained: 6, Admit: 0, ShareKnown: true},
			{Name: "iad", Targets: 6, Up: 4, Degraded: 1, Down: 1, Admit: 0.75, Answers: 8_000, Share: 1, ShareKnown: true},
		},
	}}
	for i := range 12 {
		region := []string{"fra", "iad"}[i%2]
		t := api.Target{ID: fmt.Sprintf("web/%s%d", region, i/2), Region: region, State: "up", Doubt: "none", Admit: 1, Drained: region == "fra", Since: now.Add(-5 * time.Hour)}
		if i == 1 {
			t.State, t.Since, t.Addresses = "down", now.Add(-2*time.Minute), []api.Address{{Address: "192.0.2.1", Reason: "status 503"}}
		}
		if i == 3 {
			t.State, t.Admit, t.Detail = "degraded", 0.5, "720ms is slow"
		}
		d.Targets = append(d.Targets, t)
	}
	return d
}

// hugeFleet has more of everything than fits.
func hugeFleet() *statusDocument {
	d := normalFleet()
	d.Status.Ready, d.Status.NotReady = false, "geo database /var/lib/geo/city.mmdb: it is not there"
	for i := range 200 {
		d.Targets = append(d.Targets, api.Target{ID: fmt.Sprintf("cdn/host-with-a-long-name-%03d", i), State: "down", Since: at(3), Detail: strings.Repeat("very ", 30) + "dead"})
		d.Status.Regions = append(d.Status.Regions, api.RegionStatus{Name: fmt.Sprintf("r%03d", i), Targets: 1, Down: 1})
	}
	for range 50 {
		d.Status.Leases = append(d.Status.Leases, d.Status.Leases[0])
		d.Status.Inputs = append(d.Status.Inputs, d.Status.Inputs[0])
	}
	return d
}

// TestStatus compares what people see with files that people have read: GEODNS_UPDATE=1 rewrites them.
func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		name     string
		document *statusDocument
		page     page
		full     bool
	}{
		{"normal", normalFleet(), page{width: 80, height: 24}, false},
		{"full", normalFleet(), page{width: 80, height: 24}, true},
		{"color", normalFleet(), page{width: 80, height: 24, color: true}, false},
		{"huge", hugeFleet(), page{width: 80, height: 24}, false},
		{"new", &statusDocument{Status: api.Status{Node: "n", Version: "v", Ready: true, LastLoad: api.Load{Result: api.LoadNone}}}, page{height: 24}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got strings.Builder
			tt.page.w = &got
			if err := tt.document.write(&tt.page, at(4), tt.full); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(got.String(), "\n"), "\n")
			for i, line := range lines {
				if runes := utf8.RuneCountInString(line); !tt.full && !tt.page.color && tt.page.width > 0 && runes > tt.page.width {
					t.Errorf("line %d has %d columns: %s", i+1, runes, line)
				}
			}
			if len(lines) > 23 && !tt.full {
				t.Errorf("%d lines do not fit a screen", len(lines))
			}
			golden(t, filepath.Join("testdata", "status", tt.name+".txt"), got.String())
		})
	}
}

// TestStatusUrgent checks what is shown of a list that is cut, and why a target is as it is that a lease holds.
func TestStatusUrgent(t *testing.T) {
	d := &statusDocument{Status: api.Status{Leases: fleetLeases().Leases, Inputs: []api.Input{{Name: "binary", Path: "geodns", Loaded: at(1)}}}}
	for i := range 200 {
		r := api.RegionStatus{Name: fmt.Sprintf("r%03d", i), Targets: 2, Up: 2, Admit: 1}
		switch i {
		case 150:
			r.Up, r.Down, r.Admit = 1, 1, 0.5
		case 160:
			r.Drained, r.Admit = 2, 0
		}
		d.Status.Regions = append(d.Status.Regions, r)
	}
	var names []string
	for _, row := range d.regions().rows[:3] {
		names = append(names, row[0].text)
	}
	if diff := cmp.Diff([]string{"r160", "r150", "r000"}, names); diff != "" {
		t.Error(diff)
	}
	held := api.Target{State: "degraded", Detail: "status 200", Leases: []string{"drain.region.fra", "set.pool.web"}}
	if got := d.why(&held); got != "lease set.pool.web" {
		t.Errorf("held: %q", got)
	}
	held.Addresses = []api.Address{{Reason: "status 503"}}
	if got := d.why(&held); got != "status 503" {
		t.Errorf("failed: %q", got)
	}
	if got := d.inputs(at(2)).rows[0][2].text; got != "-" {
		t.Errorf("a file of unknown age: %q", got)
	}
}

// golden compares a text with a file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("GEODNS_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: %s", file, diff)
	}
}

// TestFit checks the cut of lists to a number of lines: no line is left empty while a list has more, and none is hidden.
func TestFit(t *testing.T) {
	for _, tt := range []struct {
		rows  []int
		least int // of the last
		lines int
		want  []int
	}{
		{[]int{2, 3}, 0, 9, []int{2, 3}},
		{[]int{2, 3}, 0, 7, []int{2, 3}},
		{[]int{2, 3}, 0, 6, []int{2, 2}},
		{[]int{100, 1, 100}, 0, 12, []int{4, 1, 4}},
		{[]int{100, 1, 100}, 0, 13, []int{5, 1, 4}},
		{[]int{100, 1, 100}, 6, 13, []int{2, 1, 7}},
		{[]int{100, 1, 2}, 6, 13, []int{7, 1, 2}},
		{[]int{5, 5, 5}, 0, 0, []int{1, 1, 1}},
		{nil, 0, 5, nil},
	} {
		var sections []section
		for i, n := range tt.rows {
			sections = append(sections, section{rows: make(table, n)})
			if i == len(tt.rows)-1 {
				sections[i].least = tt.least
			}
		}
		fit(sections, tt.lines)
		var got []int
		for i := range sections {
			got = append(got, sections[i].lines)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v in %d lines: %s", tt.rows, tt.lines, diff)
		}
	}
}
