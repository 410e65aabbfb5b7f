// Package dnswire reads DNS queries and writes DNS answers in buffers that the caller owns.
//
// It is the only place that knows the layout of a message (RFC 1035 section 4), of EDNS (RFC 6891) and of the client
// subnet option (RFC 7871), and it knows nothing of zones, policies or sockets. [Query.Parse] reads one query in one pass
// into a Query that is reused from packet to packet; what the answer needs later (name, subnet, cookie) is copied, so the
// answer may be written over the query behind its question. The append functions write into the spare capacity of a
// message.
//
// Invariants: nothing here allocates, locks, logs or panics on any packet. A Query keeps no pointer into a packet. Every
// loop is bounded by the length of the message: a record takes at least 11 bytes of it, an option 4, a label 2. Only the
// question's name is read; owner names of other records are stepped over, and no compression pointer is ever followed.
//
// Callers are the server's workers, for each packet, the zone compiler, for names and constants, and the health checker's
// DNS probe. A Query is owned by one goroutine at a time.
package dnswire
