package main_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// fetch prints what an HTTP server answers: fetch URL. It exits 1 where that is no success.
func fetch() { converse(http.MethodGet, os.Args[1], "") }

// put sends a JSON document, and prints what comes: put URL DOCUMENT. It exits 1 where that is no success.
func put() { converse(http.MethodPut, os.Args[1], os.Args[2]) }

// converse is the whole command: one request, its answer printed, an exit code.
func converse(method, url, document string) {
	if err := exchangeHTTP(method, url, document); err != nil {
		fmt.Fprintln(os.Stderr, method, err)
		os.Exit(1)
	}
}

// exchangeHTTP sends one request and prints the answer.
func exchangeHTTP(method, url, document string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(document))
	if err != nil {
		return err
	}
	if document != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}

// setenv sets a variable to the text of a file: setenv NAME FILE.
func setenv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setenv name file")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// appendLine adds a line to a file: append FILE 'line'.
func appendLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: append file line")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile(args[0])+args[1]+"\n"), 0o600))
}

// mode wants a file's mode: mode 600 FILE.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode octal file")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s: mode %s, want %s", args[1], got, args[0])
	}
}
