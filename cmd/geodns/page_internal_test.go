package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample is a table with all that there is.
func sample() table {
	var t table
	t.title("TARGET", "STATE", "WHY")
	t.add("web/fra1", cell{"up", good}, 12)
	t.add("web/größe", cell{"down", bad}, "status 503\x1b[2J and more")
	t.add("a line that is much longer than a column is")
	t.add("", "", "x")
	return t
}

// TestTable covers columns, colors and cuts.
func TestTable(t *testing.T) {
	for _, tt := range []struct {
		name string
		page page
		want string
	}{
		{"a file", page{}, `TARGET     STATE  WHY
web/fra1   up     12
web/größe  down   status 503�[2J and more
a line that is much longer than a column is
                  x
`},
		{"narrow", page{width: 24}, `TARGET     STATE  WHY
web/fra1   up     12
web/größe  down   statu…
a line that is much lon…
                  x
`},
		{"narrower than the columns", page{width: 10}, "TARGET\nweb/fra1\nweb/größe\na line th…\n\n"},
		{"a terminal", page{color: true, width: 11}, "\x1b[1mTARGET\x1b[0m\nweb/fra1\nweb/größe\na line tha…\n\n"},
		{"colors", page{color: true, width: 18}, "\x1b[1mTARGET\x1b[0m     \x1b[1mSTATE\x1b[0m\nweb/fra1   \x1b[32mup\x1b[0m\nweb/größe  \x1b[31mdown\x1b[0m\na line that is mu…\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got strings.Builder
			tt.page.w = &got
			if err := tt.page.write(sample()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLongNames checks that a name that is longer than half of the page does not push what stands behind it off.
func TestLongNames(t *testing.T) {
	var long table
	long.title("TARGET", "STATE", "WHY")
	long.add("web/"+strings.Repeat("long", 20), "down", "status 503")
	long.add("web/fra1", "up", "status 200")
	long.add("a line of its own")
	for _, tt := range []struct {
		width int
		want  string
	}{
		{50, `TARGET                     STATE  WHY
web/longlonglonglonglong…  down   status 503
web/fra1                   up     status 200
a line of its own
`},
		{24, `TARGET                S…
web/longlonglonglon…  d…
web/fra1              up
a line of its own
`},
	} {
		var got strings.Builder
		p := page{w: &got, width: tt.width}
		if err := p.write(long); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got.String()); diff != "" {
			t.Errorf("%d columns: %s", tt.width, diff)
		}
	}
	if len(long[1][0].text) < 84 {
		t.Error("the table itself was cut")
	}
}

// TestColumns covers runes that take no column of a terminal, or two.
func TestColumns(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int
		cut  string // at 5 columns
	}{
		{"", 0, ""},
		{"fra", 3, "fra"},
		{"größe", 5, "größe"},
		{"gro\u0308ße", 5, "gro\u0308ße"},
		{"長い理由", 8, "長い…"},
		{"a長い理由", 9, "a長…"},
		{"서울", 4, "서울"},
		{"rack 🔥", 7, "rack…"},
		{"ＡＢＣ", 6, "ＡＢ…"},
		{"abcdef", 6, "abcd…"},
	} {
		if got := columns(tt.text); got != tt.want {
			t.Errorf("%q: %d columns, want %d", tt.text, got, tt.want)
		}
		if got := cut(tt.text, 5); got != tt.cut {
			t.Errorf("%q is cut to %q, want %q", tt.text, got, tt.cut)
		}
	}
}

// TestLasting covers how long things last.
func TestLasting(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 1400 * time.Millisecond: "1s", 59*time.Minute + 5*time.Second: "59m5s", 90 * time.Minute: "1h30m",
		47 * time.Hour: "47h0m", 49 * time.Hour: "2d1h", 2000 * time.Hour: "83d8h",
	} {
		if got := lasting(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

// TestProgress checks that nothing is said within a second, and that nothing is left.
func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		lasts time.Duration
		want  string
	}{
		{progressAfter - time.Millisecond, ""},
		{progressAfter + progressEvery/2, "\r\x1b[K| loading, 1 s \r\x1b[K"},
		{progressAfter + 3*progressEvery/2, "\r\x1b[K| loading, 1 s \r\x1b[K/ loading, 1 s \r\x1b[K"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got strings.Builder
			stop := spin(&got, "loading")
			timer := time.NewTimer(tt.lasts)
			<-timer.C
			stop()
			if got.String() != tt.want {
				t.Errorf("after %s %q, want %q", tt.lasts, got.String(), tt.want)
			}
		})
	}
	var quiet strings.Builder
	progress(&quiet, "loading")()
	if quiet.String() != "" {
		t.Errorf("without a terminal %q", quiet.String())
	}
}
