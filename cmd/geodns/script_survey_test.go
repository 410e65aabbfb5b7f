package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"geodns/pkg/api"
	"geodns/pkg/geo"
)

const (
	// surveyClients is how many clients a survey asks for: a share is then right within a fifth of a percent, two times out of three.
	surveyClients = 40_000
	// surveySeed makes each survey ask for the same clients.
	surveySeed = 5
	// movedWithin is how far a share that was foretold may be from the one that is seen.
	movedWithin = 0.01
)

// survey asks a server for a name on behalf of many clients, the same each time, and prints each with its answer: survey PORT NAME.
// Clients are the /24s of random IPv4 addresses that the built-in geo data places.
func survey() {
	if err := surveyAll(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "survey:", err)
		os.Exit(1)
	}
}

// surveyAll asks one after the other over one socket.
func surveyAll(port, name string) error {
	data, findings := geo.Load(geo.Config{}, nil)
	if findings.HasErrors() {
		return findings.Err()
	}
	client := &dns.Client{Timeout: 2 * time.Second}
	conn, err := client.Dial("127.0.0.1:" + port)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := rand.New(rand.NewPCG(surveySeed, 0))
	query := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	query.SetEdns0(1232, false)
	ecs := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24}
	query.IsEdns0().Option = append(query.IsEdns0().Option, ecs)
	for n := 0; n < surveyClients; {
		addr := netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 0})
		if !data.Lookup(addr).Place.Placed() {
			continue
		}
		n++
		query.Id = uint16(n)
		ecs.Address = addr.AsSlice()
		answer, _, err := client.ExchangeWithConn(query, conn)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stdout, "%s %s", addr, dns.RcodeToString[answer.Rcode])
		for _, rr := range answer.Answer {
			if a, ok := rr.(*dns.A); ok {
				fmt.Fprint(os.Stdout, " ", a.A)
			}
		}
		fmt.Fprintln(os.Stdout)
	}
	return nil
}

// moved compares two surveys, and holds the share of clients whose answer is another against what a dry run foretold, in all and by
// where from and where to: moved BEFORE AFTER DRYRUN REGION=ADDRESS...
func moved() {
	if err := compareSurveys(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "moved:", err)
		os.Exit(1)
	}
}

// compareSurveys compares, and prints both figures.
func compareSurveys(before, after, dryRun string, regions []string) error {
	seen, failed, err := movesBetween(before, after, regions)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(dryRun)
	if err != nil {
		return err
	}
	var change api.LeaseChange
	if err := json.Unmarshal(text, &change); err != nil {
		return err
	}
	if change.Impact == nil || len(change.Impact.Policies) != 1 {
		return errors.New("the dry run is not of one policy")
	}
	said := map[string]float64{}
	for _, m := range change.Impact.Policies[0].Moves {
		said[m.From+" -> "+m.To] += m.Share
	}
	var wrong []error
	hold := func(what string, said, seen float64) {
		line := fmt.Sprintf("%s: foretold %.4f, seen %.4f", what, said, seen)
		fmt.Fprintln(os.Stdout, line)
		if math.Abs(said-seen) > movedWithin {
			wrong = append(wrong, errors.New(line))
		}
	}
	total := 0.0
	for move, share := range seen {
		total += share
		hold(move, said[move], share)
	}
	for move, share := range said {
		if _, ok := seen[move]; !ok {
			hold(move, share, 0)
		}
	}
	hold("all", change.Impact.Share, total)
	hold("SERVFAIL", change.Impact.Failed, failed)
	return errors.Join(wrong...)
}

// movesBetween gives the shares of clients that moved between two surveys, by where from and where to.
func movesBetween(before, after string, regions []string) (moves map[string]float64, failed float64, err error) {
	region := map[string]string{"": "SERVFAIL"}
	for _, r := range regions {
		name, address, _ := strings.Cut(r, "=")
		region[address] = name
	}
	var lines [2][]string
	for i, file := range []string{before, after} {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, 0, err
		}
		lines[i] = strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	if len(lines[0]) != surveyClients || len(lines[1]) != surveyClients {
		return nil, 0, errors.New("a survey of " + strconv.Itoa(len(lines[0])) + " and " + strconv.Itoa(len(lines[1])) + " clients")
	}
	const one = 1.0 / surveyClients
	moves = map[string]float64{}
	for i, line := range lines[0] {
		if line == lines[1][i] {
			continue
		}
		was, is := strings.Fields(line), strings.Fields(lines[1][i])
		from, to := region[strings.Join(was[2:], "")], region[strings.Join(is[2:], "")]
		moves[from+" -> "+to] += one
		if to == "SERVFAIL" {
			failed += one
		}
	}
	return moves, failed, nil
}

// forge changes a file as nobody should: forge FILE 'text' 'other'.
func forge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: forge file text other")
	}
	before := ts.ReadFile(args[0])
	if !strings.Contains(before, args[1]) {
		ts.Fatalf("%s has no %s:\n%s", args[0], args[1], before)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(before, args[1], args[2], 1)), 0o600))
}
