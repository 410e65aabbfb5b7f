// Package health probes targets and turns the results into verdicts: which
// target is up, which is down, and which of these are in doubt.
//
// The parts, from the inside out:
//
//   - [Machine] is the pure state machine of one checked address: results and
//     time go in, a state and its doubt come out. It has no clock, no I/O and
//     no randomness.
//   - a prober runs one probe of one address, of the kind that its check has,
//     and says in a few words what came of it.
//   - [Checker] owns a prober and a machine for each address of each checked
//     target, keeps the times, and keeps the verdicts across reloads and
//     restarts.
//
// Invariants:
//   - A verdict down has `fall` failed probes in a row behind it, or is the
//     first probe of a target of which nothing was known. A verdict up has
//     `rise` good ones, or is that first probe.
//   - Probes are constant work: each address is probed once an interval
//     whatever the results are, and whether or not anybody asks for answers.
//   - No probe goes through a proxy, follows a redirect, reuses a connection,
//     or goes to an address that [Config].Allow refuses.
//   - A change of thresholds, a reload or a renamed check forgets no verdict;
//     only a change of what is tested does.
//   - Nothing a back end sends can make a probe take more than its timeout, or
//     more memory than [BodyMax] and [headerMax], and what TLS or HTTP/2 buffer.
//
// Limits are the named constants of check.go, the files of probes, checker.go
// and persist.go.
//
// The package is control plane. The running server calls it, and policy files
// are compiled to its [Check] and [Target]; the answer path reads the
// verdicts from an immutable snapshot that is made of them, never from here.
package health
