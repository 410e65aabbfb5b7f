package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"geodns/pkg/policy"
)

// Limits of the listener. Operators' tools, a scraper and a load balancer's readiness check share it.
const (
	// ConnectionsMax bounds the open connections; more wait in the kernel's queue. Three quarters may be SubscribersMax, which
	// leaves operators and scrapers more than they ever had need of; one costs some 30 kB.
	ConnectionsMax = 2048
	// streamsMax bounds the requests at once of one connection of HTTP/2; a dashboard has some.
	streamsMax = 32
	// headerBytesMax bounds a request's headers; a bearer token is the longest that we expect.
	headerBytesMax = 16 << 10
	// bodyBytesMax bounds a request's body; a vote is some hundred bytes.
	bodyBytesMax = 64 << 10
	// headerTimeout and requestTimeout bound how long a slow client may take to send a request.
	headerTimeout  = 5 * time.Second
	requestTimeout = 10 * time.Second
	// answerTimeout bounds an answer from the end of its request's headers, waiting included.
	answerTimeout = 30 * time.Second
	// ReloadTimeout bounds how long POST /v1/reload waits for the load. A compile from the largest databases takes seconds;
	// minutes mean that something is stuck. The load itself is not cut off by it.
	ReloadTimeout = 5 * time.Minute
	// idleTimeout is longer than a scrape interval, so that a scraper keeps its connection.
	idleTimeout = 2 * time.Minute
	// closeTimeout is what answers under way get when the process ends.
	closeTimeout = 2 * time.Second
)

// Config says where to listen and whom to ask. It is not changed after New. All funcs are needed but those of Access and TargetAttributes; they must be
// safe for concurrent use and return values that the caller may keep.
type Config struct {
	// Listen is a loopback address, or any where TLS and Access are set; port 0 takes a free one.
	Listen netip.AddrPort
	// TLS has the server's certificate. nil: plain HTTP, which is for loopback alone.
	TLS *tls.Config
	// Access says who may come in. The zero value lets in everybody, which is for loopback alone.
	Access Access
	// Version is the binary's.
	Version string
	// Log takes what goes wrong with the listener.
	Log *slog.Logger

	// Status and Targets give the documents of their names, targets ordered by id.
	Status  func() Status
	Targets func() []Target
	// Ready is nil when answers are right, else why they may not be.
	Ready func() error
	// Explain decides a question as serving would, now. Its errors are the asker's: a name that is not steered, a bad type.
	Explain func(context.Context, policy.Question) (*policy.Explanation, error)
	// TargetAttributes gives what a target is known by to grants, by its id, also of one that there is not. nil: by its id and
	// its pool, which the id names.
	TargetAttributes func(id string) Attributes
	// Reload begins a load for who asks and waits for it. A refused load is no error: its Load says so. An error means that none was
	// tried or that ctx ended first.
	Reload func(ctx context.Context, who string) (Load, error)
	// Leases and Audit are what operators change, and the record of it; Listing what is served.
	Leases  Leases
	Audit   Audit
	Listing Listing
	// Health is the checker.
	Health Health
	// RUM is what users measured.
	RUM RUM
	// Metrics says where the counters are.
	Metrics Metrics
}

// Server is a bound listener with the API behind it, or with what takes beacons.
type Server struct {
	name     string // of what is behind it, for the log
	listener net.Listener
	http     *http.Server
	secure   bool   // it speaks TLS; http's own config is there sooner or later in any case
	closing  func() // ends what has no end of its own
	log      *slog.Logger
}

// New checks cfg and binds its address. It starts nothing: Run does. A Server that is not run must be closed.
func New(cfg Config) (*Server, error) {
	if err := CheckListen(cfg.Listen, cfg.TLS != nil, cfg.Access.Configured()); err != nil {
		return nil, fmt.Errorf("api.listen: %w", err)
	}
	handler, err := NewHandler(cfg)
	if err != nil {
		return nil, err
	}
	listener, err := listenTCP(cfg.Listen, false)
	if err != nil {
		return nil, fmt.Errorf("api.listen: %w", err)
	}
	return &Server{
		name:     "api",
		listener: netutil.LimitListener(listener, ConnectionsMax),
		http: &http.Server{
			Handler:           handler,
			TLSConfig:         cfg.TLS.Clone(),
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streamsMax},
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       requestTimeout,
			WriteTimeout:      answerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    headerBytesMax,
			ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		},
		secure:  cfg.TLS != nil,
		closing: cfg.Health.Events.Close,
		log:     cfg.Log,
	}, nil
}

// listenTCP binds an address. Where both families are wanted [::] is every address of the host, else every one of IPv6.
func listenTCP(at netip.AddrPort, both bool) (net.Listener, error) {
	at, family := netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), "tcp6"
	switch {
	case at.Addr().Is4(): // "tcp" would have 0.0.0.0 listen to IPv6 as well
		family = "tcp4"
	case both && at.Addr().IsUnspecified():
		family = "tcp"
	}
	return net.Listen(family, at.String())
}

// CheckListen says what is missing before the API may listen at an address, nil if nothing is: on any but loopback there are TLS
// and credentials, or there is no API.
func CheckListen(listen netip.AddrPort, withTLS, withCredentials bool) error {
	var missing []string
	if !withTLS {
		missing = append(missing, "api.certificate and api.key")
	}
	if !withCredentials {
		missing = append(missing, "one of auth.tokens, api.client_ca and auth.oidc_issuer")
	}
	if len(missing) == 0 || listen.Addr().IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s is not a loopback address, where the API needs TLS and credentials; set %s", listen, strings.Join(missing, ", and "))
}

// attributesOf is what a target is known by to grants.
func (c *Config) attributesOf(id string) Attributes {
	if c.TargetAttributes != nil {
		return c.TargetAttributes(id)
	}
	pool, _, _ := strings.Cut(id, "/")
	return Attributes{"pool": {pool}, "target": {id}}
}

// Addr is the address bound.
func (s *Server) Addr() netip.AddrPort {
	if tcp, ok := s.listener.Addr().(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}

// Close gives the address back without serving. After Run it does nothing.
func (s *Server) Close() error {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing the listener of the %s: %w", s.name, err)
	}
	return nil
}

// serve answers until the listener is closed, with TLS where there is a certificate.
func (s *Server) serve() error {
	if !s.secure {
		return s.http.Serve(s.listener)
	}
	return s.http.ServeTLS(s.listener, "", "")
}

// Run serves until ctx ends, lets answers under way end for a moment, and returns nil; or an error if the listener breaks.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.serve() }()
	s.log.Info(s.name+" listens", "address", s.Addr().String(), "tls", s.secure)
	select {
	case err := <-served:
		return fmt.Errorf("serving the %s: %w", s.name, err)
	case <-ctx.Done():
	}
	s.closing() // streams have no end of their own
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := s.http.Shutdown(closing); err != nil {
		s.log.Debug(s.name+" answers were cut off", "error", err.Error())
		s.http.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the %s: %w", s.name, err)
	}
	return nil
}
