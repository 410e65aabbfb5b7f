//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// The generator has one thread, which never blocks and makes no garbage. At saturation the loop is closed: a window of questions is
// under way, and an answer makes room for the next one. At light load it is open: questions are due at random times, whatever the
// answers do, and latency counts from when a question was due, so that a stall of the server or of the generator is not hidden.

const (
	// lanes is how many sockets ask, as several resolvers would.
	lanes = 4
	// window is how many questions each lane has under way at saturation. All of them together fit into the receive buffer that
	// a socket has by default: 212,992 octets, of which the kernel charges 768 for a small datagram.
	window = 48
	// windowSend is how many of them must have been answered before the next are sent, so that they go as one batch.
	windowSend = batchMax / 2
	// flights is how many questions of a lane may be remembered: as many as there are IDs. One that is lost holds its place until
	// it is given up, while the others go on.
	flights = 1 << 16
	// patience is how long an answer may take before it is lost.
	patience = 500 * time.Millisecond
	// sweepEvery is how often lost ones are looked for, and an interruption.
	sweepEvery = 20 * time.Millisecond
	// receiveBuffer is what the kernel may hold of answers for a lane, in octets.
	receiveBuffer = 1 << 20
)

// flight is a question under way.
type flight struct {
	due      int64 // nanoseconds since the generator was made
	question int32
	open     bool
}

// lane is a socket, and what is under way on it: the questions from oldest to next, by their sequence numbers. The ID of a question
// is the end of its number, and its place.
type lane struct {
	fd           int
	oldest, next uint32
	under        int
	flights      [flights]flight
}

// tally is what became of the questions since measuring began.
type tally struct {
	sent, answered, wrong, lost int
	firstWrong                  string
	latencies                   []int64 // nanoseconds, while there is room
}

// generator asks one server.
type generator struct {
	questions *questions
	lenient   bool // the server is a floor: its answers are only looked at
	lanes     []*lane
	in, out   *batch
	begun     time.Time
	since     int64 // when measuring began; what was due before does not count
	swept     int64 // when sweep was called last by tidy
	at        int   // the next question
	tally     tally
}

// newGenerator opens the sockets, and begins with question first.
func newGenerator(q *questions, port, first int, lenient bool) (*generator, error) {
	g := &generator{questions: q, lenient: lenient, in: newBatch(false), out: newBatch(false), begun: time.Now(), at: first % len(q.list)}
	for range lanes {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			g.close()
			return nil, err
		}
		g.lanes = append(g.lanes, &lane{fd: fd})
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // less is enough at most times
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			g.close()
			return nil, err
		}
	}
	return g, nil
}

func (g *generator) close() {
	for _, l := range g.lanes {
		_ = unix.Close(l.fd)
	}
}

func (g *generator) now() int64 { return int64(time.Since(g.begun)) }

// reset begins to measure, with room for the latencies of so many answers.
func (g *generator) reset(room int) {
	g.tally = tally{latencies: make([]int64, 0, room)}
	g.since, g.swept = g.now(), 0
}

// saturate asks with full windows until the tally says so, or ctx ends.
func (g *generator) saturate(ctx context.Context, done func(now int64) bool) error {
	for now := g.now(); !done(now); now = g.now() {
		for _, l := range g.lanes {
			if err := g.receive(l); err != nil {
				return err
			}
			if free := min(window-l.under, l.room()); free >= windowSend {
				free = min(free, batchMax)
				for i, due := 0, g.now(); i < free; i++ {
					g.put(l, i, due)
				}
				if err := g.send(l, free); err != nil {
					return err
				}
			}
		}
		if err := g.tidy(ctx, now); err != nil {
			return err
		}
	}
	return nil
}

// arrive asks at random times, rate a second, until done or ctx ends.
func (g *generator) arrive(ctx context.Context, rate float64, random *rand.Rand, done func(now int64) bool) error {
	turn, due := 0, g.now()
	for now := g.now(); !done(now); now = g.now() {
		for _, l := range g.lanes {
			if err := g.receive(l); err != nil {
				return err
			}
		}
		l, n := g.lanes[turn], 0
		for ; n < batchMax && due <= now && l.room() > 0; n++ {
			g.put(l, n, due)
			due += int64(random.ExpFloat64() / rate * float64(time.Second))
		}
		if n > 0 {
			turn = (turn + 1) % len(g.lanes)
			if err := g.send(l, n); err != nil {
				return err
			}
		}
		if err := g.tidy(ctx, now); err != nil {
			return err
		}
	}
	return nil
}

// drain waits for what is under way; what does not come is lost.
func (g *generator) drain(ctx context.Context) error {
	for now := g.now(); ; now = g.now() {
		under := 0
		for _, l := range g.lanes {
			if err := g.receive(l); err != nil {
				return err
			}
			under += l.under
		}
		if err := g.sweep(ctx, now); err != nil || under == 0 {
			return err
		}
	}
}

// put makes the next question the i-th datagram of the batch that goes out on l.
func (g *generator) put(l *lane, i int, due int64) {
	wire := g.questions.bytes(g.at)
	id := uint16(l.next)
	l.flights[l.next%flights] = flight{due: due, question: int32(g.at), open: true}
	l.next++
	l.under++
	if g.at++; g.at == len(g.questions.list) {
		g.at = 0
	}
	b := &g.out.buffers[i]
	copy(b[:], wire)
	b[0], b[1] = byte(id>>8), byte(id)
	g.out.vectors[i].SetLen(len(wire))
}

// send sends the first n datagrams of the batch.
func (g *generator) send(l *lane, n int) error {
	g.tally.sent += n
	return g.out.send(l.fd, 0, n)
}

// receive takes and checks all that has come on a lane.
func (g *generator) receive(l *lane) error {
	for l.under > 0 {
		n, e := g.in.receive(l.fd)
		switch e {
		case 0:
		case unix.EAGAIN, unix.EINTR:
			return nil
		default:
			return fmt.Errorf("the server is gone: %w", e)
		}
		now := g.now()
		for i := range n {
			g.take(l, g.in.buffers[i][:g.in.messages[i].n], now)
		}
		if n < batchMax {
			return nil
		}
	}
	return nil
}

// take checks an answer. One that nobody waits for is left alone: it came too late, and has been counted as lost.
func (g *generator) take(l *lane, msg []byte, now int64) {
	if len(msg) < headerLen {
		return
	}
	f := &l.flights[uint16(msg[0])<<8|uint16(msg[1])]
	if !f.open {
		return
	}
	f.open = false
	l.under--
	l.advance()
	if f.due < g.since {
		return
	}
	g.tally.answered++
	if len(g.tally.latencies) < cap(g.tally.latencies) {
		g.tally.latencies = append(g.tally.latencies, now-f.due)
	}
	i := int(f.question)
	if g.questions.right(i, msg) || g.lenient && g.questions.echoes(i, msg) {
		return
	}
	if g.tally.wrong++; g.tally.wrong == 1 {
		g.tally.firstWrong = fmt.Sprintf("asked %q, got %q", g.questions.bytes(i), msg)
	}
}

// room is how many more questions can be remembered.
func (l *lane) room() int { return flights - int(l.next-l.oldest) }

// advance moves the lane's end past what is answered or lost.
func (l *lane) advance() {
	for l.oldest != l.next && !l.flights[l.oldest%flights].open {
		l.oldest++
	}
}

// tidy sweeps now and then. Its error is that ctx has ended.
func (g *generator) tidy(ctx context.Context, now int64) error {
	if now-g.swept <= int64(sweepEvery) {
		return nil
	}
	g.swept = now
	return g.sweep(ctx, now)
}

// sweep gives up what has been under way for too long, and everything if ctx has ended.
func (g *generator) sweep(ctx context.Context, now int64) error {
	for _, l := range g.lanes {
		for l.oldest != l.next {
			f := &l.flights[l.oldest%flights]
			if now-f.due < int64(patience) {
				break
			}
			f.open = false
			l.under--
			if f.due >= g.since {
				g.tally.lost++
			}
			l.advance()
		}
	}
	return ctx.Err()
}

// quantile of sorted values, q from 0 to 1.
func quantile(sorted []int64, q float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
