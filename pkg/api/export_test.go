package api

import (
	"context"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/go-jose/go-jose/v4"

	"geodns/pkg/rum"
)

// The longest names that credentials have beside tokens.
const (
	CertificateNameMax = certificateNameMax
	OIDCNameMax        = oidcNameMax
)

// WrongAddrsMax bounds the addresses that a door remembers.
const WrongAddrsMax = wrongAddrsMax

// The limits of a stream.
const (
	EventQueue     = eventQueue
	FlushTick      = flushTick
	FlushTogether  = flushTogether
	FlushEvery     = flushEvery
	FlushBytes     = flushBytes
	HeartbeatEarly = heartbeatEarly
)

// Heartbeat is how often an idle stream says something.
const Heartbeat = heartbeat

// Door lets in who has a token.
type Door = door

// NewDoor makes one that lets nobody in.
func NewDoor() *Door { return &door{} }

// Failed counts a wrong token.
func (d *door) Failed(from string, now time.Time) { d.failed(netip.MustParseAddr(from), now) }

// Locked says whether an address is locked out.
func (d *door) Locked(from string, now time.Time) bool {
	return d.locked(netip.MustParseAddr(from), now) > 0
}

// Remembered counts the addresses remembered.
func (d *door) Remembered() int { return len(d.wrong) }

// Listening counts the streams.
func (e *Events) Listening() int {
	n, _ := e.Streams()
	return n
}

// Stream listens until the stream ends, and gives why; send gets each piece. False: nobody is let in.
func (e *Events) Stream(ctx context.Context, last string, send func([]byte) error, kinds ...string) (bool, error) {
	s := e.subscribe(last, kinds)
	if s == nil {
		return false, nil
	}
	defer e.leave(s)
	return true, e.stream(ctx, s, send)
}

// Matches says whether a name is like a pattern.
func Matches(glob, name string) bool { return matches(glob, name) }

// MakeClaims makes what a token may say.
func MakeClaims(name string, all map[string]any) *Claims { return &Claims{name, all} }

// CompareTokens finds a token and counts the comparisons.
func CompareTokens(tokens []Token, text string, now time.Time) (found *Token, compared int) {
	found = findToken(tokens, text, now, func(a, b []byte) int {
		compared++
		return subtle.ConstantTimeCompare(a, b)
	})
	return found, compared
}

// ParseKeys reads an issuer's keys.
func ParseKeys(body []byte) ([]jose.JSONWebKey, error) { return parseKeys(body) }

// Refetch fetches the issuer's keys, as Run does when it is time.
func (o *OIDC) Refetch(ctx context.Context) { o.fetch(ctx) }

// UndeclaredNeed says what comes of an operation that declares no permission.
func UndeclaredNeed() error { return needOf(openOperation()) }

// UngrantableNeed says what comes of one whose permission is in no table.
func UngrantableNeed() error { return needOf(needs(openOperation(), "status", "write")) }

// openOperation is one of no permission.
func openOperation() huma.Operation {
	return huma.Operation{OperationID: "open", Method: http.MethodGet, Path: "/v1/open"}
}

// needOf registers an operation and looks at its need.
func needOf(op huma.Operation) error {
	operations := humago.New(http.NewServeMux(), huma.DefaultConfig("test", "v0"))
	huma.Register(operations, op, func(context.Context, *struct{}) (*struct{}, error) { return nil, nil })
	_, err := declaredNeeds(operations.OpenAPI(), "")
	return err
}

// JSONDepthMax bounds lists and mappings in one another.
const JSONDepthMax = jsonDepthMax

// DecodeBeacon reads a beacon.
func DecodeBeacon(body []byte, client netip.Addr) ([]rum.Sample, error) {
	return decodeBeacon(body, client, nil)
}

// DecodeLine reads a line of a feed.
func DecodeLine(line []byte) rum.Sample { return decodeLine(line) }

// ChoosePlan gives the regions of a plan.
func ChoosePlan(regions []Probed, random uint64) []Probed { return choosePlan(regions, random) }

// BeaconSourceConnectionsMax bounds the connections of one source.
const BeaconSourceConnectionsMax = beaconSourceConnectionsMax

// LimitSources bounds the connections of each source.
func LimitSources(l net.Listener, most int, exempt func(netip.Addr) bool, refused *atomic.Uint64) net.Listener {
	return limitSources(l, most, exempt, refused)
}

// SourcesOpen counts the sources of which a listener has a connection.
func SourcesOpen(l net.Listener) int {
	sources, _ := l.(*sourceListener)
	sources.mu.Lock()
	defer sources.mu.Unlock()
	return len(sources.open)
}
