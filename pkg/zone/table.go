package zone

import (
	"bytes"
	"encoding/binary"
)

// The hash table has slots of 8 bytes: the upper half of a name's hash, and the reference of its record; 0 is empty. It
// is probed linearly from where the lower half points, for probeMax slots at most, and there are as many slots more at the
// end, so that no probe wraps around.

// build fills the table. It draws new secrets, and then doubles the table, until no name is further than probeMax from its
// place. It gives false if that never comes about.
func (s *Set) build(names []uint32, h hasher) bool {
	size := uint64(probeMax)
	for 2*size < 3*uint64(len(names)) {
		size *= 2
	}
	for range doublingsMax {
		for range reseedMax {
			s.hasher, s.mask, s.slots = h, size-1, make([]uint64, size+probeMax)
			if s.fill(names) {
				return true
			}
			h = newHasher(h.a ^ h.b)
		}
		size *= 2
	}
	return false
}

// fill puts all names into the table, the one further from its place before the other (Robin Hood), which keeps the longest
// way short. It gives false if one is too far.
func (s *Set) fill(names []uint32) bool {
	for _, ref := range names {
		h := s.hasher.hash(s.name(ref))
		slot, i := h&^0xffffffff|uint64(ref), h&s.mask
		for dist := uint64(0); s.slots[i] != 0; i, dist = i+1, dist+1 {
			if dist == probeMax-1 {
				return false
			}
			if d := i - s.home(s.slots[i]); d < dist {
				s.slots[i], slot, dist = slot, s.slots[i], d
			}
		}
		s.slots[i] = slot
	}
	return true
}

// home gives the place that a filled slot would like to be at.
func (s *Set) home(slot uint64) uint64 { return s.hasher.hash(s.name(uint32(slot))) & s.mask }

// name gives the name of a record.
func (s *Set) name(ref uint32) []byte {
	rec := s.arena[4*uint64(ref):]
	return rec[recordName:][:rec[0]]
}

// find gives the reference of a folded name's record, 0 if it does not exist.
func (s *Set) find(name []byte) uint32 { return s.findHashed(name, s.hasher.hash(name)) }

// findHashed is find with the name's hash.
func (s *Set) findHashed(name []byte, h uint64) uint32 {
	i := h & s.mask
	for _, slot := range s.slots[i : i+probeMax] {
		if slot == 0 {
			break
		}
		if slot>>32 == h>>32 && bytes.Equal(s.name(uint32(slot)), name) {
			return uint32(slot)
		}
	}
	return 0
}

// Hash gives the hash of a folded wire name. A caller with many names at hand calls Hash for all of them, then Slot, then Record,
// then AnswerHashed: what one stage reads from memory is there when the next wants it, and the waits of a stage overlap.
func (s *Set) Hash(name []byte) uint64 { return s.hasher.hash(name) }

// Slot reads the place in the hash table where a hash points. It gives the reference of what may be the name's record, 0 if it
// is not there at once.
func (s *Set) Slot(hash uint64) uint32 {
	for _, slot := range s.slots[hash&s.mask:][:4] {
		if slot>>32 == hash>>32 {
			return uint32(slot)
		}
	}
	return 0
}

// Record reads a record that Slot gave, and what usually is its answer: a name's pieces stand right before its record. The result
// means nothing, but that it was read.
func (s *Set) Record(ref uint32) byte {
	const before, behind = 24, 56 // one address record, and a short name with one type: two cache lines
	at := 4 * uint64(ref)
	return s.arena[max(at, before)-before] + s.arena[min(at+behind, uint64(len(s.arena)-1))]
}

// Steer says which policy the name of a record that was read is steered by, if it is: an index into SteerPolicies.
func (s *Set) Steer(ref uint32) (uint32, bool) {
	if ref == 0 || s.flags(ref)&recSteer == 0 {
		return 0, false
	}
	b := s.arena[4*uint64(ref):]
	return binary.LittleEndian.Uint32(b[recordName+(int(b[0])+3)&^3:]), true
}

// closest gives the record of the longest existing name above name. The root always exists, and a name exists if one below
// it does: so the parent is tried first, the usual case, and then the number of labels is halved, which is seven look-ups
// for the longest name there is.
func (s *Set) closest(name []byte, labels int) uint32 {
	var starts [nameMax/2 + 1]uint8
	n := 0
	for i := 0; i < len(name) && name[i] != 0 && n < min(labels, len(starts)-1); i += 1 + int(name[i]) {
		starts[n] = uint8(i)
		n++
	}
	if n == 0 || int(starts[n-1])+1+int(name[starts[n-1]]) >= len(name) {
		return s.root
	}
	starts[n] = starts[n-1] + 1 + name[starts[n-1]]
	if rec := s.find(name[starts[1]:]); rec != 0 {
		return rec
	}
	low, high, best := 2, n, s.root
	for low < high {
		mid := (low + high) / 2
		if rec := s.find(name[starts[mid]:]); rec != 0 {
			high, best = mid, rec
		} else {
			low = mid + 1
		}
	}
	return best
}

// entry gives the piece of a type in a record's directory, 0 if it is not in it.
func (s *Set) entry(ref uint32, typ uint16) uint32 {
	rec := s.arena[4*uint64(ref):]
	at := recordName + (int(rec[0])+3)&^3
	if rec[recordFlags]&recSteer != 0 {
		at += 8
	}
	n := int(binary.LittleEndian.Uint16(rec[recordTypes:]))
	dir := rec[at:][:n*entrySize]
	for n > 8 {
		half := n / 2
		if binary.LittleEndian.Uint16(dir[half*entrySize:]) > typ {
			n, dir = half, dir[:half*entrySize]
		} else {
			n, dir = n-half, dir[half*entrySize:]
		}
	}
	for ; len(dir) >= entrySize; dir = dir[entrySize:] {
		if binary.LittleEndian.Uint16(dir) == typ {
			return binary.LittleEndian.Uint32(dir[4:])
		}
	}
	return 0
}
