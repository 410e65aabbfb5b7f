package dnstest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
)

// TestPeerOutlivesThread starts a peer from a thread that ends then: the peer does not end with it.
func TestPeerOutlivesThread(t *testing.T) {
	dnstest.NeedPeer(t, "knotd") // one process: nobody answers behind it
	file := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(file, []byte("@ 60 SOA ns1 hostmaster 1 7200 3600 1209600 60\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var peer *dnstest.Peer
	threadEnds(t, func() { peer = dnstest.StartKnot(t, map[string]string{"z.example.": file}) })
	if peer == nil {
		return // t has failed
	}
	answers, err := peer.Dial(t).Ask([]*dns.Msg{new(dns.Msg).SetQuestion("z.example.", dns.TypeSOA)})
	if err != nil || len(answers[0].Answer) != 1 {
		t.Errorf("the thread that asked for it has ended, and it answers %v, %v", answers, err)
	}
}

// threadEnds calls f on a thread of its own, and waits until that is gone.
func threadEnds(t *testing.T, f func()) {
	t.Helper()
	thread, over := make(chan int), make(chan struct{})
	var run func()
	run = func() {
		runtime.LockOSThread() // and ends so: the thread does, too
		if syscall.Gettid() != os.Getpid() {
			defer func() { thread <- syscall.Gettid() }()
			f()
			return
		}
		defer runtime.UnlockOSThread() // the first thread never ends; while this holds it, another is taken
		go run()
		<-over
	}
	go run()
	defer close(over)
	task := fmt.Sprintf("/proc/self/task/%d", <-thread)
	for _, err := os.Stat(task); !errors.Is(err, fs.ErrNotExist); _, err = os.Stat(task) {
		runtime.Gosched()
	}
}
