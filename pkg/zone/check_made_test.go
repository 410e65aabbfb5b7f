package zone_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// madeHead begins the zones made here, as those of testdata/checks begin.
const madeHead = "$TTL 300\n@  SOA ns hostmaster 1 3600 600 86400 60\n   NS  ns\nns A   192.0.2.53\n   AAAA 2001:db8::53\n"

// madeZones gives zones that no text file of cases can hold, of odd octets or long, by name.
func madeZones() map[string]string {
	const crlf = "\r\n"
	long := strings.Repeat("ab", 1<<16)
	return map[string]string{
		"CRLF":            strings.ReplaceAll(madeHead+"www A 192.0.2.1\ntxt TXT ( \"a\"\n \"b\" )\n; x\n\n", "\n", crlf),
		"CRLF in quotes":  madeHead + "txt TXT \"a" + crlf + "b\"" + crlf,
		"CR alone":        strings.ReplaceAll(madeHead, "\n", "\r"),
		"BOM":             "\xef\xbb\xbf" + madeHead,
		"UTF-16":          "\xff\xfe$\x00T\x00T\x00L\x00",
		"NUL":             madeHead + "www\x00 A 192.0.2.1\n",
		"NUL in quotes":   madeHead + "txt TXT \"a\x00b\"\n",
		"NUL in comment":  madeHead + "; a\x00b\n",
		"NUL at end":      madeHead + "\x00",
		"ESC":             madeHead + "www\x1b A 192.0.2.1\n",
		"DEL":             madeHead + "txt TXT a\x7fb\n",
		"form feed":       madeHead + "\f\nwww A 192.0.2.1\n",
		"vertical tab":    madeHead + "www\vA 192.0.2.1\n",
		"no-break space":  madeHead + "www\u00a0A 192.0.2.1\n",
		"not UTF-8":       madeHead + "txt TXT \"\xff\xfe\"\n",
		"no last newline": madeHead + "www A 192.0.2.1",
		"ends in comment": madeHead + "www A 192.0.2.1 ; x",
		"ends in blank":   madeHead + "www A 192.0.2.1\n   ",
		"ends in quote":   madeHead + "txt TXT \"a",
		"ends in escape":  madeHead + "txt TXT a\\",
		"ends in paren":   madeHead + "txt TXT ( a",
		"ends in owner":   madeHead + "www",
		"ends in TTL":     madeHead + "$TTL",

		"unknown type of 65535 octets": madeHead + `x TYPE65280 \# 65535 ` + strings.Repeat("00", 65535) + "\n",
		"unknown type of 65536 octets": madeHead + `x TYPE65280 \# 65536 ` + strings.Repeat("00", 65536) + "\n",
		"unknown type of many tokens":  madeHead + `x TYPE65280 \# 20000 (` + strings.Repeat(" 00\n", 20000) + ")\n",
		"TXT of 65280 octets":          madeHead + "x TXT" + strings.Repeat(` "`+strings.Repeat("a", 254)+`"`, 256) + "\n",
		"TXT of 65792 octets":          madeHead + "x TXT" + strings.Repeat(` "`+strings.Repeat("a", 255)+`"`, 257) + "\n",
		"key of 65536 octets":          madeHead + "x OPENPGPKEY " + strings.Repeat("AAAA", 21846) + "\n",
		"hash of 131072 octets":        madeHead + "x TLSA 3 0 0 " + strings.Repeat("00", 131072) + "\n",
		"CAA of 65536 octets":          madeHead + `x CAA 0 issue "` + strings.Repeat("a", 65536) + "\"\n",
		"parameter of 65536 octets":    madeHead + `x HTTPS 1 . key65333="` + strings.Repeat("a", 65536) + "\"\n",
		"many parameters":              madeHead + "x HTTPS 1 ." + numbered(" key%d=x", 1000, 2000) + "\n",
		"many types":                   madeHead + "x NSEC ns" + numbered(" TYPE%d", 1000, 3000) + "\n",
		"many prefixes":                madeHead + "x APL" + strings.Repeat(" 1:192.0.2.0/24", 1000) + "\n",
		"set of 9000 addresses":        madeHead + many("x A 10.%d.%d.1\n", 9000),
		"set of 1000 addresses":        madeHead + many("x A 10.%d.%d.1\n", 1000),
		"long comment":                 madeHead + "; " + long + "\n",
		"long owner":                   madeHead + long + " A 192.0.2.1\n",
		"long type":                    madeHead + "x " + long + "\n",
		"long TTL":                     madeHead + "x " + strings.Repeat("1", 100000) + " A 192.0.2.1\n",
		"long directive":               madeHead + "$" + long + "\n",
		"many blanks":                  madeHead + "x" + strings.Repeat(" \t", 100000) + "A 192.0.2.1\n",
		"deep parentheses":             madeHead + "x TXT " + strings.Repeat("(", 1000) + " a " + strings.Repeat(")", 1000) + "\n",
	}
}

// numbered writes a format for each number of a range.
func numbered(format string, from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// many writes a format of two octets for each number below n.
func many(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i>>8, i&255)
	}
	return b.String()
}

// madeFindings is what Load finds in the zones of madeZones: a file for each, by its name.
const madeFindings = "testdata/made.txtar"

// TestMadeZones loads the zones that are made here.
func TestMadeZones(t *testing.T) {
	t.Parallel()
	zones := madeZones()
	names := slices.Sorted(maps.Keys(zones))
	got := &txtar.Archive{Comment: []byte("What is found in the zones that check_made_test.go makes.\n\n")}
	for _, name := range names {
		got.Files = append(got.Files, txtar.File{Name: name, Data: []byte(foundIn(t, map[string]string{checkedFile: zones[name]}))})
	}
	if *update {
		if err := os.WriteFile(madeFindings, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(madeFindings)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(txtar.Format(got))); diff != "" {
		t.Errorf("findings differ (-want +got):\n%s", diff)
	}
}
