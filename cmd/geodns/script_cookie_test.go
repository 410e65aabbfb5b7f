package main_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// clientCookie is what the scripts' client begins with.
const clientCookie = "0123456789abcdef"

// cookie is a DNS client that keeps its cookie in a file: cookie PORT FILE. It prints the rcode, and whether the cookie that it came with
// was kept, was renewed, or whether it had none of the server's yet.
func cookie() {
	if err := exchangeCookie(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "cookie:", err)
		os.Exit(1)
	}
}

// exchangeCookie asks one question over UDP with the file's cookie, and writes the answer's there.
func exchangeCookie(port, file string) error {
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	with := strings.TrimSpace(string(data))
	if with == "" {
		with = clientCookie
	}
	query := new(dns.Msg).SetQuestion("example.com.", dns.TypeSOA)
	query.SetEdns0(1232, false)
	query.IsEdns0().Option = append(query.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: with})
	answer, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(query, "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	given := ""
	if opt := answer.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if c, ok := option.(*dns.EDNS0_COOKIE); ok {
				given = c.Cookie
			}
		}
	}
	what := "renewed"
	switch {
	case given == "":
		what = "none"
	case given == with:
		what = "kept"
	case with == clientCookie:
		what = "new"
	}
	fmt.Fprintln(os.Stdout, dns.RcodeToString[answer.Rcode], what)
	return os.WriteFile(file, []byte(given), 0o600)
}
