package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"geodns/internal/durable"
	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/server"
)

// Where no file of secrets is configured a node makes its own and renews it by itself. Nobody else knows it, so there is nobody
// to wait for: the new one makes cookies at once, and the one before is accepted until the last cookie made with it is too old.
const (
	// ownLife is how long a node uses a secret of its own: RFC 7873 section 7.1 has a day as the default, and 26 hours as what should
	// not be passed. (Where a roll takes people, once a month is enough: RFC 9018 section 5.)
	ownLife = 24 * time.Hour
	// ownJitter is by how much of it a secret may be renewed early (RFC 7873 section 7.1), so that nodes started together do not all renew at once.
	ownJitter = 0.4
	// ownAccept is how long the one before is accepted: a cookie holds for an hour, and may come from 5 minutes in the future
	// where clocks differ (RFC 9018 section 4.3).
	ownAccept = time.Hour + 5*time.Minute
	// ownLook is how often the wall clock is looked at: a timer does not see that it was set, nor that the machine slept.
	ownLook = time.Hour
)

// kept is a node's own secret as it stands in the state folder. The zero value is none.
type kept struct {
	secret secret
	made   time.Time
	renew  time.Time // when the next one is due
	before *secret   // the one before it, while that is accepted
}

// Format prints a word in place of the secrets: fmt does not ask a struct's fields how they want to be shown.
func (kept) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(kept secret)") }

// keptFile is kept in JSON.
type keptFile struct {
	Secret string    `json:"secret"`
	Made   time.Time `json:"made"`
	Renew  time.Time `json:"renew"`
	Before string    `json:"before,omitempty"`
}

// step is what holds at now: the same, the same without the secret before it, or a new one. A clock that was set
// back by more than a secret's life makes a new one too, or the present one would be used for who knows how long.
func (k kept) step(now time.Time, fresh func() (secret, time.Duration)) kept {
	switch {
	case k.made.IsZero():
		s, life := fresh()
		return kept{secret: s, made: now, renew: now.Add(life)}
	case !now.Before(k.renew), k.renew.Sub(now) > ownLife:
		s, life := fresh()
		return kept{secret: s, made: now, renew: now.Add(life), before: &k.secret}
	case k.before != nil && now.Sub(k.made) >= ownAccept:
		k.before = nil
	}
	return k
}

// wait is how long nothing changes after now, or what is looked at all the same.
func (k kept) wait(now time.Time) time.Duration {
	next := min(k.renew.Sub(now), ownLook)
	if k.before != nil {
		next = min(next, k.made.Add(ownAccept).Sub(now))
	}
	return max(next, time.Second)
}

// secrets are all that are accepted, the one that makes cookies first.
func (k kept) secrets() []secret {
	if k.before == nil {
		return []secret{k.secret}
	}
	return []secret{k.secret, *k.before}
}

// equal says whether two are the same in all that is written down.
func (k kept) equal(o kept) bool {
	same := k.before == nil && o.before == nil || k.before != nil && o.before != nil && *k.before == *o.before
	return same && k.secret == o.secret && k.made.Equal(o.made) && k.renew.Equal(o.renew)
}

// encode gives the file's text.
func (k kept) encode() ([]byte, error) {
	f := keptFile{Secret: hex.EncodeToString(k.secret[:]), Made: k.made.UTC(), Renew: k.renew.UTC()}
	if k.before != nil {
		f.Before = hex.EncodeToString(k.before[:])
	}
	return json.Marshal(f)
}

// decodeKept reads the file's text. Its errors do not quote it.
func decodeKept(text []byte) (kept, error) {
	var f keptFile
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return kept{}, errors.New("it is not the JSON that is kept there")
	}
	k := kept{made: f.Made, renew: f.Renew}
	if f.Made.IsZero() || !f.Renew.After(f.Made) {
		return kept{}, errors.New("its times are impossible")
	}
	if !decodeSecret(f.Secret, &k.secret) {
		return kept{}, fmt.Errorf("its secret is not %d hex digits", secretDigits)
	}
	if f.Before != "" {
		k.before = new(secret)
		if !decodeSecret(f.Before, k.before) {
			return kept{}, fmt.Errorf("its secret before is not %d hex digits", secretDigits)
		}
	}
	return k, nil
}

func decodeSecret(digits string, s *secret) bool {
	if len(digits) != secretDigits {
		return false
	}
	_, err := hex.Decode(s[:], []byte(digits))
	return err == nil
}

// drawSecret makes a secret, and draws how long it is to be used.
func drawSecret() (secret, time.Duration) {
	var s secret
	_, _ = rand.Read(s[:]) // it never fails: the runtime ends the process first
	return s, ownLife - time.Duration(ownJitter*mathrand.Float64()*float64(ownLife))
}

// wallClock is the time without the monotonic reading: that one stands still while the machine sleeps and does not see that the clock was
// set, and subtraction would take it where both times have one.
func wallClock() time.Time { return time.Now().Round(0) }

// keeper keeps the node's own secret: in the state folder if there is one, and else in memory. Owned by one goroutine, New's
// until Run's.
type keeper struct {
	path string // "": memory alone
	log  *slog.Logger
	kept kept

	unsaved atomic.Bool // what is in memory could not be written yet; anyone may look
}

// newKeeper takes up the secret that the process before has left, or makes one. A file that does not hold is set aside; a state folder that
// cannot be used costs no more than the cookies handed out before a restart.
func newKeeper(path string, log *slog.Logger) *keeper {
	k := &keeper{path: path, log: log}
	if path == "" {
		k.renew()
		return k
	}
	var err error
	if k.kept, err = durable.Load(path, decodeKept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the cookie secret that was kept cannot be used; a new one is made, and cookies handed out before are renewed", "error", err.Error())
	}
	k.renew()
	return k
}

// renew does what is due by now, and says whether the secrets are others than before.
func (k *keeper) renew() bool {
	before := k.kept
	k.kept = before.step(wallClock(), drawSecret)
	changed := !k.kept.equal(before)
	if changed || k.unsaved.Load() {
		k.save()
	}
	if changed && !before.made.IsZero() {
		k.log.Info("cookie secrets changed, as they are by themselves", "secrets", ids(k.kept.secrets()))
	}
	return changed
}

// save writes what is kept; at an error it is tried again at the next look.
func (k *keeper) save() {
	if k.path == "" {
		return
	}
	text, err := k.kept.encode()
	if err == nil {
		err = durable.Write(k.path, text)
	}
	if unsaved := k.unsaved.Swap(err != nil); err != nil && !unsaved {
		k.log.Warn("the cookie secret is not kept over a restart", "error", err.Error())
	}
}

// run renews the secret when it is due, and gives set what is in use from then on.
func (k *keeper) run(ctx context.Context, set func([]secret)) error {
	timer := time.NewTimer(k.kept.wait(wallClock()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			if k.renew() {
				set(k.kept.secrets())
			}
			timer.Reset(k.kept.wait(wallClock()))
		}
	}
}

// cookieUse is which secrets are in use.
type cookieUse struct {
	secrets []secret
	since   time.Time
	refused string // why the file of secrets is not what is in use
}

// refused says that a node cannot start: nobody would want other cookies than those that were configured.
func (c *Cookies) refused(read []secret) bool {
	return !c.Off && c.SecretFile != "" && len(read) == 0
}

// firstSecrets are those to begin with, read or the node's own. The node makes its own until Run ends.
func (n *Node) firstSecrets(read []secret) {
	switch {
	case n.cfg.Cookies.Off:
		return
	case n.cfg.Cookies.SecretFile == "":
		n.own = newKeeper(n.cfg.stateFile("cookie-secrets"), n.log)
		read = n.own.kept.secrets()
	}
	n.cookies = cookieUse{secrets: read, since: time.Now()}
}

// takeSecrets uses the file of secrets that a load has read; where it was refused, those before it stay.
func (n *Node) takeSecrets(r reading) {
	if n.cfg.Cookies.Off || n.cfg.Cookies.SecretFile == "" {
		return
	}
	n.mu.Lock()
	before := n.cookies.secrets
	n.cookies.refused = ""
	for _, f := range r.findings {
		if len(r.secrets) == 0 && f.File == n.cfg.Cookies.SecretFile && f.Severity == source.Error {
			n.cookies.refused = f.String()
			break
		}
	}
	n.mu.Unlock()
	if len(r.secrets) > 0 && !slices.Equal(r.secrets, before) {
		n.useSecrets(r.secrets)
		n.log.Info("cookie secrets changed", "secrets", ids(r.secrets))
	}
}

// useSecrets gives the sockets other secrets.
func (n *Node) useSecrets(secrets []secret) {
	if err := n.server.SetCookieSecrets(serverSecrets(secrets)); err != nil {
		n.log.Error("cookie secrets were not taken; those before stay", "error", err.Error())
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cookies.secrets, n.cookies.since = secrets, time.Now()
}

// document tells of them without telling them.
func (c *Cookies) document(use *cookieUse, own *keeper) api.Cookies {
	d := api.Cookies{From: api.CookiesFile, File: c.SecretFile, Secrets: ids(use.secrets), Since: use.since.UTC(), Require: c.Require, Refused: use.refused}
	switch {
	case c.Off:
		return api.Cookies{From: api.CookiesOff}
	case own != nil && own.path != "" && !own.unsaved.Load():
		d.From = api.CookiesState
	case own != nil:
		d.From = api.CookiesMemory
	}
	return d
}

// serverSecrets are the secrets as the sockets want them.
func serverSecrets(secrets []secret) []server.CookieSecret {
	out := make([]server.CookieSecret, len(secrets))
	for i, s := range secrets {
		out[i] = server.CookieSecret(s)
	}
	return out
}

// ids are by what people tell secrets apart.
func ids(secrets []secret) []string {
	out := make([]string, len(secrets))
	for i, s := range secrets {
		out[i] = s.id()
	}
	return out
}
