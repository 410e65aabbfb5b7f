//go:build !linux

package health

import (
	"context"
	"net"
	"net/netip"
)

// reachTCP makes a connection to an address and closes it; nil: it was made.
func reachTCP(ctx context.Context, to netip.AddrPort) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err == nil {
		_ = conn.Close() // what becomes of it is of no interest
	}
	return err
}
