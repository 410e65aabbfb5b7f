// Package zone turns master files into an immutable Set of compiled answers and answers queries from it.
//
// Load reads a folder, checks every zone in it and compiles them all, or reports findings and gives no Set: nothing is
// loaded in part. A Set holds, for every name and every type at it, the wire bytes that follow the question, so that
// Answer is one look-up and one copy. Names that policies answer (STEER) come back as Steered, for the caller to decide.
//
// Invariants. A Set never changes and may be read by any number of goroutines. Its bulk is a hash table of 8-byte slots
// and one byte arena, neither with a Go pointer in it, so that a collection costs nothing. Answer takes no lock, does
// not allocate, cannot panic on any name, and never writes beyond the limit that it is given. The same files give the
// same bytes, whatever the hash seed.
//
// Limits are the constants in limits.go. Master files are parsed entry by entry: a small scanner finds entries and
// their places, and rdsyntax.go says what the fields of each type are.
//
// The server calls Answer for each query; internal/node calls Load at start and at each reload.
package zone
