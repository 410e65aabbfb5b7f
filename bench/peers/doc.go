//go:build linux

// Command peers measures geodns beside other name servers and beside two responders that look nothing up, the floors.
//
// One server runs at a time, on a core of its own, with one worker; the load comes from another core. Rounds are interleaved, so
// that what drifts on the machine drifts for all. The figure that a busy machine spoils least is the server's CPU time per
// answered query, and it is the one to compare first. Every answer is checked, so a run is a proof that the servers say the same.
//
// It listens and sends on loopback alone, writes below a temporary folder, and ends what it started, also when it is interrupted.
// `make bench-peers` builds and runs it. Called as "peers floor PORT" it is the Go floor itself.
package main
