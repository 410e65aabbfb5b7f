//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stopWait is how long a server may take to end by itself.
	stopWait = 5 * time.Second
	// upWait is how long it may take to its first right answer: a million names on a busy machine.
	upWait = 90 * time.Second
	// upPoll is how long a question waits for its answer meanwhile.
	upPoll = 2 * time.Millisecond
	// logTail is how many octets of its log are shown when a server does not come up.
	logTail = 2000
	// niceMost is the least friendly priority. Both sides have it where that is permitted, so that others disturb less.
	niceMost = -20
	// anyCore is for a process that is not pinned.
	anyCore = -1
)

// process is a running server with its children.
type process struct {
	cmd    *exec.Cmd
	log    string // file of its output
	exited chan struct{}
	up     time.Duration // from its start to its first right answer
}

// startProcess starts a program on one core.
func startProcess(argv []string, dir string, core int) (*process, error) {
	p := &process{log: filepath.Join(dir, "log"), exited: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // one of the servers; stop ends it
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A group of its own, which a terminal's ^C does not reach: stop ends it. And it never outlives us.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := onCore(core, p.cmd.Start); err != nil {
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // how it ended does not matter
	}()
	return p, nil
}

// onCore runs start, which starts a process, so that the process inherits a core and a priority.
func onCore(core int, start func() error) error {
	if core == anyCore {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &before) //nolint:errcheck // it was in force before
	return start()
}

// pinSelf binds every thread of this process, and so those that it starts later, to one core, at the least friendly priority if
// that is permitted. What it starts has that priority too. The session's priority is put back by restore.
func pinSelf(core int) (restore func(), err error) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, err
	}
	var set unix.CPUSet
	set.Set(core)
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			return nil, err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil {
			return nil, fmt.Errorf("taking core %d: %w", core, err)
		}
		_ = unix.Setpriority(unix.PRIO_PROCESS, id, niceMost)
	}
	return niceSession(), nil
}

// niceSession gives the session the least friendly priority: where the kernel shares a core among sessions first (sched(7),
// autogroup), a process's own priority counts only within its session.
func niceSession() (restore func()) {
	const file = "/proc/self/autogroup"
	text, err := os.ReadFile(file)
	var group, before int
	if n, _ := fmt.Sscanf(string(text), "/autogroup-%d nice %d", &group, &before); err != nil || n != 2 {
		return func() {}
	}
	set := func(nice int) { _ = os.WriteFile(file, []byte(strconv.Itoa(nice)), 0) } // it may not be permitted
	set(niceMost)
	return func() { set(before) }
}

// waitUp asks until the first right answer comes.
func (p *process) waitUp(ctx context.Context, port int, answered func(conn net.Conn) bool) error {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, upWait)
	defer cancel()
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // it does not wait for anybody
	if err != nil {
		return err
	}
	defer conn.Close()
	ticker := time.NewTicker(upPoll)
	defer ticker.Stop()
	for !answered(conn) {
		select {
		case <-p.exited:
			return fmt.Errorf("it ended; its log: %s", p.tail())
		case <-ctx.Done():
			return fmt.Errorf("no right answer after %v; its log: %s", time.Since(begun).Round(time.Second), p.tail())
		case <-ticker.C:
		}
	}
	p.up = time.Since(begun)
	return nil
}

// tail is the end of its log.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-logTail):])
}

// stop ends the server and its children.
func (p *process) stop() {
	id := p.cmd.Process.Pid
	_ = syscall.Kill(id, syscall.SIGTERM) // an error says that it has ended
	timer := time.NewTimer(stopWait)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
	}
	_ = syscall.Kill(-id, syscall.SIGKILL) // its group
	<-p.exited
}

// tree gives the process and its descendants.
func (p *process) tree() []int {
	ids := []int{p.cmd.Process.Pid}
	for i := 0; i < len(ids); i++ {
		lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", ids[i]))
		if err != nil {
			continue
		}
		for _, list := range lists {
			text, _ := os.ReadFile(list) // it may have ended
			for word := range strings.FieldsSeq(string(text)) {
				if id, err := strconv.Atoi(word); err == nil && !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
	}
	return ids
}

// memory is the proportional set size of the tree, in octets.
func (p *process) memory() (total int64) {
	for _, id := range p.tree() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", id))
		for line := range strings.Lines(string(text)) {
			var kib int64
			if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 {
				total += kib << 10
			}
		}
	}
	return total
}

// cpuTime is what processes have used.
type cpuTime struct {
	total     time.Duration
	user, sys int64 // of the kernel's ticks: they say how the total is divided
}

// cpuOf reads the CPU time of processes. The total is from their CPU clocks, which count nanoseconds; utime and stime count ticks
// of 10 ms, too coarse for a short stretch of light load.
func cpuOf(ids []int) (c cpuTime, err error) {
	for _, id := range ids {
		var t unix.Timespec
		if err := unix.ClockGettime(processClock(id), &t); err != nil {
			return c, fmt.Errorf("the CPU clock of process %d: %w", id, err)
		}
		c.total += time.Duration(t.Nano())
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
		if err != nil {
			return c, err
		}
		// After the name, which is in parentheses and may hold anything: state is field 3, utime 14, stime 15 (proc(5)).
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		user, errU := strconv.ParseInt(fields[14-3], 10, 64)
		sys, errS := strconv.ParseInt(fields[15-3], 10, 64)
		if err := errors.Join(errU, errS); err != nil {
			return c, err
		}
		c.user += user
		c.sys += sys
	}
	return c, nil
}

// processClock is the clock of a process's CPU time, as clock_getcpuclockid(3) makes it: the scheduler's clock of a whole process.
func processClock(id int) int32 {
	const scheduler = 2
	return int32(^id)<<3 | scheduler
}

// coreTime is what a core did, in ticks.
type coreTime struct{ busy, stolen, all int64 }

// coreOf reads /proc/stat.
func coreOf(core int) (c coreTime, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if words[0] != fmt.Sprintf("cpu%d", core) {
			continue
		}
		for i, word := range words[1:] {
			n, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return c, err
			}
			switch i {
			case 0, 1, 2, 5, 6: // user, nice, system, irq, softirq
				c.busy += n
				c.all += n
			case 3, 4: // idle, iowait
				c.all += n
			case 7:
				c.stolen += n
				c.all += n
			}
		}
		return c, nil
	}
	return c, fmt.Errorf("/proc/stat has no core %d", core)
}

// Ports that freePort gives: below those that the kernel gives to sockets which ask for any (ip_local_port_range in ip(7)), so that none of
// these takes one before the server does.
const portMin, portEnd = 10_000, 32_768

// freePort finds a port of loopback that is free on UDP and TCP.
func freePort() (int, error) {
	const tries = 100
	for range tries {
		port := portMin + rand.IntN(portEnd-portMin)
		t, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		_ = t.Close()
		if err == nil {
			_ = u.Close()
			return port, nil
		}
	}
	return 0, errors.New("no port is free on both UDP and TCP")
}
