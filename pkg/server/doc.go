// Package server answers DNS queries: sockets, workers, TCP connections, and the one function that makes every answer.
//
// A [World] is zones, steering table and target states that belong together. A [Server] holds the current one behind one
// atomic pointer with one writer ([Server.Publish]); a worker loads it once a batch. Whatever the transport, a query
// reaches responder.answer as a packet in its receive buffer, and leaves it answered in place behind its question. Every
// check and every limit of a message is there; transports know nothing but how to receive, send and close.
//
//	UDP on Linux   a goroutine a worker and address, each with a socket of its own (SO_REUSEPORT), batches of BatchMax by
//	               recvmmsg and sendmmsg, on a thread of its own, which waits in them (udp_linux.go)
//	UDP elsewhere  goroutines that share a socket an address, a packet at a time (udp.go)
//	TCP            a goroutine a connection (tcp.go)
//
// Invariants. The answer path (responder) takes no lock, makes no allocation, does not log and cannot panic on any
// packet; it writes to no cache line that another worker writes to. Every goroutine is started by [Server.Run] and has
// ended when Run returns. Nothing from the control plane is imported: what the server needs of it comes in [Config] as
// values and funcs.
//
// Limits are the constants in config.go. internal/node makes the one Server of a process.
package server
