package rum

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"time"

	"geodns/internal/durable"
)

// The state file is what was seen of all client networks at one interval:
//
//	"rum" version accuracy bins time networks { network }
//	network = key sources regions { region }
//	region  = name last failed bins { gap weight }
//
// where all numbers are uvarints, a name is its length and its bytes, and a gap is that to the bin before. It says of sources how
// many there are, nothing else.

const (
	stateMagic = "rum"
	// stateVersion is that of the content; sketches of other parameters have another.
	stateVersion = 1

	// regionsPerNetworkMax and regionNameMax bound what is read: there are fewer regions, with shorter names.
	regionsPerNetworkMax = 4096
	regionNameMax        = 255
)

// encodeState gives the content of a state file.
func encodeState(all []seen, at time.Time) []byte {
	b := append([]byte(stateMagic), stateVersion)
	b = binary.AppendUvarint(b, uint64(max(at.Unix(), 0)))
	b = binary.AppendUvarint(b, uint64(len(all)))
	for i := range all {
		n := &all[i]
		b = binary.AppendUvarint(b, uint64(n.key))
		b = binary.AppendUvarint(b, uint64(min(n.sources, math.MaxUint16)))
		b = binary.AppendUvarint(b, uint64(len(n.regions)))
		for j := range n.regions {
			b = appendSketch(b, &n.regions[j])
		}
	}
	return b
}

// appendSketch appends one region.
func appendSketch(b []byte, s *sketch) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.region)))
	b = append(b, s.region...)
	b = binary.AppendUvarint(b, uint64(s.last))
	b = binary.AppendUvarint(b, uint64(s.failed))
	b = binary.AppendUvarint(b, uint64(len(s.bins)))
	before := uint16(0)
	for _, bin := range s.bins {
		b = binary.AppendUvarint(b, uint64(bin.index-before))
		b = binary.AppendUvarint(b, uint64(bin.weight))
		before = bin.index
	}
	return b
}

// stateReader reads numbers until one is wrong.
type stateReader struct {
	rest []byte
	err  error
}

// number reads a number up to most.
func (r *stateReader) number(what string, most uint64) uint64 {
	if r.err != nil {
		return 0
	}
	n, size := binary.Uvarint(r.rest)
	switch {
	case size <= 0:
		r.err = fmt.Errorf("it ends within %s", what)
	case n > most:
		r.err = fmt.Errorf("%s is %d, at most %d is possible", what, n, most)
	default:
		r.rest = r.rest[size:]
		return n
	}
	return 0
}

// text reads a text of that length.
func (r *stateReader) text(length uint64) string {
	if r.err == nil && uint64(len(r.rest)) < length {
		r.err = errors.New("it ends within a name")
	}
	if r.err != nil {
		return ""
	}
	text := string(r.rest[:length])
	r.rest = r.rest[length:]
	return text
}

// decodeState reads the content of a state file of sketchesMax sketches at most.
func decodeState(payload []byte, sketchesMax int) (all []seen, at time.Time, err error) {
	if len(payload) < len(stateMagic)+1 || string(payload[:len(stateMagic)]) != stateMagic {
		return nil, at, errors.New("it is not a state of real-user measurement")
	}
	if version := payload[len(stateMagic)]; version != stateVersion {
		return nil, at, fmt.Errorf("its version is %d, %d is wanted", version, stateVersion)
	}
	r := &stateReader{rest: payload[len(stateMagic)+1:]}
	at = time.Unix(int64(r.number("the time", math.MaxUint32)), 0)
	sketches := 0
	known := map[networkKey]bool{}
	for range r.number("the number of networks", uint64(sketchesMax)) {
		n := r.network()
		if r.err == nil && known[n.key] {
			r.err = fmt.Errorf("the network %s is there twice", n.key.prefix())
		}
		if sketches += len(n.regions); r.err == nil && sketches > sketchesMax {
			r.err = fmt.Errorf("it has more than %d sketches", sketchesMax)
		}
		if r.err != nil {
			return nil, at, r.err
		}
		known[n.key] = true
		all = append(all, n)
	}
	if r.err == nil && len(r.rest) > 0 {
		r.err = fmt.Errorf("%d bytes follow its end", len(r.rest))
	}
	return all, at, r.err
}

// network reads one network.
func (r *stateReader) network() (n seen) {
	n.key = networkKey(r.number("a network", math.MaxUint64))
	if r.err == nil && !n.key.valid() {
		r.err = fmt.Errorf("%#x is no network", uint64(n.key))
	}
	n.sources = int(r.number("the number of sources", math.MaxUint16))
	for range r.number("the number of regions", regionsPerNetworkMax) {
		s := r.sketch()
		if r.err == nil && slices.ContainsFunc(n.regions, func(o sketch) bool { return o.region == s.region }) {
			r.err = fmt.Errorf("the region %q is there twice", s.region)
		}
		if r.err != nil {
			return n
		}
		n.regions = append(n.regions, s)
	}
	if r.err == nil && len(n.regions) == 0 {
		r.err = errors.New("a network has no region")
	}
	return n
}

// sketch reads one region.
func (r *stateReader) sketch() (s sketch) {
	s.region = r.text(r.number("the length of a name", regionNameMax))
	s.last = uint32(r.number("the time of a sample", math.MaxUint32))
	s.failed = uint16(r.number("a weight", weightMax))
	index := uint64(0)
	for i := range r.number("the number of bins", binsMax) {
		gap := r.number("a gap", binCount-1)
		index += gap
		weight := r.number("a weight", weightMax)
		if r.err == nil && (index >= binCount || gap == 0 && i > 0 || weight == 0) {
			r.err = fmt.Errorf("bin %d of weight %d is not possible", index, weight)
		}
		if r.err != nil {
			return s
		}
		s.bins = append(s.bins, bin{uint16(index), uint16(weight)})
	}
	if r.err == nil && (s.region == "" || len(s.bins) == 0 && s.failed == 0) {
		r.err = errors.New("a sketch without a name or without a sample")
	}
	return s
}

// save writes the state file, if there is to be one and something was counted since. The lock of ticking is held.
func (c *Collector) save(all []seen) {
	accepted := c.accepted.Load()
	if c.cfg.StatePath == "" || accepted == c.saved {
		return
	}
	if err := durable.Write(c.cfg.StatePath, encodeState(all, c.last)); err != nil {
		c.saveErrors.Add(1)
		c.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "what users measured is not saved", slog.String("reason", err.Error()))
		return
	}
	c.saved = accepted
	c.saves.Add(1)
}

// load reads the state file.
func (c *Collector) load(now time.Time) {
	if c.cfg.StatePath == "" {
		return
	}
	var at time.Time
	all, err := durable.Load(c.cfg.StatePath, func(payload []byte) (all []seen, err error) {
		all, at, err = decodeState(payload, SketchesMax)
		return all, err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "what users measured before is lost", slog.String("reason", err.Error()))
		return
	}
	c.merge(all, at, now)
	c.cfg.Log.LogAttrs(context.Background(), slog.LevelInfo, "what users measured before is restored",
		slog.Int("networks", len(all)), slog.Int64("sketches", c.sketches.Load()))
}

// merge adds networks as they were seen at a time, here before a restart or by another node. Samples add up; of sources that may be
// the same the larger number counts.
func (c *Collector) merge(all []seen, at, now time.Time) {
	factor := c.factor(c.decayed(at, c.last))
	oldest := uint32(max(now.Add(-c.cfg.Window).Unix(), 0))
	for i := range all {
		from := network{regions: all[i].regions}
		// What lies in the future is of now: the clock was set.
		for j := range from.regions {
			from.regions[j].last = min(from.regions[j].last, uint32(now.Unix()))
		}
		from.decay(factor, oldest)
		if len(from.regions) > 0 {
			key := all[i].key
			c.shardOf(key).merge(c, key, &from, all[i].sources)
		}
	}
}

// merge adds one network, as far as there is room.
func (s *shard) merge(c *Collector, key networkKey, from *network, distinct int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, known := s.networks[key]
	if !known {
		n = &network{place: placeOf(c.cfg.Place(key.prefix().Addr()))}
	}
	for i := range from.regions {
		o := &from.regions[i]
		kept := n.sketch(o.region)
		if kept == nil {
			if !s.room(c, key, n) {
				break
			}
			n.regions = append(n.regions, sketch{region: o.region})
			kept = &n.regions[len(n.regions)-1]
		}
		kept.merge(o)
		n.weight += uint32(o.total())
	}
	n.prior = uint16(max(int(n.prior), distinct))
	if len(n.regions) > 0 {
		s.networks[key] = n
	}
}
