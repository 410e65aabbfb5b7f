package main

import (
	"log/slog"
	"net"
	"os"
	"strings"
)

// notify tells systemd how far the service is (sd_notify(3)): one datagram to the socket that the unit names. Without systemd
// there is no socket, and nothing is done.
func notify(log *slog.Logger, state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	if strings.HasPrefix(name, "@") { // Linux's abstract names begin with a zero byte
		name = "\x00" + name[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		log.Warn("telling systemd", "state", state, "error", err.Error())
		return
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		log.Warn("telling systemd", "state", state, "error", err.Error())
	}
}
