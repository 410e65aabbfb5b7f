// Package node is one running server: it loads zones, policies and geo data, checks and compiles them, and publishes them to the
// sockets as one World; it watches the files and the targets' health, and does so again when they change.
//
// There is one writer of the World, the goroutine of Node.publish. Loads run beside it, one at a time, and hand it what they
// compiled; verdicts reach it as a signal. Whatever goes wrong with a load, the World before it keeps serving. The same load serves
// Check and Explain offline, so that what they say is what a server would do.
//
// Only cmd/geodns calls it.
package node
