package operator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"geodns/internal/source"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// Limits on a request.
const (
	// LeaseForDefault is the longest lease where nothing else is configured. Whatever is to hold for longer than a week is no
	// exception any more and belongs into the files, where others see it.
	LeaseForDefault = 7 * 24 * time.Hour
	// leaseForMin keeps out what would be over before it is served, such as a time of now that a script computed.
	leaseForMin = time.Second
	// LeaseIDMax is the longest id, in bytes: an id of LeaseID nearly always fits, and it fits a log line and a URL.
	LeaseIDMax = 128
	// ReasonMax is the longest reason, in bytes: a few sentences, on one line of the audit log.
	ReasonMax = 500
	// TicketMax is the longest ticket, in bytes: a number, or a short URL.
	TicketMax = 100
	// objectNameMax is the longest name of an object, in bytes. A target's id, which has two names, is the longest that files can give.
	objectNameMax = 2*policy.NameMax + 1
	// namesShown is how many names a message lists of those that exist.
	namesShown = 5
)

// Request asks for a lease, or for a change of the one with its id.
type Request struct {
	ID       string
	Action   Action
	Object   Object
	State    string   // of Set: up, degraded, down; "": as health has it
	Admit    *float64 // of Set: in [0, 1]; nil: as health has it
	Owner    string   // who asks
	Reason   string
	Ticket   string // "": none
	Expires  time.Time
	Override bool // although guards are against it
	DryRun   bool // tell what it would do
}

// RequestError says what is wrong with a request, and what would be right.
type RequestError struct {
	Field   string // as in the JSON of the API: "reason", "expires", "name"
	Message string
}

// Error gives the field and what would be right there.
func (e *RequestError) Error() string { return e.Field + ": " + e.Message }

// wrong makes a RequestError.
func wrong(field, format string, a ...any) *RequestError {
	return &RequestError{Field: field, Message: fmt.Sprintf(format, a...)}
}

// check says what is wrong with a request at a time, whatever is served; nil: nothing.
func (r *Request) check(now time.Time, longest time.Duration) error {
	if err := checkID(r.ID); err != nil {
		return err
	}
	if err := checkAction(r.Action, r.State, r.Admit); err != nil {
		return err
	}
	if !r.Object.Kind.known() {
		return wrong("kind", "%q is none: it is target, pool, region or tag", clip(string(r.Object.Kind)))
	}
	if len(r.Object.Name) > objectNameMax {
		return wrong("name", "it has %d bytes: at most %d are allowed", len(r.Object.Name), objectNameMax)
	}
	if err := checkLine("owner", r.Owner, 1, WhoMax); err != nil {
		return err
	}
	if err := checkLine("reason", r.Reason, 1, ReasonMax); err != nil {
		return err
	}
	if err := checkLine("ticket", r.Ticket, 0, TicketMax); err != nil {
		return err
	}
	switch left := r.Expires.Sub(now); {
	case r.Expires.IsZero():
		return wrong("expires", "every lease ends: say when, within %s", longest)
	case left < leaseForMin:
		return wrong("expires", "%s is not in the future: it is %s now", r.Expires.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case left > longest:
		return wrong("expires", "%s is more than %s from now, which is the longest: say %s or earlier", r.Expires.UTC().Format(time.RFC3339), longest,
			now.Add(longest).UTC().Format(time.RFC3339))
	}
	return nil
}

// known says whether it is one of the kinds.
func (k Kind) known() bool {
	return slices.Contains([]Kind{KindTarget, KindPool, KindRegion, KindTag}, k)
}

// checkID says what is wrong with a lease's id.
func checkID(id string) error {
	switch {
	case id == "":
		return wrong("id", "it is empty: use up to %d letters, digits, '.', '_' and '-'", LeaseIDMax)
	case len(id) > LeaseIDMax:
		return wrong("id", "it has %d bytes: at most %d are allowed", len(id), LeaseIDMax)
	case !isAlphanumeric(id[0]):
		return wrong("id", "%s begins with neither a letter nor a digit", strconv.Quote(clip(id)))
	}
	for i := range len(id) {
		if !isIDByte(id[i]) {
			return wrong("id", "%s has other characters than letters, digits, '.', '_' and '-'", strconv.Quote(clip(id)))
		}
	}
	return nil
}

// isIDByte says whether a byte may stand in an id.
func isIDByte(c byte) bool { return isAlphanumeric(c) || c == '.' || c == '_' || c == '-' }

// isAlphanumeric says whether c is an ASCII letter or digit.
func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// checkAction says what is wrong with what a lease does.
func checkAction(a Action, state string, admit *float64) error {
	switch {
	case a != Drain && a != Set:
		return wrong("action", "%q is none: it is drain or set", clip(string(a)))
	case state != "" && stateOf(state) == steering.Unknown:
		return wrong("state", "%q is none: it is up, degraded or down", clip(state))
	case admit != nil && !(*admit >= 0 && *admit <= 1): // not a number is neither
		return wrong("admit", "%g is no part of the traffic: it is from 0 to 1", *admit)
	case a == Drain && state != "":
		return wrong("state", "what is drained has no state: leave it out, or set the state without a drain")
	case a == Drain && admit != nil:
		return wrong("admit", "what is drained takes nothing: leave it out, or set admit without a drain")
	case a == Set && state == "" && admit == nil:
		return wrong("state", "set needs a state (up, degraded or down), admit, or both")
	}
	return nil
}

// checkLine says what is wrong with a text for people.
func checkLine(field, s string, least, most int) error {
	switch {
	case len(s) < least:
		return wrong(field, "it is empty: say in a line what the others should know")
	case len(s) > most:
		return wrong(field, "it has %d bytes: at most %d are allowed", len(s), most)
	case !utf8.ValidString(s):
		return wrong(field, "it is not UTF-8")
	case strings.TrimSpace(s) == "" && least > 0:
		return wrong(field, "there is nothing but blanks in it: say in a line what the others should know")
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return wrong(field, "%U at byte %d cannot be printed: one line of plain text is wanted", r, i)
	}
	return nil
}

// clip shortens what a message quotes.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// errNothingServed is the answer to a request before the first load, which is not to be had: a node starts with one.
var errNothingServed = errors.New("no policies are loaded, so there is nothing to lay a lease over")

// checkObject says what is wrong with an object in what is served: there must be one, with a target at least.
func checkObject(o Object, c *policy.Compiled) error {
	if c == nil {
		return errNothingServed
	}
	doc := c.Document
	if slices.ContainsFunc(doc.Targets, o.Touches) {
		return nil
	}
	if o.Kind == KindRegion && slices.ContainsFunc(doc.Regions, func(r *policy.Region) bool { return r.Name == o.Name }) {
		return wrong("name", "no target is in region %q", clip(o.Name))
	}
	names := namesOf(o.Kind, doc)
	if o.Kind == KindTarget {
		if alike := slices.DeleteFunc(slices.Clone(names), func(id string) bool { return !strings.HasSuffix(id, "/"+o.Name) }); len(alike) > 0 {
			return wrong("name", "a target's name is pool/target: %s", list(alike, namesShown, " or "))
		}
	}
	if len(names) == 0 {
		return wrong("name", "there is no %s %q: no target has one", o.Kind, clip(o.Name))
	}
	if near := source.Nearest(o.Name, names); near != "" && len(names) > namesShown { // fewer are listed whole
		return wrong("name", "there is no %s %q; did you mean %q?", o.Kind, clip(o.Name), near)
	}
	return wrong("name", "there is no %s %q; there are %s", o.Kind, clip(o.Name), list(names, namesShown, ", "))
}

// namesOf lists the objects of a kind that have targets, each once and sorted.
func namesOf(k Kind, doc *policy.Document) (names []string) {
	for _, t := range doc.Targets {
		switch k {
		case KindTarget:
			names = append(names, t.ID)
		case KindPool:
			names = append(names, t.Pool.Name)
		case KindRegion:
			names = append(names, t.Region.Name)
		case KindTag:
			names = append(names, t.Tags...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// list joins the first names of a list, and says how many there are beside them.
func list(names []string, most int, by string) string {
	if len(names) <= most {
		return strings.Join(names, by)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], by), len(names)-most)
}

// LeaseID is the id of a lease that was given none: always the same for what it does to an object, so that doing it again is a
// renewal, and drain and undrain need not be told it. Where another object could have the same it ends in a part of a hash.
func LeaseID(a Action, o Object) string {
	const hashBytes = 4
	id := []byte(string(a) + "." + string(o.Kind) + ".")
	pool, target, slash := strings.Cut(o.Name, "/")
	plain := o.Kind != KindTarget || slash && !strings.ContainsAny(pool+target, "./") // only then is the '.' surely the '/'
	for i := range len(o.Name) {
		switch c := o.Name[i]; {
		case isIDByte(c):
			id = append(id, c)
		case c == '/' && o.Kind == KindTarget:
			id = append(id, '.')
		default:
			id, plain = append(id, '-'), false
		}
	}
	if plain && len(id) <= LeaseIDMax {
		return string(id)
	}
	sum := sha256.Sum256([]byte(o.String()))
	hash := "-" + hex.EncodeToString(sum[:hashBytes])
	return string(id[:min(len(id), LeaseIDMax-len(hash))]) + hash
}
