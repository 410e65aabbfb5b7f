//go:build !linux

package health

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// reachTCP makes a connection to an address by a deadline, and closes it; nil:
// it was made.
func reachTCP(ctx context.Context, to netip.AddrPort, deadline time.Time) error {
	conn, err := (&net.Dialer{Deadline: deadline}).DialContext(ctx, "tcp", to.String())
	if err == nil {
		_ = conn.Close() // what becomes of it is of no interest
	}
	return err
}
