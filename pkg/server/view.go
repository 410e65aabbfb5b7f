package server

import "geodns/pkg/dnswire"

// view is what a worker loads once a batch: the world, where its policies are counted, and what follows from both world and
// configuration.
type view struct {
	world  *World
	hits   hits
	nsid   []byte
	zones  []zoneView // by number
	ecsOff bool       // for some of the zones
}

// zoneView is what the wire wants to know of a zone beside its records.
type zoneView struct {
	serial uint32
	parent int32 // number of the zone above, if that is loaded too; else -1
	labels uint8 // of its origin, root not counted
	ecsOff bool  // client subnets are ignored
}

// worldTagLen is the octets of an NSID behind the node's name: a slash, then the first digits of both halves of the world's id.
const (
	worldTagDigits = 8
	worldTagLen    = 1 + worldTagDigits + 1 + worldTagDigits
)

// newView makes the view of a world. Policies are counted in h.
func newView(cfg *Config, w *World, h hits) *view {
	v := &view{world: w, hits: h, nsid: nsid(cfg, w)}
	off := map[string]bool{}
	for _, origin := range cfg.ECSOff {
		off[origin] = true
	}
	number := map[string]int32{}
	for i, z := range w.set.Zones() {
		number[z.Origin] = int32(i)
		zv := zoneView{serial: z.Serial, parent: -1, ecsOff: off[z.Origin]}
		for up, more := above(z.Origin); more; up, more = above(up) {
			zv.labels++
			// A zone stands behind those above it.
			if n, known := number[up]; known && zv.parent < 0 {
				zv.parent = n
			}
		}
		v.zones = append(v.zones, zv)
		v.ecsOff = v.ecsOff || zv.ecsOff
	}
	return v
}

// with is the view of a newer world of the same zones: in microseconds, as a verdict comes with it, however many zones there are.
func (v *view) with(cfg *Config, w *World) *view {
	next := *v
	next.world, next.nsid = w, nsid(cfg, w)
	return &next
}

// nsid names the node and what it serves; nothing where the node has no name.
func nsid(cfg *Config, w *World) []byte {
	if cfg.Identity == "" {
		return nil
	}
	set, table := w.set.ID(), w.table.ID()
	return []byte(cfg.Identity + "/" + set[:min(len(set), worldTagDigits)] + "-" + table[:min(len(table), worldTagDigits)])
}

// above is the name in presentation form without its first label; false for the root.
func above(name string) (string, bool) {
	if name == "." {
		return "", false
	}
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '\\':
			i++ // what is escaped is no end of a label; of three digits, none is a dot
		case '.':
			if name = name[i+1:]; name == "" {
				name = "."
			}
			return name, true
		}
	}
	return ".", true
}

// answering is the zone that an answer is of: the one that has the name, but for DS at an apex the one above.
func (v *view) answering(number uint32, q *dnswire.Query) *zoneView {
	z := &v.zones[number]
	if q.Type == dnswire.TypeDS && q.Labels == int(z.labels) && z.parent >= 0 {
		return &v.zones[z.parent]
	}
	return z
}
