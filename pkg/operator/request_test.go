package operator_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"geodns/pkg/operator"
)

// request is a sound one: a drain of a region for an hour.
func request() operator.Request {
	return operator.Request{
		ID: "drain.region.iad", Action: operator.Drain, Object: object("region iad"), Owner: "ada", Reason: "kernel update", Ticket: "OPS-1",
		Expires: noon().Add(time.Hour),
	}
}

// TestRequests holds what is wrong with a request, field by field.
func TestRequests(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*operator.Request)
		field   string // "": nothing is wrong
		message string // a part of it
	}{
		{"sound", func(*operator.Request) {}, "", ""},
		{"set of a state", func(r *operator.Request) { r.Action, r.State = operator.Set, "degraded" }, "", ""},
		{"set of a part", func(r *operator.Request) { r.Action, r.Admit = operator.Set, new(0.5) }, "", ""},
		{"set of both", func(r *operator.Request) { r.Action, r.State, r.Admit = operator.Set, "up", new(1.0) }, "", ""},
		{"no ticket", func(r *operator.Request) { r.Ticket = "" }, "", ""},
		{"reason in another script", func(r *operator.Request) { r.Reason = "обновление – 3 узла" }, "", ""},
		{"longest reason", func(r *operator.Request) { r.Reason = strings.Repeat("x", operator.ReasonMax) }, "", ""},
		{"longest time", func(r *operator.Request) { r.Expires = noon().Add(operator.LeaseForDefault) }, "", ""},
		{"longest id", func(r *operator.Request) { r.ID = strings.Repeat("x", operator.LeaseIDMax) }, "", ""},

		{"no id", func(r *operator.Request) { r.ID = "" }, "id", "empty"},
		{"id too long", func(r *operator.Request) { r.ID = strings.Repeat("x", operator.LeaseIDMax+1) }, "id", "at most 128"},
		{"id with a slash", func(r *operator.Request) { r.ID = "a/b" }, "id", `"a/b" has other characters`},
		{"id that is a path", func(r *operator.Request) { r.ID = "..x" }, "id", "begins with"},
		{"no action", func(r *operator.Request) { r.Action = "" }, "action", "drain or set"},
		{"another action", func(r *operator.Request) { r.Action = "undrain" }, "action", `"undrain"`},
		{"another state", func(r *operator.Request) { r.Action, r.State = operator.Set, "unknown" }, "state", "up, degraded or down"},
		{"drain with a state", func(r *operator.Request) { r.State = "down" }, "state", "leave it out"},
		{"drain with a part", func(r *operator.Request) { r.Admit = new(0.0) }, "admit", "leave it out"},
		{"set of nothing", func(r *operator.Request) { r.Action = operator.Set }, "state", "set needs"},
		{"more than all", func(r *operator.Request) { r.Action, r.Admit = operator.Set, new(1.01) }, "admit", "from 0 to 1"},
		{"less than none", func(r *operator.Request) { r.Action, r.Admit = operator.Set, new(-0.01) }, "admit", "from 0 to 1"},
		{"no number", func(r *operator.Request) { r.Action, r.Admit = operator.Set, new(math.NaN()) }, "admit", "from 0 to 1"},
		{"another kind", func(r *operator.Request) { r.Object.Kind = "zone" }, "kind", "target, pool, region or tag"},
		{"a name too long", func(r *operator.Request) { r.Object = object("tag " + strings.Repeat("x", 128)) }, "name", "at most 127"},
		{"no owner", func(r *operator.Request) { r.Owner = "" }, "owner", "empty"},
		{"no reason", func(r *operator.Request) { r.Reason = "" }, "reason", "say in a line"},
		{"blank reason", func(r *operator.Request) { r.Reason = "  " }, "reason", "blanks"},
		{"reason too long", func(r *operator.Request) { r.Reason = strings.Repeat("x", 501) }, "reason", "501 bytes"},
		{"reason of two lines", func(r *operator.Request) { r.Reason = "a\nb" }, "reason", "U+000A at byte 1"},
		{"reason of two lines to some", func(r *operator.Request) { r.Reason = "a\u2028b" }, "reason", "U+2028"},
		{"reason that moves a terminal", func(r *operator.Request) { r.Reason = "a\x1b[2J" }, "reason", "U+001B"},
		{"reason that is no text", func(r *operator.Request) { r.Reason = "\xff" }, "reason", "UTF-8"},
		{"ticket too long", func(r *operator.Request) { r.Ticket = strings.Repeat("x", 101) }, "ticket", "at most 100"},
		{"no end", func(r *operator.Request) { r.Expires = time.Time{} }, "expires", "every lease ends"},
		{"in the past", func(r *operator.Request) { r.Expires = noon().Add(-time.Hour) }, "expires", "not in the future: it is 2026-03-01T12:00:00Z now"},
		{"over at once", func(r *operator.Request) { r.Expires = noon().Add(time.Millisecond) }, "expires", "not in the future"},
		{"too long", func(r *operator.Request) { r.Expires = noon().Add(8 * 24 * time.Hour) }, "expires", "say 2026-03-08T12:00:00Z or earlier"},

		{"no such region", func(r *operator.Request) { r.Object.Name = "ida" }, "name", `no region "ida"; there are ams, fra, iad, sfo`},
		{"a region without targets", func(r *operator.Request) { r.Object.Name = "nowhere" }, "name", "no target is in region"},
		{"no such pool", func(r *operator.Request) { r.Object = object("pool wbe") }, "name", "there are dr, edge, web"},
		{"no such tag", func(r *operator.Request) { r.Object = object("tag red") }, "name", "there are all, blue, green"},
		{"a target without its pool", func(r *operator.Request) { r.Object = object("target fra1") }, "name", "pool/target: web/fra1"},
		{"no such target", func(r *operator.Request) { r.Object = object("target web/fra9") }, "name", `no target "web/fra9"; did you mean "web/fra1"?`},
		{"nothing like it", func(r *operator.Request) { r.Object = object("target cdn/host") }, "name", "there are dr/bunker, edge/fra2, edge/iad2, web/ams1, web/fra1 and 2 more"},
		{"no name", func(r *operator.Request) { r.Object.Name = "" }, "name", `no region ""`},
	}
	s := scene(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := request()
			tt.change(&req)
			book := newBook(t, &trail{})
			change, err := book.Put(req, s)
			wrong, refused := errors.AsType[*operator.RequestError](err)
			switch {
			case tt.field == "" && (err != nil || !change.Changed):
				t.Errorf("changed %t: %v", change.Changed, err)
			case tt.field != "" && (!refused || wrong.Field != tt.field || !strings.Contains(wrong.Message, tt.message)):
				t.Errorf("got %v, want %s: ... %s", err, tt.field, tt.message)
			case tt.field != "" && len(book.List()) > 0:
				t.Errorf("it is there all the same: %+v", book.List())
			}
		})
	}
}

// TestNothingServed holds that there is no lease without policies.
func TestNothingServed(t *testing.T) {
	if _, err := newBook(t, &trail{}).Put(request(), operator.Scene{}); err == nil {
		t.Error("it is there")
	}
}

// TestLeaseID holds the ids that commands give leases, and that no two objects have the same.
func TestLeaseID(t *testing.T) {
	tests := []struct {
		action operator.Action
		object string
		want   string
	}{
		{operator.Drain, "region fra", "drain.region.fra"},
		{operator.Set, "region fra", "set.region.fra"},
		{operator.Drain, "target web/fra1", "drain.target.web.fra1"},
		{operator.Drain, "pool web.old_1-b", "drain.pool.web.old_1-b"},
		{operator.Drain, "target a/b.c", "drain.target.a.b.c-c75b4854"},
		{operator.Drain, "target a.b/c", "drain.target.a.b.c-8e20429a"},
		{operator.Drain, "tag blue green", "drain.tag.blue-green-0861d28a"},
		{operator.Drain, "tag blue/green", "drain.tag.blue-green-5d52c2f9"},
		{operator.Drain, "tag blue-green", "drain.tag.blue-green"},
		{operator.Drain, "tag " + strings.Repeat("x", 300), "drain.tag." + strings.Repeat("x", 109) + "-01f7c4e6"},
	}
	for _, tt := range tests {
		got := operator.LeaseID(tt.action, object(tt.object))
		if got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.action, tt.object, got, tt.want)
		}
		if len(got) > operator.LeaseIDMax {
			t.Errorf("%s has %d bytes", got, len(got))
		}
	}
}
