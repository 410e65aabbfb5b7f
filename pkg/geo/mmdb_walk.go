package geo

import (
	"bytes"
	"encoding/binary"

	"github.com/oschwald/maxminddb-golang/v2"
)

const (
	// networksMax bounds the networks of one database. The largest known City
	// database splits into some 10 million.
	networksMax = 32 << 20

	// nodeVisitsMax is how many times the walk may visit as many nodes as the
	// tree has. In a tree each node is visited once. A writer may share equal
	// subtrees, so a little more is allowed; in a damaged or hostile file, nodes
	// that refer to each other would make 2^128 paths.
	nodeVisitsMax = 8
)

// treeWalk goes through a search tree in address order. It reads the nodes
// itself: the library's iterator does not count its steps, and says of trouble
// neither the node nor the offset.
type treeWalk struct {
	tree       []byte
	recordSize uint
	nodes      uint64 // a record below it is a node, at it empty, above it data
	dataBytes  uint64 // length of the data section
	is6        bool
	visits     uint64 // nodes visited so far
	// v4Root is the record at ::/96, under which an IPv6 tree keeps IPv4, and
	// v4Depth the depth at which it was reached: less than 96 if a record ends
	// above it and so holds for all of IPv4.
	v4Root  uint64
	v4Depth int
}

// newTreeWalk takes a file and its checked metadata.
func newTreeWalk(data []byte, meta maxminddb.Metadata) *treeWalk {
	tree := treeBytes(meta)
	marker := bytes.LastIndex(data, []byte(metadataMarker))
	w := &treeWalk{
		tree:       data[:tree],
		recordSize: meta.RecordSize,
		nodes:      uint64(meta.NodeCount),
		dataBytes:  uint64(int64(marker) - tree - separatorBytes),
		is6:        meta.IPVersion == 6,
	}
	if w.is6 {
		for w.v4Root < w.nodes && w.v4Depth < 96 {
			w.v4Root, _ = w.node(w.v4Root)
			w.v4Depth++
		}
	}
	return w
}

// node reads the two records of a node.
func (w *treeWalk) node(n uint64) (left, right uint64) {
	switch w.recordSize {
	case 24:
		b := w.tree[n*6 : n*6+6]
		return uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2]), uint64(b[3])<<16 | uint64(b[4])<<8 | uint64(b[5])
	case 28: // the middle byte holds the high bits of both
		b := w.tree[n*7 : n*7+7]
		return uint64(b[3]&0xf0)<<20 | uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2]),
			uint64(b[3]&0x0f)<<24 | uint64(b[4])<<16 | uint64(b[5])<<8 | uint64(b[6])
	default:
		b := w.tree[n*8 : n*8+8]
		return uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	}
}

// nodeOffset is where a node stands in the file.
func (w *treeWalk) nodeOffset(n uint64) int64 { return int64(n) * int64(w.recordSize) / 4 }

// branch is a part of the tree that is still to be walked.
type branch struct {
	record uint64
	from   uint64 // the node that refers to it, for error texts
	first  address
	depth  int // bits of first that lead here
}

// walk gives the runs of one family. It calls emit for each network with data,
// in address order, with the offset of its record in the data section.
func (w *treeWalk) walk(f family, emit func(b *runBuilder, first, last address, offset uint64) error) ([]run, error) {
	b := &runBuilder{family: f}
	start := branch{}
	switch {
	case f == ipv6 && !w.is6:
		return b.finish(), nil
	case f == ipv4 && w.is6:
		start.record = w.v4Root
	}
	stack := append(make([]branch, 0, int(f)+1), start)
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		switch {
		case f == ipv6 && w.isIPv4(at), at.record == w.nodes:
		case at.record > w.nodes:
			offset, err := w.dataOffset(at)
			if err != nil {
				return nil, err
			}
			if err := emit(b, at.first, f.last(at.first, at.depth), offset); err != nil {
				return nil, err
			}
		default:
			if at.depth == int(f) {
				return nil, atOffset(w.nodeOffset(at.from), "node %d of the search tree leads deeper than an %s address has bits", at.from, f)
			}
			if w.visits++; w.visits > nodeVisitsMax*w.nodes {
				return nil, atOffset(w.nodeOffset(at.record), "the search tree runs in circles: more than %d visits to its %d nodes", nodeVisitsMax*w.nodes, w.nodes)
			}
			left, right := w.node(at.record)
			stack = append(stack,
				branch{right, at.record, at.first.add(address{0, 1}.shift(int(f) - at.depth - 1)), at.depth + 1},
				branch{left, at.record, at.first, at.depth + 1})
		}
	}
	return b.finish(), nil
}

// isIPv4 says whether a branch of the IPv6 walk is IPv4: ::/96 itself, or one of
// its aliases, under which writers put the same subtree again (2002::/16, 6to4;
// ::ffff:0:0/96; 64:ff9b::/96 and others). Clients behind an alias are not
// looked up there: the address of a 6to4 or NAT64 gateway is not the client's.
func (w *treeWalk) isIPv4(at branch) bool {
	if w.v4Depth < 96 {
		return false // one record for more than all of IPv4: it is IPv6's too
	}
	if at.depth == 96 && at.first == (address{}) {
		return true
	}
	return at.record == w.v4Root && w.v4Root < w.nodes
}

// dataOffset turns a record that is data into the offset in the data section.
func (w *treeWalk) dataOffset(at branch) (uint64, error) {
	offset := at.record - w.nodes
	if offset < separatorBytes || offset-separatorBytes >= w.dataBytes {
		return 0, atOffset(w.nodeOffset(at.from), "node %d of the search tree refers to data at %d, outside the %d bytes of the data section", at.from, int64(offset)-separatorBytes, w.dataBytes)
	}
	return offset - separatorBytes, nil
}

// shift gives a << n, for n below 128.
func (a address) shift(n int) address {
	if n >= 64 {
		return address{hi: a.lo << (n - 64)}
	}
	return address{a.hi<<n | a.lo>>(64-n), a.lo << n}
}
