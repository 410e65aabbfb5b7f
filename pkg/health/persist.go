package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"geodns/internal/durable"
	"geodns/pkg/steering"
)

const (
	// saveDelay is how long changes are gathered before the state file is
	// written: a failing site changes many verdicts, and each write waits for
	// the disk.
	saveDelay = time.Second

	// saveEvery is how often the file is written without a change, so that a
	// verdict that has stood for days is a minute old at most after a crash.
	saveEvery = time.Minute

	// clockSlack is how far in the future a verdict may lie: two clocks, or
	// one that was set, differ by that much. Beyond it its age means nothing.
	clockSlack = time.Minute

	// savedVersion is that of the file's content.
	savedVersion = 1
)

// savedFile is the content of the state file. Times in it are wall time, for
// no other survives a restart; nothing else in the package depends on it.
type savedFile struct {
	Version  int            `json:"version"`
	Verdicts []savedVerdict `json:"verdicts"`
}

// savedVerdict is the verdict of one address.
type savedVerdict struct {
	Target   string    `json:"target"`
	Address  string    `json:"address"` // or host name
	Check    string    `json:"check"`   // what was tested
	State    string    `json:"state"`
	Since    time.Time `json:"since"`
	Probe    time.Time `json:"probe"` // when the last probe ended
	Decision string    `json:"decision,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	OK       bool      `json:"ok"`
}

// verdictKey is what a verdict carries over by.
type verdictKey struct{ target, address, check string }

// key gives the verdict's key.
func (v *savedVerdict) key() verdictKey { return verdictKey{v.Target, v.Address, v.Check} }

// fresh reports whether the verdict may still be used at wall.
func (v *savedVerdict) fresh(wall time.Time, maxAge time.Duration) bool {
	age := wall.Sub(v.Probe)
	return age >= -clockSlack && age < maxAge
}

// load reads the state file. Whatever is wrong with it costs no more than the
// verdicts in it.
func (c *Checker) load() map[verdictKey]savedVerdict {
	restored := map[verdictKey]savedVerdict{}
	if c.cfg.StatePath == "" {
		return restored
	}
	payload, err := durable.Read(c.cfg.StatePath)
	if errors.Is(err, fs.ErrNotExist) {
		return restored
	}
	var file savedFile
	if err == nil {
		file, err = decodeSaved(payload)
	}
	if err != nil {
		c.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "verdicts of the last run are lost",
			slog.String("reason", err.Error()))
		return restored
	}
	wall := time.Now()
	for _, v := range file.Verdicts {
		if v.fresh(wall, c.cfg.MaxAge) {
			restored[v.key()] = v
		}
	}
	c.cfg.Log.LogAttrs(context.Background(), slog.LevelInfo, "verdicts of the last run are restored",
		slog.Int("fresh", len(restored)), slog.Int("too_old", len(file.Verdicts)-len(restored)))
	return restored
}

// decodeSaved reads the content of a state file.
func decodeSaved(payload []byte) (savedFile, error) {
	var file savedFile
	if err := json.Unmarshal(payload, &file); err != nil {
		return savedFile{}, fmt.Errorf("reading saved verdicts: %w", err)
	}
	if file.Version != savedVersion {
		return savedFile{}, fmt.Errorf("saved verdicts are of version %d, this is %d", file.Version, savedVersion)
	}
	return file, nil
}

// restore gives a new subject the verdict that an earlier run had of it, once.
func (c *Checker) restore(s *subject, now time.Duration) {
	key := verdictKey{s.target.id, s.dest.name(), s.target.tested}
	v, ok := c.restored[key]
	if !ok {
		return
	}
	delete(c.restored, key)
	wall := time.Now()
	state, ok := verdictState(v.State)
	if !ok || !v.fresh(wall, c.cfg.MaxAge) {
		return
	}
	probe := min(now, now-wall.Sub(v.Probe))
	since := min(probe, now-wall.Sub(v.Since))
	s.machine = RestoreMachine(state, since, probe)
	s.decision = v.Decision
	s.last = Result{OK: v.OK, Reason: v.Reason}
}

// verdictState reads the word of a state that is a verdict.
func verdictState(word string) (steering.State, bool) {
	for _, state := range []steering.State{steering.Up, steering.Degraded, steering.Down} {
		if word == state.String() {
			return state, true
		}
	}
	return steering.Unknown, false
}

// saveLoop saves after changes and once in a while, until ctx is done.
func (c *Checker) saveLoop(ctx context.Context) {
	if c.cfg.StatePath == "" {
		return
	}
	regular := time.NewTicker(saveEvery)
	defer regular.Stop()
	delay := time.NewTimer(0)
	defer delay.Stop()
	delay.Stop()
	for healthy := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
			delay.Reset(saveDelay)
			select {
			case <-ctx.Done():
				return
			case <-delay.C:
			}
		case <-regular.C:
		}
		err := c.save()
		// Said once when it begins and once when it ends: a full disk is not
		// made emptier by a line a second.
		if err != nil && healthy {
			c.cfg.Log.LogAttrs(ctx, slog.LevelError, "verdicts are not saved", slog.String("reason", err.Error()))
		} else if err == nil && !healthy {
			c.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "verdicts are saved again")
		}
		healthy = err == nil
	}
}

// save writes all verdicts to the state file. It is called by one goroutine at
// a time, and holds the lock for the copy alone.
func (c *Checker) save() error {
	if c.cfg.StatePath == "" {
		return nil
	}
	payload, err := json.Marshal(savedFile{Version: savedVersion, Verdicts: c.verdicts()})
	if err == nil {
		err = durable.Write(c.cfg.StatePath, payload)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.stats.SaveErrors++
		return fmt.Errorf("saving verdicts: %w", err)
	}
	c.stats.Saves++
	return nil
}

// verdicts copies what is to be saved: the verdicts of all subjects, and those
// of the earlier run that no target has claimed yet, for a run that ends
// before its first Update must not forget them.
func (c *Checker) verdicts() []savedVerdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, now := time.Now(), c.now()
	all := make([]savedVerdict, 0, len(c.order)+len(c.restored))
	for _, t := range c.order {
		for _, s := range t.subjects {
			m := s.machine
			if m.State == steering.Unknown {
				continue
			}
			all = append(all, savedVerdict{
				Target: t.id, Address: s.dest.name(), Check: t.tested, State: m.State.String(),
				Since: wall.Add(m.Since - now).UTC(), Probe: wall.Add(m.Probe - now).UTC(),
				Decision: s.decision, Reason: s.last.Reason, OK: s.last.OK,
			})
		}
	}
	unclaimed := slices.SortedFunc(maps.Values(c.restored), func(a, b savedVerdict) int {
		return strings.Compare(a.Target+" "+a.Address, b.Target+" "+b.Address)
	})
	for _, v := range unclaimed {
		if v.fresh(wall, c.cfg.MaxAge) {
			all = append(all, v)
		}
	}
	return all
}
