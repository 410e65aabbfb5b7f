package policy

import (
	"strconv"
	"strings"
	"time"

	"geodns/internal/source"
)

// rank reads a rule's rankers. An empty list is the same as none: one tier.
func (p *parser) rank(v source.Value) []Ranker {
	if items, ok := v.List(&source.Findings{}); ok && len(items) == 0 {
		return nil
	}
	items, ok := p.list(v, "ranker", RankMax)
	if !ok {
		return nil
	}
	var out []Ranker
	for i, item := range items {
		r, good := p.ranker(item)
		if !good {
			continue
		}
		if r.Kind == RankMap && i > 0 {
			p.errorf(item, "map comes first in a rank or not at all: what it leaves out is not used, whatever stands before it")
		}
		if len(out) > 0 && out[len(out)-1].Kind == RankListed {
			p.fs.Warnf(item.Place(), "%s has no effect: listed before it leaves one target in each tier", r.Kind)
		}
		out = append(out, r)
	}
	return out
}

// ranker reads a bare name, or a mapping of one key with its options.
func (p *parser) ranker(v source.Value) (Ranker, bool) {
	r := Ranker{Place: v.Place()}
	if v.Kind() != source.MapKind {
		s, ok := v.String(p.fs)
		if !ok {
			return r, false
		}
		if s == "map" {
			p.errorf(v, "map needs the name of a map: write {map: NAME}")
			return r, false
		}
		return r, p.rankerKind(&r, s, v.Place())
	}
	es, ok := p.free(v)
	if !ok {
		return r, false
	}
	if len(es) != 1 {
		p.errorf(v, "a ranker is a name, or a mapping with one key such as {nearest: {band: 100km}}; this one has %d keys", len(es))
		return r, false
	}
	if !p.rankerKind(&r, es[0].Key, es[0].KeyPlace) {
		return r, false
	}
	p.rankerOptions(&r, es[0].Value)
	return r, true
}

// rankerKind finds the ranker that a word names.
func (p *parser) rankerKind(r *Ranker, word string, at source.Place) bool {
	words := make([]string, 0, RankListed+1)
	for k := RankMap; k <= RankListed; k++ {
		if k.String() == word {
			if r.Kind = k; k == RankLatency {
				r.Latency = latencyDefaults()
			}
			return true
		}
		words = append(words, k.String())
	}
	p.fs.Errorf(at, "there is no ranker %q; %s", clip(word), oneOf(word, words))
	return false
}

// rankerOptions reads what stands behind a ranker's name.
func (p *parser) rankerOptions(r *Ranker, v source.Value) {
	if r.Kind != RankMap && v.Kind() != source.MapKind {
		p.errorf(v, "options of a ranker are a mapping: write {%s: {}}, or %s alone", r.Kind, r.Kind)
		return
	}
	switch r.Kind {
	case RankMap:
		r.mapRef = p.ref(v)
	case RankNearest:
		if m, ok := v.Map(p.fs, "band"); ok {
			p.band(r, m.Get("band"), kilometers)
		}
	case RankCost:
		if m, ok := v.Map(p.fs, "band"); ok {
			p.band(r, m.Get("band"), costUnits)
		}
	case RankLatency:
		p.latency(r, v)
	case RankListed:
		if es, ok := p.free(v); ok && len(es) > 0 {
			p.fs.Errorf(es[0].KeyPlace, "listed has no options: write listed alone")
		}
	}
}

// band reads a band if it is given; the best of a tier and all within the band of it are one tier.
func (p *parser) band(r *Ranker, v source.Value, read func(*parser, source.Value) (float64, bool)) {
	if v.Exists() {
		r.Band, r.HasBand = read(p, v)
	}
}

// kilometers reads a distance such as 100km.
func kilometers(p *parser, v source.Value) (float64, bool) {
	text, unit := strings.CutSuffix(v.Text(), "km")
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if !unit || err != nil {
		p.errorf(v, "a distance in kilometers is wanted here, such as 100km")
		return 0, false
	}
	if !(f > 0 && f <= bandKilometersMax) {
		p.errorf(v, "%s is out of range: above 0km, to %dkm", clip(v.Text()), bandKilometersMax)
		return 0, false
	}
	return f, true
}

// costUnits reads a difference of costs.
func costUnits(p *parser, v source.Value) (float64, bool) {
	f, ok := v.Float(p.fs, 0, costMax)
	if ok && f == 0 {
		p.errorf(v, "a band of 0 joins nothing that cost does not join by itself; leave it out")
		return 0, false
	}
	return f, ok
}

// latency reads the options of a ranking by measured latency.
func (p *parser) latency(r *Ranker, v source.Value) {
	m, ok := v.Map(p.fs, "band", "percentile", "dwell", "min_samples", "jitter_weight", "error_weight", "max_age")
	if !ok {
		return
	}
	o := &r.Latency
	if b := m.Get("band"); b.Exists() {
		if o.Band, r.HasBand = b.Duration(p.fs, time.Microsecond, bandLatencyMax); r.HasBand {
			r.Band = inMilliseconds(o.Band)
		}
	}
	if pc := m.Get("percentile"); pc.Exists() {
		o.Percentile, ok = pc.Float(p.fs, 0, 100)
		if ok && (o.Percentile == 0 || o.Percentile == 100) {
			p.errorf(pc, "percentile %g is out of range: above 0 and below 100", o.Percentile)
		}
	}
	p.given(&o.Dwell, m.Get("dwell"), 0, pauseMax)
	if n := m.Get("min_samples"); n.Exists() {
		o.MinSamples = p.count(n, 1, samplesMax)
	}
	if w := m.Get("jitter_weight"); w.Exists() {
		o.JitterWeight, _ = w.Float(p.fs, 0, factorMax)
	}
	p.given(&o.ErrorWeight, m.Get("error_weight"), 0, bandLatencyMax)
	p.given(&o.MaxAge, m.Get("max_age"), time.Second, pauseMax)
}

// given reads a time if its key is there.
func (p *parser) given(d *time.Duration, v source.Value, lo, hi time.Duration) {
	if v.Exists() {
		*d, _ = v.Duration(p.fs, lo, hi)
	}
}

// inMilliseconds is a time as people compare latencies.
func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
