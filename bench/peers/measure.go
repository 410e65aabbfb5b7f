//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"time"
)

const (
	// warmUp is asked before a stretch is measured.
	warmUp = 300 * time.Millisecond
	// lightRate is the light load, questions a second.
	lightRate = 20_000
	// noiseMost is how much of a core others may take before a stretch is spoiled, in percent.
	noiseMost = 6
	// serverCore and loadCore are the cores of the two sides. Knot takes core 0 by itself, so the server's is that one.
	serverCore = 0
	loadCore   = 1
)

// stretch is one measured time of load.
type stretch struct {
	seconds          float64
	answered         int
	wrong, lost      int
	firstWrong       string
	cpu, user, sys   float64 // microseconds of the server for each answer
	serverBusy       float64 // percent of its core that the server had
	noise            float64 // percent of a core that others had, of the worse one
	p50, p99         float64 // microseconds from when a question was due to its answer
	spoiled, retried bool
}

// sample is all that one run of a server gives.
type sample struct {
	server, workload string
	round            int
	saturated, light stretch
	up               time.Duration
	memory           int64 // octets
}

// bench is one run of everything.
type bench struct {
	seconds float64 // of a stretch
	seed    uint64
	dir     string
}

// launch starts a server for a workload in a folder of its own, and waits until it answers right.
func (b *bench) launch(ctx context.Context, s *server, w *workload, core int) (*process, *site, error) {
	dir, err := os.MkdirTemp(b.dir, s.name+"-")
	if err != nil {
		return nil, nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	st := &site{dir: dir, port: port, work: w}
	args, err := s.configure(st)
	if err != nil {
		return nil, st, fmt.Errorf("writing its files: %w", err)
	}
	program := s.program
	if s.copied {
		if program, err = copyProgram(program, dir); err != nil {
			return nil, st, err
		}
	}
	p, err := startProcess(append([]string{program}, args...), dir, core)
	if err != nil {
		return nil, st, err
	}
	if err := p.waitUp(ctx, port, asker(&w.questions, s.floor)); err != nil {
		p.stop()
		return nil, st, err
	}
	return p, st, nil
}

// asker asks one question with an address in its answer, once each time that it is called.
func asker(q *questions, lenient bool) func(net.Conn) bool {
	i := max(0, slices.IndexFunc(q.list, func(x question) bool { return x.want.size > 0 }))
	buf := make([]byte, datagramMax)
	return func(conn net.Conn) bool {
		if _, err := conn.Write(q.bytes(i)); err != nil {
			return false
		}
		if err := conn.SetReadDeadline(time.Now().Add(upPoll)); err != nil {
			return false
		}
		n, err := conn.Read(buf)
		return err == nil && (q.right(i, buf[:n]) || lenient && q.echoes(i, buf[:n]))
	}
}

// run measures one server with one workload.
func (b *bench) run(ctx context.Context, s *server, w *workload, round int) (_ *sample, err error) {
	p, st, err := b.launch(ctx, s, w, serverCore)
	if st != nil {
		defer os.RemoveAll(st.dir)
	}
	if err != nil {
		return nil, err
	}
	defer p.stop()
	r := &sample{server: s.name, workload: w.name, round: round, up: p.up}
	// Each round begins elsewhere among the questions, the same for all servers.
	first := rand.New(rand.NewPCG(b.seed, uint64(round))).IntN(len(w.questions.list))
	if r.saturated, err = b.twice(ctx, p, st, first, s.floor, 0); err != nil {
		return nil, err
	}
	if r.light, err = b.twice(ctx, p, st, first+len(w.questions.list)/2, s.floor, lightRate); err != nil {
		return nil, err
	}
	r.memory = p.memory()
	return r, nil
}

// twice measures a stretch, once more if others spoiled it.
func (b *bench) twice(ctx context.Context, p *process, st *site, first int, lenient bool, rate float64) (x stretch, err error) {
	if x, err = b.stretch(ctx, p, st, first, lenient, rate); err != nil || !x.spoiled {
		return x, err
	}
	again, err := b.stretch(ctx, p, st, first, lenient, rate)
	again.retried = true
	return again, err
}

// meter is what is read at both ends of a stretch.
type meter struct {
	at           time.Time
	server, self cpuTime
	cores        [2]coreTime
}

func readMeter(ids []int) (m meter, err error) {
	m.at = time.Now()
	if m.server, err = cpuOf(ids); err != nil {
		return m, err
	}
	if m.self, err = cpuOf([]int{os.Getpid()}); err != nil {
		return m, err
	}
	for i, core := range []int{serverCore, loadCore} {
		if m.cores[i], err = coreOf(core); err != nil {
			return m, err
		}
	}
	return m, nil
}

// stretch asks for a while, and measures the time after the warm-up. A rate of 0 is saturation.
func (b *bench) stretch(ctx context.Context, p *process, st *site, first int, lenient bool, rate float64) (x stretch, err error) {
	g, err := newGenerator(&st.work.questions, st.port, first, lenient)
	if err != nil {
		return x, err
	}
	defer g.close()
	ids := p.tree()
	ask := g.saturate
	if rate > 0 {
		random := rand.New(rand.NewPCG(b.seed, uint64(first)))
		ask = func(ctx context.Context, done func(int64) bool) error { return g.arrive(ctx, rate, random, done) }
	}
	if err = ask(ctx, until(g.now()+int64(warmUp))); err != nil {
		return x, err
	}
	from, err := readMeter(ids)
	if err != nil {
		return x, err
	}
	g.reset(int(rate * b.seconds * 2))
	if err = ask(ctx, until(g.since+int64(b.seconds*float64(time.Second)))); err != nil {
		return x, err
	}
	answered := g.tally.answered
	to, err := readMeter(ids)
	if err != nil {
		return x, err
	}
	if err = g.drain(ctx); err != nil {
		return x, err
	}
	x = compare(from, to, answered)
	x.wrong, x.lost, x.firstWrong = g.tally.wrong, g.tally.lost, g.tally.firstWrong
	slices.Sort(g.tally.latencies)
	x.p50, x.p99 = float64(quantile(g.tally.latencies, 0.50))/1e3, float64(quantile(g.tally.latencies, 0.99))/1e3
	return x, nil
}

// until is done at a time of the generator.
func until(end int64) func(int64) bool { return func(now int64) bool { return now >= end } }

// compare gives what lies between two readings.
func compare(from, to meter, answered int) stretch {
	wall := to.at.Sub(from.at)
	cpu := to.server.total - from.server.total
	user, sys := float64(to.server.user-from.server.user), float64(to.server.sys-from.server.sys)
	x := stretch{seconds: wall.Seconds(), answered: answered, serverBusy: 100 * cpu.Seconds() / wall.Seconds()}
	if answered > 0 {
		x.cpu = float64(cpu.Microseconds()) / float64(answered)
	}
	if user+sys > 0 {
		x.user, x.sys = x.cpu*user/(user+sys), x.cpu*sys/(user+sys)
	}
	self := 100 * (to.self.total - from.self.total).Seconds() / wall.Seconds()
	var busy, stolen [2]float64
	for i := range busy {
		all := float64(to.cores[i].all - from.cores[i].all)
		busy[i] = 100 * float64(to.cores[i].busy-from.cores[i].busy) / max(all, 1)
		stolen[i] = 100 * float64(to.cores[i].stolen-from.cores[i].stolen) / max(all, 1)
	}
	// The server's core may idle, and what is busy on it beside the server is others'; the generator never idles, and what it does
	// not have is others'.
	x.noise = max(busy[0]-x.serverBusy+stolen[0], 100-self)
	x.spoiled = x.noise > noiseMost
	return x
}
