// Package bench measures the whole server: over real sockets on loopback, and with tables as large as real ones. What can be
// measured without sockets stands beside the code it measures.
//
// It holds benchmarks alone. Single figures of a busy machine mean little: compare the sub-benchmarks of one run, which are asked
// the same questions by the same client.
package bench
