package main_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	main "geodns/cmd/geodns"
	"geodns/internal/dnstest"
)

// pollLimit is how long a script waits for something that should come.
const pollLimit = 20 * time.Second

// scriptsLimit ends scripts that hang; all of them together take seconds.
const scriptsLimit = 3 * time.Minute

// TestMain makes this test binary the commands that the scripts run: ours, DNS clients and a back end to probe.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"geodns": main.Main, "ask": ask, "backend": backend, "cookie": cookie, "fetch": fetch, "put": put, "survey": survey, "moved": moved})
}

// TestScripts runs testdata/script/*.txtar. Each script has its own folder and the variables DNS, API and BACKEND: free ports
// of loopback, taken for UDP and TCP alike.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		Deadline:      time.Now().Add(scriptsLimit),
		UpdateScripts: os.Getenv("GEODNS_UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"DNS", "API", "BACKEND"} {
				port, err := dnstest.FreePort()
				if err != nil {
					return err
				}
				env.Setenv(name, strconv.Itoa(port))
			}
			return nil
		},
		Condition: func(condition string) (bool, error) {
			if condition != "net6" {
				return false, fmt.Errorf("unknown condition %q", condition)
			}
			listener, err := net.Listen("tcp", "[::1]:0")
			if err != nil {
				return false, nil //nolint:nilerr // that is the answer: there is no IPv6 here
			}
			return true, listener.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"append":       appendLine,
			"certificates": certificates,
			"exits":        exits,
			"expand":       expand,
			"forge":        forge,
			"hangup":       hangup,
			"mode":         mode,
			"poll":         poll,
			"setenv":       setenv,
		},
	})
}

// exits runs a command and wants its exit code: exits CODE command argument...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command argument...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if want := args[0]; strconv.Itoa(got) != want {
		ts.Fatalf("%s: exit code %d, want %s", strings.Join(args[1:], " "), got, want)
	}
}

// expand replaces $NAME in files by the script's variables: expand FILE...
func expand(ts *testscript.TestScript, _ bool, files []string) {
	for _, name := range files {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// hangup sends SIGHUP to the script's server; the language's own kill knows two signals only.
func hangup(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		if filepath.Base(cmd.Path) == "geodns" {
			ts.Check(cmd.Process.Signal(syscall.SIGHUP))
			return
		}
	}
	ts.Fatalf("hangup: no server runs")
}

// poll runs a command until it succeeds and its output holds what is wanted: poll 'text' command argument...
func poll(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: poll text command argument...")
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(pollLimit); ; <-ticker.C {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("poll: no %q within %s: %v", args[0], pollLimit, err)
		}
	}
}

// ask is a DNS client: ask PORT NAME TYPE [PREFIX]. The type CH is TXT in class CH. It prints the rcode, each record's data and the ECS scope.
func ask() {
	if err := exchange(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ask:", err)
		os.Exit(1)
	}
}

// exchange asks one question over UDP and prints the answer.
func exchange(args []string) error {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(args[1]), dns.StringToType[args[2]])
	if args[2] == "CH" {
		query.Question[0] = dns.Question{Name: dns.Fqdn(args[1]), Qtype: dns.TypeTXT, Qclass: dns.ClassCHAOS}
	}
	query.SetEdns0(1232, false)
	if len(args) > 3 {
		prefix, err := netip.ParsePrefix(args[3])
		if err != nil {
			return err
		}
		ecs := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(prefix.Bits()), Address: prefix.Addr().AsSlice()}
		if prefix.Addr().Is6() {
			ecs.Family = 2
		}
		query.IsEdns0().Option = append(query.IsEdns0().Option, ecs)
	}
	client := &dns.Client{Timeout: 2 * time.Second}
	answer, _, err := client.Exchange(query, "127.0.0.1:"+args[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "rcode", dns.RcodeToString[answer.Rcode])
	for _, rr := range answer.Answer {
		fmt.Fprintln(os.Stdout, "answer", strings.Join(strings.Fields(rr.String()), " "))
	}
	if opt := answer.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if ecs, ok := option.(*dns.EDNS0_SUBNET); ok {
				fmt.Fprintln(os.Stdout, "scope", ecs.SourceScope)
			}
		}
	}
	return nil
}

// backend is a web server that is well: backend ADDRESS:PORT. It runs until it is killed.
func backend() {
	server := &http.Server{
		Addr:              os.Args[1],
		ReadHeaderTimeout: time.Second,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }),
	}
	fmt.Fprintln(os.Stderr, "backend:", server.ListenAndServe())
	os.Exit(1)
}
