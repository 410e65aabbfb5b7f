package zone_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/txtar"

	"geodns/pkg/zone"
)

var update = flag.Bool("update", false, "rewrite the expected parts of testdata; review the diff")

// TestAnswers runs testdata/answers: zone files, then a file "answers" of questions and what they must give. A question is
// a line "? name type [limit N] [ecs]".
func TestAnswers(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/answers/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			zones := map[string]string{}
			var answers *txtar.File
			for i := range archive.Files {
				if archive.Files[i].Name == "answers" {
					answers = &archive.Files[i]
				} else {
					zones[archive.Files[i].Name] = string(archive.Files[i].Data)
				}
			}
			got := runAnswers(t, loadZones(t, zones), string(answers.Data))
			if *update {
				answers.Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(answers.Data), got); diff != "" {
				t.Errorf("answers differ (-want +got):\n%s", diff)
			}
		})
	}
}

// runAnswers asks the questions of an "answers" file and gives the file as it should be. Comments stay.
func runAnswers(t *testing.T, set *zone.Set, text string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			b.WriteString(line)
			continue
		}
		args := strings.Fields(line)
		if len(args) < 3 || args[0] != "?" {
			continue
		}
		q := question{name: args[1], qtype: parseType(t, args[2])}
		for i := 3; i < len(args); i++ {
			switch args[i] {
			case "ecs":
				q.firstLink = true
			case "limit":
				q.limit, _ = strconv.Atoi(args[i+1])
			}
		}
		fmt.Fprintf(&b, "%s%s", line, answerText(t, set, q))
	}
	return b.String()
}

// parseType reads a type mnemonic, STEER or TYPEnnn.
func parseType(t *testing.T, text string) uint16 {
	t.Helper()
	if text == "STEER" {
		return 65400
	}
	if typ, ok := dns.StringToType[text]; ok {
		return typ
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "TYPE"), 10, 16)
	if err != nil {
		t.Fatalf("%q is no type", text)
	}
	return uint16(n)
}
