package zone

import "bytes"

// tree holds the names of one zone while it is loaded: each name once, with all its ancestors up to the apex, which is
// id 0. A parent's id is always smaller than its children's, so that one pass in id order sees parents first.
type tree struct {
	hasher hasher
	arena  []byte   // names, folded wire form
	off    []uint32 // by id: where its name begins in arena
	up     []uint32 // by id: its parent's id; the apex is its own
	slots  []uint64 // open addressing: upper half of the hash, id + 1; a power of two of them
}

// none is no id.
const none = ^uint32(0)

func newTree(h hasher, apex []byte) *tree {
	t := &tree{hasher: h, slots: make([]uint64, 64)}
	t.insert(apex, 0)
	return t
}

// len counts the names.
func (t *tree) len() int { return len(t.off) }

// name gives a name by its id. It stays valid, its bytes never change.
func (t *tree) name(id uint32) []byte {
	start, end := t.off[id], uint32(len(t.arena))
	if int(id)+1 < len(t.off) {
		end = t.off[id+1]
	}
	return t.arena[start:end:end]
}

// find gives the id of a folded name, or none.
func (t *tree) find(name []byte) uint32 {
	h := t.hasher.hash(name) >> 32
	mask := uint64(len(t.slots) - 1)
	for i := h & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if s := t.slots[i]; s>>32 == h {
			if id := uint32(s) - 1; bytes.Equal(t.name(id), name) {
				return id
			}
		}
	}
	return none
}

// intern gives the id of a folded name that is at or below the apex; the name and its ancestors are added if they are
// missing. It recurses once a label, at most 127 deep.
func (t *tree) intern(name []byte) uint32 {
	if id := t.find(name); id != none {
		return id
	}
	return t.insert(name, t.intern(parent(name)))
}

// insert adds a name that is not there yet.
func (t *tree) insert(name []byte, up uint32) uint32 {
	if 2*(len(t.off)+1) > len(t.slots) {
		t.grow()
	}
	id := uint32(len(t.off))
	t.off = append(t.off, uint32(len(t.arena)))
	t.up = append(t.up, up)
	t.arena = append(t.arena, name...)
	t.place(t.hasher.hash(name)>>32<<32 | uint64(id+1))
	return id
}

// grow doubles the slots. They keep their part of the hash, no name is read.
func (t *tree) grow() {
	old := t.slots
	t.slots = make([]uint64, 2*len(old))
	for _, s := range old {
		if s != 0 {
			t.place(s)
		}
	}
}

// place puts a slot at the first free position of its run.
func (t *tree) place(s uint64) {
	mask := uint64(len(t.slots) - 1)
	i := s >> 32 & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

// closest gives the longest existing name that name is at or below, and whether it is name itself. The name is at or
// below the apex.
func (t *tree) closest(name []byte) (id uint32, exact bool) {
	for exact = true; ; exact = false {
		if id := t.find(name); id != none {
			return id, exact
		}
		name = parent(name)
	}
}
