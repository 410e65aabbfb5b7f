package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"geodns/internal/node"
	"geodns/pkg/api"
)

// Limits of a conversation with a server.
const (
	// answerTimeout bounds an answer that needs no work.
	answerTimeout = 30 * time.Second
	// reloadTimeout is a little longer than the server waits itself, so that its word is heard.
	reloadTimeout = api.ReloadTimeout + 10*time.Second
	// answerBytesMax bounds an answer: the targets of a large server are some megabytes.
	answerBytesMax = 64 << 20
	// plainBytesMax is how much is shown of an answer that is no document: a line.
	plainBytesMax = 200
)

// client asks a running server.
type client struct {
	base  *url.URL
	token string
	http  *http.Client
	say   io.Writer // where progress is shown
}

// problem is an error document (RFC 9457) with the API's list of details.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Errors []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
	} `json:"errors"`
}

// Error gives the document in one line.
func (p *problem) Error() string {
	var details []string
	for _, e := range p.Errors {
		if p.Status == http.StatusUnprocessableEntity && strings.Contains(e.Location, ":") {
			continue // a finding, which is printed by itself
		}
		detail := e.Message
		// Where a field stands in a request is nothing that people wrote.
		if field := strings.TrimPrefix(strings.TrimPrefix(e.Location, "body."), "query."); field != "" {
			detail = field + ": " + detail
		}
		details = append(details, detail)
	}
	text := cmp.Or(p.Detail, p.Title)
	if len(details) > 0 {
		text += ": " + strings.Join(details, "; ")
	}
	return "the server says: " + printable(text)
}

// addAPI adds --api, and by what the server is known there.
func addAPI(cmd *cobra.Command) {
	cmd.Flags().String("api-ca", "", "file of the CAs of the server's certificate (GEODNS_API_CA, else the system's)")
	cmd.Flags().String("api", "", "URL of a running server's API (GEODNS_API, else as the server's file says)")
}

// newClient finds the API: --api, else GEODNS_API, else what the server's file says.
func newClient(cmd *cobra.Command) (*client, error) {
	where, what := cmd.Flag("api").Value.String(), "--api"
	if !cmd.Flags().Changed("api") {
		where, what = os.Getenv("GEODNS_API"), "GEODNS_API"
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if where == "" {
		cfg, err := configFor(cmd)
		if err != nil {
			return nil, err
		}
		if where, err = ownAPI(&cfg, secure); err != nil {
			return nil, err
		}
		what = "api.listen"
	}
	base, err := url.Parse(where)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, usagef("%s: %q is not a URL such as http://127.0.0.1:8053", what, where)
	}
	if err := clientFiles(cmd, secure); err != nil {
		return nil, err
	}
	token := os.Getenv("GEODNS_TOKEN")
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("GEODNS_TOKEN is no token: there are blanks, line ends or other characters in it that no token has")
	}
	// No proxy: the API is on loopback or named on purpose. No redirect: a token goes to nobody else.
	transport := &http.Transport{Proxy: nil, DisableKeepAlives: true, TLSClientConfig: secure}
	return &client{base: base, token: token, say: cmd.ErrOrStderr(), http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// ownAPI is the URL of the server whose file this is. Its certificate is at hand, so that it is known by that, whoever signed it
// and whatever name it is for.
func ownAPI(cfg *node.Config, secure *tls.Config) (string, error) {
	if !cfg.API.IsValid() {
		return "", errors.New("the server's file turns the API off; name another by --api")
	}
	at := cfg.API
	if at.Addr().IsUnspecified() { // every address of this machine: one is loopback's
		loopback := netip.MustParseAddr("127.0.0.1")
		if at.Addr().Is6() {
			loopback = netip.IPv6Loopback()
		}
		at = netip.AddrPortFrom(loopback, at.Port())
	}
	if cfg.APITLS.Certificate == "" {
		return "http://" + at.String(), nil
	}
	data, err := node.ReadSmall(cfg.APITLS.Certificate, api.CertificatesBytesMax)
	if err != nil {
		return "", fmt.Errorf("reading the server's certificate: %w; name its API by --api", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return "", fmt.Errorf("reading the server's certificate: %s is not in PEM form", cfg.APITLS.Certificate)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("reading the server's certificate: %w", err)
	}
	secure.RootCAs = x509.NewCertPool()
	secure.RootCAs.AddCert(leaf)
	switch {
	case len(leaf.DNSNames) > 0:
		// A wildcard stands for any label.
		secure.ServerName = strings.Replace(leaf.DNSNames[0], "*", "geodns", 1)
	case len(leaf.IPAddresses) > 0:
		secure.ServerName = leaf.IPAddresses[0].String()
	}
	return "https://" + at.String(), nil
}

// clientFiles reads by what the server is known and the certificate that it is shown, where they are named.
func clientFiles(cmd *cobra.Command, secure *tls.Config) error {
	ca, what := cmd.Flag("api-ca").Value.String(), "--api-ca"
	if !cmd.Flags().Changed("api-ca") {
		ca, what = os.Getenv("GEODNS_API_CA"), "GEODNS_API_CA"
	}
	if ca != "" {
		data, err := node.ReadSmall(ca, api.CertificatesBytesMax)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		// What was known from the server's file is set aside: this was named on purpose.
		secure.RootCAs, secure.ServerName = x509.NewCertPool(), ""
		if !secure.RootCAs.AppendCertsFromPEM(data) {
			return fmt.Errorf("%s: %s has no certificate in PEM form", what, ca)
		}
	}
	certificate, key := os.Getenv("GEODNS_API_CERT"), os.Getenv("GEODNS_API_KEY")
	if certificate == "" && key == "" {
		return nil
	}
	if certificate == "" || key == "" {
		return errors.New("GEODNS_API_CERT and GEODNS_API_KEY name the files of one client certificate: set both")
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("GEODNS_API_CERT and GEODNS_API_KEY: %w", err)
	}
	secure.Certificates = []tls.Certificate{pair}
	return nil
}

// do asks and gives the answer's body. An answer that is no success is a *problem.
func (c *client) do(ctx context.Context, method, path, accept string, timeout time.Duration) ([]byte, error) {
	return c.exchange(ctx, method, path, accept, nil, timeout)
}

// exchange is do with a document to send, if any.
func (c *client) exchange(ctx context.Context, method, path, accept string, document []byte, timeout time.Duration) ([]byte, error) {
	defer progress(c.say, "waiting for the server")()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := c.request(ctx, method, path, accept, document)
	if err != nil {
		return nil, err
	}
	response, err := c.send(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return readAnswer(response)
}

// request makes a request.
func (c *client) request(ctx context.Context, method, path, accept string, document []byte) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.base.String(), "/")+path, bytes.NewReader(document))
	if err != nil {
		return nil, fmt.Errorf("asking the server: %w", err)
	}
	request.Header.Set("Accept", accept)
	if document != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	return request, nil
}

// send sends a request and gives the answer, whatever it is; its body is the caller's to read and close.
func (c *client) send(request *http.Request) (*http.Response, error) {
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the server: %w", err)
	}
	return response, nil
}

// readAnswer reads an answer's body. One that is no success is a *problem.
func readAnswer(response *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	if len(body) > answerBytesMax {
		return nil, fmt.Errorf("reading the server's answer: it is longer than %d bytes", answerBytesMax)
	}
	if response.StatusCode/100 == 2 {
		return body, nil
	}
	p := &problem{Title: response.Status}
	switch kind := response.Header.Get("Content-Type"); {
	case strings.HasPrefix(kind, "application/problem+json"):
		if err := json.Unmarshal(body, p); err != nil {
			return nil, fmt.Errorf("reading the server's answer (%s): %w", response.Status, err)
		}
	case kind == "" || strings.HasPrefix(kind, "text/plain"):
		// Not by the API: by a proxy, or by a listener that wants TLS.
		line, _, _ := strings.Cut(string(body[:min(len(body), plainBytesMax)]), "\n")
		if line = strings.TrimSpace(line); line != "" {
			p.Title += ": " + line
		}
	}
	p.Status = response.StatusCode
	return nil, p
}

// get asks for a document.
func (c *client) get(ctx context.Context, path string, document any) error {
	return c.call(ctx, http.MethodGet, path, nil, document)
}

// call sends a document, if there is one, and reads the one that answers it.
func (c *client) call(ctx context.Context, method, path string, in, document any) error {
	var sent []byte
	if in != nil {
		var err error
		if sent, err = json.Marshal(in); err != nil {
			return fmt.Errorf("asking the server: %w", err)
		}
	}
	body, err := c.exchange(ctx, method, path, "application/json", sent, answerTimeout)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, document); err != nil {
		return fmt.Errorf("reading the server's answer to %s: %w", path, err)
	}
	return nil
}
