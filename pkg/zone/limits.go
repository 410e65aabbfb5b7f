package zone

// Limits of DNS itself.
const (
	nameMax   = 255 // octets of a wire name, root label included: RFC 1035 section 2.3.4
	labelMax  = 63  // octets of a label: RFC 1035 section 2.3.4
	stringMax = 255 // octets of a character-string: RFC 1035 section 3.3
	ttlMax    = 1<<31 - 1
	rdataMax  = 1<<16 - 1 // octets of rdata: RFC 1035 section 3.2.1
	msgMax    = 65535
)

// Limits of files, so that a mistake in one is refused with a message instead of filling the memory.
const (
	// fileMax bounds a zone file, included files each: a million records are about 50 MB.
	fileMax = 1 << 30
	// includeDepthMax bounds nested $INCLUDEs, as miekg/dns does.
	includeDepthMax = 7
	// includesMax bounds the $INCLUDEs of one zone: files that include others twice grow as 2 to the depth.
	includesMax = 1000
	// generateMax bounds the records of one $GENERATE: a /16 of names, and as many as miekg/dns allows.
	generateMax = 65536
	// widthMax bounds the width of a number that $GENERATE writes: more than a label holds makes no name.
	widthMax = 255
	// findingsMax bounds the findings of one zone: past a hundred an operator mends the first and looks again.
	findingsMax = 100
	// recordsMax bounds the records of one zone, as $GENERATE makes many of few bytes: about two gigabytes while it is loaded.
	recordsMax = 1 << 26
	// namesArenaMax bounds the names of one zone, whose offsets are 32 bits wide; a name may bring 126 ancestors.
	namesArenaMax = 1<<32 - 1<<15
	// rdataArenaMax bounds the rdata of one zone, whose offsets are 32 bits wide.
	rdataArenaMax = 1<<32 - 1<<17
)

// Limits of compiled answers.
const (
	// chainMax bounds the links of a CNAME or DNAME chain, in one compiled answer and at run time again. Resolvers go on from
	// the last one, and give up at 8 to 16 themselves; a link that is followed at run time costs a look-up, for any packet.
	chainMax = 8
	// selfPointerMax bounds how far into an answer compression pointers reach. Pointers hold 14 bits; before the answer
	// may stand a question and chainMax DNAME links of at most 534 bytes each, and 16 + 255 + 8 * 534 + 7168 < 16384.
	selfPointerMax = 7168
	// compressMax bounds the names remembered for compression in one answer: the search is linear.
	compressMax = 2200
	// arenaMax bounds the compiled arena: its references are 32 bits wide and count units of 4 bytes.
	arenaMax = 1 << 34
)

// Limits of the hash table.
const (
	// probeMax bounds the slots that one look-up reads: four cache lines. With Robin Hood placement and the table two thirds full
	// the longest way is 5 at a thousand names and 21 at eleven million.
	probeMax = 32
	// reseedMax bounds how often a table that breaks probeMax is built again with another seed before it is doubled.
	reseedMax = 8
	// doublingsMax bounds the doublings: a table a 64th full that still breaks probeMax is not bad luck but a bad hash.
	doublingsMax = 6
)
