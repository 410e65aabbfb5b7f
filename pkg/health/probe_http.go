package health

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// headerMax bounds the header of an answer, in bytes, interim answers
	// included. Servers themselves send a few kilobytes; the rest is somebody's
	// attempt at our memory.
	headerMax = 64 << 10

	// readerSize is that of the buffer that a header is read through.
	readerSize = 4096

	// http2Linger is how long net/http holds on to what is left of a closed
	// HTTP/2 connection, some 20 kB; it would be 5 s. It is also how soon a
	// request has to begin on a new one, so it is no shorter than this.
	http2Linger = time.Second

	// userAgent lets operators of back ends find probes in their logs.
	userAgent = "geodns-health-check"
)

// probeHTTP makes one request on a connection of its own and judges the
// answer. A kept connection would hide that a back end accepts no new ones.
func (p *prober) probeHTTP(ctx context.Context, r *run) (good string, err error) {
	conn, err := p.connect(ctx, "tcp")
	if err != nil {
		return "", err
	}
	defer conn.drop() // the answer is judged by then, and no more of it is wanted
	var secured *tls.Conn
	agreed := ""
	if p.check.Kind == HTTPS {
		if secured, err = p.handshake(conn, r); err != nil {
			return "", err
		}
		agreed = secured.ConnectionState().NegotiatedProtocol
	}
	switch {
	case p.check.Version == HTTP2 && p.check.Kind == HTTPS && agreed != alpnHTTP2:
		return "", unwantedError("the server does not agree on HTTP/2 (ALPN)")
	case secured != nil && agreed == alpnHTTP2:
		return p.probeHTTP2(ctx, secured, r)
	case secured != nil:
		return p.probeHTTP1(secured, r)
	case p.check.Version == HTTP2:
		return p.probeHTTP2(ctx, conn, r)
	}
	return p.probeHTTP1(conn, r)
}

// makeRequest writes the check's request for HTTP/1.1, once for all probes.
// What it is made of was validated.
func (p *prober) makeRequest() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", p.check.Method, p.check.Path, p.check.hostHeader(p.dest))
	if !p.check.setsUserAgent() {
		b.WriteString("User-Agent: " + userAgent + "\r\n")
	}
	for _, h := range p.check.Headers {
		b.WriteString(h.Name + ": " + h.Value + "\r\n")
	}
	if slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, p.check.Method) {
		b.WriteString("Content-Length: 0\r\n") // these are expected to have content (RFC 9110 section 8.6)
	}
	b.WriteString("Connection: close\r\n\r\n")
	return b.Bytes()
}

// setsUserAgent reports whether the check sends a User-Agent of its own.
func (c *Check) setsUserAgent() bool {
	return slices.ContainsFunc(c.Headers, func(h Header) bool { return strings.EqualFold(h.Name, "User-Agent") })
}

// probeHTTP1 speaks HTTP/1.1 on the probe's own goroutine: a transport's
// machinery for kept connections costs more than all the rest of a probe.
func (p *prober) probeHTTP1(conn net.Conn, r *run) (good string, err error) {
	r.reach(waiting)
	if _, err := conn.Write(p.request); err != nil {
		return "", err
	}
	limited := &io.LimitedReader{R: conn, N: headerMax}
	reader, _ := p.common.readers.Get().(*bufio.Reader)
	if reader == nil {
		reader = bufio.NewReaderSize(limited, readerSize)
	}
	reader.Reset(limited)
	defer func() {
		reader.Reset(nil)
		p.common.readers.Put(reader)
	}()
	request := &http.Request{Method: p.check.Method} // all that is asked of it is whether the answer has a body
	for {
		response, err := http.ReadResponse(reader, request)
		switch {
		case err != nil && limited.N <= 0:
			return "", unwantedError(fmt.Sprintf("the header of the answer exceeded %d bytes", headerMax))
		case err != nil:
			return "", err
		case response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols:
			continue // an interim answer
		}
		// The body is read by its reader's own bounds: BodyMax, and what is
		// bearable around it in chunks.
		limited.N = math.MaxInt64
		return p.judge(response, r)
	}
}

// connKey is the key of the connection in the context of an HTTP/2 transport's dial.
type connKey struct{}

// newHTTP2 makes the transport of all HTTP/2 probes. It dials nothing: it is
// given each connection, TLS or not, after the handshake, and speaks HTTP/2 on
// it by prior knowledge.
func newHTTP2() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{
		Proxy: nil, // the environment's proxy would answer for a back end that is dead
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, ok := ctx.Value(connKey{}).(net.Conn)
			if !ok {
				return nil, errors.New("no connection to speak HTTP/2 on")
			}
			return conn, nil
		},
		Protocols:              protocols,
		DisableCompression:     true, // body texts are looked for in what is sent
		MaxResponseHeaderBytes: headerMax,
		IdleConnTimeout:        http2Linger,
		// What a server may send before it is read.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerConnection: BodyMax, MaxReceiveBufferPerStream: BodyMax},
	}
}

// probeHTTP2 speaks HTTP/2 on a connection.
func (p *prober) probeHTTP2(ctx context.Context, conn net.Conn, r *run) (good string, err error) {
	r.reach(waiting)
	request, err := http.NewRequestWithContext(ctx, p.check.Method, p.url, http.NoBody)
	if err != nil {
		return "", err
	}
	request.Host = p.check.hostHeader(p.dest)
	for _, h := range p.check.Headers {
		request.Header.Add(h.Name, h.Value)
	}
	if !p.check.setsUserAgent() {
		request.Header.Set("User-Agent", userAgent)
	}
	client, err := p.common.http2.NewClientConn(context.WithValue(ctx, connKey{}, conn), "http", p.address)
	if err != nil {
		return "", err
	}
	defer func() { _ = client.Close() }() // the answer is judged by then
	// RoundTrip, for it follows no redirects and keeps no cookies.
	response, err := client.RoundTrip(request)
	if err != nil {
		return "", err
	}
	return p.judge(response, r)
}

// judge says whether an answer is the wanted one. It does not close the body,
// which would read it to its end: the connection is closed.
func (p *prober) judge(response *http.Response, r *run) (good string, err error) {
	if !p.check.good(response.StatusCode) {
		return "", unwantedError(fmt.Sprintf("status %d, want %s", response.StatusCode, p.check.wanted()))
	}
	good = "status " + strconv.Itoa(response.StatusCode)
	if p.check.Body == "" && p.match == nil {
		return good, nil
	}
	r.reach(reading)
	missing, err := p.look(response.Body, response.ContentLength)
	if err != nil {
		return "", err
	}
	if missing != "" {
		return "", unwantedError(good + ", but " + missing)
	}
	return good, nil
}

// look looks for the wanted text and the wanted match in the first BodyMax
// bytes of a body. It reads no further than to the end of the text, or, for a
// match, which may depend on what follows, to the end. length is a hint.
// missing says what is not there; empty: it is good.
func (p *prober) look(body io.Reader, length int64) (missing string, err error) {
	text := []byte(p.check.Body)
	size := int64(readerSize)
	if length > 0 {
		size = length + 1 // so that the end is seen without growing
	}
	data := make([]byte, 0, min(size, BodyMax))
	found, ended := len(text) == 0, false
	for !ended && len(data) < BodyMax && (!found || p.match != nil) {
		if len(data) == cap(data) {
			data = slices.Grow(data, min(cap(data), BodyMax-len(data)))
		}
		n, err := body.Read(data[len(data):min(cap(data), BodyMax)])
		from := max(0, len(data)-len(text)+1) // what was there before, but for a beginning of text, is searched
		data = data[:len(data)+n]
		found = found || bytes.Contains(data[from:], text)
		ended = err == io.EOF // itself, as io.Reader promises; one wrapped is a broken connection
		if err != nil && !ended && (!found || p.match != nil) {
			return "", err
		}
	}
	switch {
	case !found:
		return fmt.Sprintf("%.40q is not in the body", text), nil
	case p.match != nil && !p.match.Match(data):
		return fmt.Sprintf("the body does not match %.40q", p.check.Match), nil
	}
	return "", nil
}
