package operator_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"geodns/pkg/operator"
)

// leaseOf reads a lease of the audit log.
func leaseOf(t testing.TB, data json.RawMessage) operator.Lease {
	t.Helper()
	var l operator.Lease
	if err := json.Unmarshal(data, &l); err != nil {
		t.Fatal(err)
	}
	if err := l.Sound(); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return l
}

// TestTouches holds what belongs to an object.
func TestTouches(t *testing.T) {
	x := target(t, compile(t, sitesText), "web/fra1")
	for text, want := range map[string]bool{
		"target web/fra1": true, "target fra1": false, "target web/fra": false, "pool web": true, "pool dr": false, "region fra": true, "region ams": false,
		"tag blue": true, "tag all": true, "tag green": false, "zone web": false,
	} {
		if object(text).Touches(x) != want {
			t.Errorf("%s: want %t", text, want)
		}
	}
}

// TestActive holds that a lease has no effect at its expiry.
func TestActive(t *testing.T) {
	l := operator.Lease{Expires: noon()}
	if !l.Active(noon().Add(-1)) || l.Active(noon()) {
		t.Error("it is active at the wrong time")
	}
	l.Ended = noon().Add(-time.Hour)
	if l.Active(noon().Add(-time.Minute)) {
		t.Error("it is active after its end")
	}
}

// FuzzLease reads leases as the audit log has them: what is sound comes back the same.
func FuzzLease(f *testing.F) {
	f.Add([]byte(`{"id":"a","revision":1,"action":"drain","object":{"kind":"region","name":"fra"},"owner":"o","reason":"r","created":"2026-03-01T12:00:00Z","updated":"2026-03-01T12:00:00Z","expires":"2026-03-01T13:00:00Z"}`))
	f.Add([]byte(`{"id":"a","action":"set","state":"down","admit":0.5,"object":{"kind":"tag","name":"x"},"expires":"2026-03-01T13:00:00.5+02:00","ended":"2026-03-01T13:00:00Z"}`))
	f.Add([]byte(`{"id":"a","action":"set","admit":-0,"override":[],"object":{"kind":"pool","name":"x"},"expires":"0001-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var l, back operator.Lease
		if json.Unmarshal(data, &l) != nil || l.Sound() != nil {
			return
		}
		once, err := json.Marshal(&l)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(once, &back); err != nil || back.Sound() != nil {
			t.Fatalf("%v, %v: %s", err, back.Sound(), once)
		}
		if twice, err := json.Marshal(&back); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%v\n%s\n%s", err, once, twice)
		}
	})
}

// FuzzSnapshot reads the content of files of leases: what is taken comes back the same.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte(`{"version":1,"seq":7,"revision":3,"leases":[{"id":"a","revision":1,"action":"drain","object":{"kind":"region","name":"fra"},"owner":"o","reason":"r","created":"2026-03-01T12:00:00Z","updated":"2026-03-01T12:00:00Z","expires":"2026-03-01T13:00:00Z"}]}`))
	f.Add([]byte(`{"version":1,"leases":[{"id":"a"},{"id":"a"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		once, err := operator.RewriteSnapshot(data)
		if err != nil {
			return
		}
		twice, err := operator.RewriteSnapshot(once)
		if err != nil {
			t.Fatalf("%v: %s", err, once)
		}
		var a, b any
		if json.Unmarshal(once, &a) != nil || json.Unmarshal(twice, &b) != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%s\n%s", once, twice)
		}
	})
}
