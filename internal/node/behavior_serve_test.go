package node_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/node"
	"geodns/pkg/steering"
)

// behaviorServer is the node that a behavior file is about.
type behaviorServer struct {
	t       *testing.T
	node    *node.Node
	dir     string   // where its files are
	secrets []string // of server cookies, in hex digits, if the file gives them
}

// startBehavior loads the file's zones and policies as `geodns serve` does, and serves them on loopback.
func startBehavior(t *testing.T, b *behavior) *behaviorServer {
	t.Helper()
	dir := t.TempDir()
	cfg := node.Config{
		Node: "test", Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Zones: filepath.Join(dir, "zones"), Version: "1.2.3",
		Workers: 1, // so that what is sent behind a query is answered behind it
	}
	files := map[string]string{}
	for name, text := range b.files {
		if name == "geo-overrides.yaml" {
			cfg.Geo.Overrides = filepath.Join(dir, name)
			files[name] = text
			continue
		}
		files[filepath.Join("zones", name)] = text
	}
	write(t, dir, files)
	for _, s := range b.settings {
		if err := configure(&cfg, s); err != nil {
			t.Fatalf("%s:%d: %q: %v", b.path, s.line, s.word, err)
		}
	}
	if slices.ContainsFunc(cfg.Listen, func(a netip.AddrPort) bool { return a.Addr().Is6() }) {
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Skipf("no IPv6 here: %v", err)
		}
		l.Close()
	}
	n, err := node.New(cfg)
	if err != nil {
		t.Fatalf("%s: %v", b.path, err)
	}
	serveOnly(t, n)
	return &behaviorServer{t: t, node: n, dir: dir, secrets: b.values("cookie-secrets")}
}

// configure applies a line of the section `server`.
func configure(cfg *node.Config, s setting) error {
	switch s.word {
	case "node":
		cfg.Node = strings.Join(s.values, " ")
	case "version":
		cfg.Version = strings.Join(s.values, " ")
	case "listen":
		cfg.Listen = nil
		for _, v := range s.values {
			a, err := netip.ParseAddr(v)
			if err != nil {
				return err
			}
			cfg.Listen = append(cfg.Listen, netip.AddrPortFrom(a, 0))
		}
	case "databases":
		for _, v := range s.values {
			cfg.Geo.Databases = append(cfg.Geo.Databases, filepath.Join(filepath.Dir(cfg.Zones), v))
		}
	case "ecs-off":
		for _, v := range s.values {
			cfg.ECSOff = append(cfg.ECSOff, node.ZoneName{Name: v})
		}
	case "explain-allow":
		cfg.ExplainAllow = []netip.Prefix{}
		for _, v := range s.values {
			p, err := netip.ParsePrefix(v)
			if err != nil {
				return err
			}
			cfg.ExplainAllow = append(cfg.ExplainAllow, p)
		}
	default:
		return configureCookies(cfg, s)
	}
	return nil
}

// configureCookies applies `cookies off`, `cookies require` and `cookie-secrets`.
func configureCookies(cfg *node.Config, s setting) error {
	switch {
	case s.word == "cookies" && slices.Equal(s.values, []string{"off"}):
		cfg.Cookies.Off = true
	case s.word == "cookies" && slices.Equal(s.values, []string{"require"}):
		cfg.Cookies.Require = true
	case s.word == "cookie-secrets":
		cfg.Cookies.SecretFile = filepath.Join(filepath.Dir(cfg.Zones), "cookie-secrets")
		return os.WriteFile(cfg.Cookies.SecretFile, []byte(strings.Join(s.values, "\n")+"\n"), 0o600)
	default:
		return errors.New("no such setting")
	}
	return nil
}

// publish gives the targets the states of the query at a line; those that are not named are up.
func (s *behaviorServer) publish(line int, states map[string]steering.Verdict) {
	s.t.Helper()
	unknown := maps.Clone(states)
	err := s.node.PublishStates(func(id string) steering.Verdict {
		delete(unknown, id)
		if v, ok := states[id]; ok {
			return v
		}
		return steering.Unchecked()
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(unknown) > 0 {
		s.t.Fatalf("line %d: there is no target %v", line, slices.Sorted(maps.Keys(unknown)))
	}
}

// ask asks over a transport, and checks what it can of the answer's cookie: that the server takes it.
func (s *behaviorServer) ask(q *query, transport string) (*answer, error) {
	server, err := s.serverCookie(q, transport)
	if err != nil {
		return nil, fmt.Errorf("getting a server cookie: %w", err)
	}
	asked, err := q.pack(server)
	if err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	got, err := s.exchange(q, transport, asked)
	if err != nil {
		return nil, err
	}
	if got == nil {
		return &answer{dropped: true}, nil
	}
	zones, table, _ := strings.Cut(s.node.WorldID(), "-")
	plain := strings.NewReplacer(zones, "ZONES", table, "TABLE", s.dir+string(filepath.Separator), "")
	return readAnswer(got, asked, q.size, func(o optOption) (string, error) { return s.word(q, transport, server, o) }, plain)
}

// word is the word of an option. What is different each time is checked and stands as a word of the README.
func (s *behaviorServer) word(q *query, transport, sent string, o optOption) (string, error) {
	switch o.code {
	case dns.EDNS0NSID:
		zones, table, _ := strings.Cut(s.node.WorldID(), "-")
		return "nsid=" + strings.Replace(string(o.data), zones[:min(8, len(zones))]+"-"+table[:min(8, len(table))], "WORLD", 1), nil
	case dns.EDNS0COOKIE:
		text := hex.EncodeToString(o.data)
		client, server := text[:min(16, len(text))], text[min(16, len(text)):]
		switch {
		case client != q.clientCookie():
			return "", fmt.Errorf("the client cookie is %s, not %s", client, q.clientCookie())
		case server != "" && server == sent:
			return "cookie=" + client + "+same", nil
		}
		return "cookie=" + client + "+fresh", s.checkCookie(q, transport, server)
	}
	return o.word(), nil
}

// exchange sends a message, and behind it one that is surely answered: if that is answered first, the message was dropped, and the
// result is nil.
func (s *behaviorServer) exchange(q *query, transport string, asked []byte) ([]byte, error) {
	to := s.node.Addrs()[0]
	for _, a := range s.node.Addrs() {
		if q.source.IsValid() && a.Addr().Is4() == q.source.Is4() {
			to = a
			break
		}
	}
	conn, err := q.dialer(transport).Dial(transport, to.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err = conn.SetDeadline(time.Now().Add(soon)); err != nil {
		return nil, err
	}
	sentinel := dns.Msg{Question: []dns.Question{{Name: ".", Qtype: dns.TypeSOA, Qclass: dns.ClassINET}}}
	sentinel.Id = ^binary.BigEndian.Uint16(asked)
	behind, err := sentinel.Pack()
	if err != nil {
		return nil, err
	}
	for _, m := range [][]byte{asked, behind} {
		if err := send(conn, transport, m); err != nil {
			return nil, err
		}
	}
	return await(conn, transport, asked, sentinel.Id)
}

// afterSentinel is how long an answer may come behind the sentinel's: over TCP, answers may come in any order (RFC 7766 section 7).
const afterSentinel = 200 * time.Millisecond

// await reads until the answer, or until the sentinel's answer and a while.
func await(conn net.Conn, transport string, asked []byte, sentinel uint16) ([]byte, error) {
	over := false
	for {
		m, err := receive(conn, transport)
		switch {
		case over && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF)):
			return nil, nil //nolint:nilnil // no answer, as documented
		case err != nil:
			return nil, err
		case len(m) < 12:
			return nil, fmt.Errorf("an answer of %d octets", len(m))
		case bytes.Equal(m[:2], asked[:2]):
			return m, nil
		case binary.BigEndian.Uint16(m) != sentinel:
			return nil, fmt.Errorf("an answer to another query: %x", m)
		}
		over = true
		if err = conn.SetReadDeadline(time.Now().Add(afterSentinel)); err != nil {
			return nil, err
		}
	}
}

// send sends a message, over TCP behind its length.
func send(conn net.Conn, transport string, m []byte) error {
	if transport == "tcp" {
		m = append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
	}
	_, err := conn.Write(m)
	return err
}

// receive takes one message.
func receive(conn net.Conn, transport string) ([]byte, error) {
	buf := make([]byte, 1<<16)
	if transport != "tcp" {
		n, err := conn.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return nil, err
	}
	m := buf[:binary.BigEndian.Uint16(buf)]
	_, err := io.ReadFull(conn, m)
	return m, err
}
