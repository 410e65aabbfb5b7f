//go:build linux

package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// floorSource is compiled at the start of a run.
//
//go:embed floor.c
var floorSource []byte

// secondsMost is the longest stretch: longer ones say nothing more, and hold the machine.
const secondsMost = 60

// options are what a run is asked for.
type options struct {
	ours, out string
	rounds    int
	seconds   float64
	workloads []string
	servers   []string // none: all
	seed      uint64
	require   bool // a server that is not installed is an error
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == floorCommand {
		fmt.Fprintln(os.Stderr, "peers:", runFloor(os.Args[2])) // it returns with an error alone
		os.Exit(1)
	}
	o := options{require: os.Getenv("GEODNS_PEERS") == "require"}
	flag.StringVar(&o.ours, "geodns", "bin/geodns", "path of geodns")
	flag.StringVar(&o.out, "out", "bench/RESULTS.md", "file whose generated part is written")
	flag.IntVar(&o.rounds, "rounds", 9, "interleaved rounds")
	flag.Float64Var(&o.seconds, "seconds", 1.5, "measured seconds of each load")
	flag.Uint64Var(&o.seed, "seed", 1, "of all that is made up")
	workloads := flag.String("workloads", strings.Join(workloadNames(), " "), "workloads, separated by blanks")
	servers := flag.String("servers", "", "servers, separated by blanks; none: all")
	flag.Parse()
	o.workloads, o.servers = strings.Fields(*workloads), strings.Fields(*servers)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, &o, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		stop()
		os.Exit(1) //nolint:gocritic // nothing else is deferred
	}
}

// run measures, tells progress what it does, and writes the report.
func run(ctx context.Context, o *options, progress io.Writer) error {
	if o.rounds < 1 || o.seconds <= 0 || o.seconds > secondsMost {
		return fmt.Errorf("rounds %d, seconds %v: at least one round, and stretches of at most %d seconds, are wanted", o.rounds, o.seconds, secondsMost)
	}
	for _, name := range o.workloads {
		if !slices.Contains(workloadNames(), name) {
			return fmt.Errorf("there is no workload %q; known are %s", name, strings.Join(workloadNames(), ", "))
		}
	}
	if runtime.NumCPU() < 2 {
		return errors.New("two cores are needed, one for each side")
	}
	dir, err := os.MkdirTemp("", "geodns-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	list, err := choose(ctx, o, dir, progress)
	if err != nil {
		return err
	}
	report := newReport(ctx, o, list)
	restore, err := pinSelf(loadCore)
	if err != nil {
		return err
	}
	defer restore()
	b := &bench{seconds: o.seconds, seed: o.seed, dir: dir}
	for _, name := range o.workloads {
		fmt.Fprintf(progress, "%s: making it\n", name)
		w, err := newWorkload(name, dir, fullSize(), o.seed)
		if err != nil {
			return err
		}
		report.about(w)
		if err := b.rounds(ctx, o.rounds, list, w, report, progress); err != nil {
			return err
		}
	}
	if err := report.write(o.out); err != nil {
		return err
	}
	fmt.Fprintf(progress, "%s is written\n", o.out)
	return report.verdict()
}

// rounds measures every server in each round, and begins each round with another one.
func (b *bench) rounds(ctx context.Context, rounds int, list []*server, w *workload, report *report, progress io.Writer) error {
	list = slices.DeleteFunc(slices.Clone(list), func(s *server) bool { return !s.serves(w) })
	// A collection in the middle of a stretch would be the generator's own noise. Nothing is allocated there, and between them it is cheap.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for round := range rounds {
		for i := range list {
			s := list[(i+round)%len(list)]
			runtime.GC()
			x, err := b.run(ctx, s, w, round)
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			if err != nil { // the others' figures are worth having
				message := fmt.Sprintf("%s with %s, round %d: %v", s.name, w.name, round+1, err)
				fmt.Fprintln(progress, message)
				report.fail(message)
				continue
			}
			report.add(x)
			fmt.Fprintf(progress, "%s %d/%d %-8s %7.0f q/s %5.2f us | light %5.2f us p50 %3.0f p99 %4.0f us | up %5d ms %5.1f MiB | wrong %d lost %d | core %3.0f %% noise %.0f %.0f %%\n",
				w.name, round+1, rounds, s.name, x.saturated.rate(), x.saturated.cpu, x.light.cpu, x.light.p50, x.light.p99,
				x.up.Milliseconds(), float64(x.memory)/(1<<20), x.wrong(), x.lost(), x.saturated.serverBusy, x.saturated.noise, x.light.noise)
		}
	}
	return nil
}

// choose gives the servers that are wanted and there, geodns and the floors among them.
func choose(ctx context.Context, o *options, dir string, progress io.Writer) ([]*server, error) {
	floorC, err := buildFloor(ctx, dir)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ours, err := filepath.Abs(o.ours)
	if err != nil {
		return nil, err
	}
	all := servers(ours, floorC, self)
	for _, name := range o.servers {
		if !slices.ContainsFunc(all, func(s *server) bool { return s.name == name }) {
			return nil, fmt.Errorf("there is no server %q", name)
		}
	}
	var list []*server
	for _, s := range all {
		if len(o.servers) > 0 && !slices.Contains(o.servers, s.name) {
			continue
		}
		if s.lacks() {
			message := fmt.Sprintf("%s is not installed, or a part of it: apt-get install %s", s.name, s.missing)
			if o.require {
				return nil, errors.New(message)
			}
			fmt.Fprintln(progress, message)
		}
		if s.program != "" {
			list = append(list, s)
		}
	}
	return list, nil
}

// floorWait is how long the C compiler may take.
const floorWait = time.Minute

// buildFloor compiles the C floor, and gives no path where there is no compiler.
func buildFloor(ctx context.Context, dir string) (string, error) {
	cc := findProgram("cc")
	if cc == "" {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, floorWait)
	defer cancel()
	source, program := filepath.Join(dir, "floor.c"), filepath.Join(dir, "floor")
	if err := os.WriteFile(source, floorSource, 0o600); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, cc, "-O2", "-Wall", "-Werror", "-o", program, source).CombinedOutput() //nolint:gosec // the compiler
	if err != nil {
		return "", fmt.Errorf("compiling the C floor: %w\n%s", err, out)
	}
	return program, nil
}
