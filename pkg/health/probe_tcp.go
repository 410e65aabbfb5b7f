package health

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// probeTCP makes a connection, says what the check has it say, and reads what
// comes until the expected text is there.
func (p *prober) probeTCP(ctx context.Context, r *run) (good string, err error) {
	conn, err := p.connect(ctx, "tcp")
	if err != nil {
		return "", err
	}
	if p.plain() {
		conn.drop() // the connection was made: what becomes of it is of no interest
		return "connected", nil
	}
	// In order, so that what was sent arrives.
	defer func() { _ = conn.Close() }()
	r.reach(waiting)
	if p.check.Send != "" {
		if _, err := conn.Write([]byte(p.check.Send)); err != nil {
			return "", err
		}
	}
	if p.check.Expect == "" {
		return "connected and sent", nil
	}
	return "expected text came", p.expect(conn, r)
}

// reachFunc makes a connection by a deadline, or until ctx is done, and drops
// it. It needs no timer of the context's: of thousands of probes a second each
// would leave one behind for as long as its timeout is.
type reachFunc func(ctx context.Context, to netip.AddrPort, deadline time.Time) error

// plain reports whether it is all that a tcp check wants that a connection is made.
func (p *prober) plain() bool {
	return p.check.Kind == TCP && p.check.Send == "" && p.check.Expect == ""
}

// reaches reports whether a reachFunc does what the probe is to do.
func (p *prober) reaches() bool {
	return p.plain() && p.common.reach != nil && p.dest.addr.IsValid() && p.dest.addr.Zone() == ""
}

// expect reads until the expected text has come. nil: it has.
func (p *prober) expect(conn net.Conn, r *run) error {
	want := []byte(p.check.Expect)
	data := make([]byte, 0, ExpectMax)
	for len(data) < cap(data) {
		n, err := conn.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if bytes.Contains(data, want) {
			return nil
		}
		if n > 0 {
			r.note = fmt.Sprintf("after %.40q", data)
		}
		if err != nil {
			return err
		}
	}
	r.note = ""
	return unwantedError(fmt.Sprintf("%.40q is not in the first %d bytes, which begin with %.40q", want, ExpectMax, data))
}
