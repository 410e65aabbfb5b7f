// Package health probes targets and turns the results into verdicts: which
// target is up, which is down, what part of its traffic each takes, and which
// verdicts are in doubt.
//
// The parts, from the inside out:
//
//   - [Machine] is the pure state machine of one checked target: probes, votes
//     and time go in, a verdict with its doubt and its reason comes out.
//   - [Fleet] is all machines of a node, and what the node makes of its own
//     probes: it does not believe that the world died. Neither has a clock, I/O
//     or randomness, so that they can be simulated and replayed.
//   - a prober runs one probe of one address by one kind of check, and says in
//     a few words what came of it. A new kind is another file beside
//     probe_http.go, and a case where prober.try chooses.
//   - [Checker] drives a Fleet: it owns a prober for each address, keeps the
//     times, takes votes in, and keeps verdicts across reloads and restarts. It
//     remembers the last probes of each address, and [Checker.Tune] replays them.
//
// Invariants:
//   - A verdict down has `fall` failed probes in a row behind it, or is the
//     first probe of a target of which nothing was known, or has enough votes.
//     A verdict up has `rise` good ones, and nothing that holds the target down.
//   - Regular probes are constant work: each address is probed once an interval
//     whatever the results are, and whether or not anybody asks for answers.
//     Those that come early because of a doubt are bounded over all addresses.
//   - No probe goes through a proxy, follows a redirect, reuses a connection,
//     goes to an address that [Config].Allow refuses, or asks this server for
//     an address.
//   - A change of thresholds, a reload or a renamed check forgets no verdict;
//     only a change of what is tested does.
//   - Nothing a back end sends can make a probe take more than its timeout, or
//     more memory than the limits of check.go allow.
//   - All times are monotonic. The wall clock is read for people, and for the
//     state file alone.
//
// Limits are named constants at the head of the file that keeps them.
//
// The package is control plane. The running server calls it, and policy files
// are compiled to its [Check] and [Target]; the answer path reads the
// verdicts from an immutable snapshot that is made of them, never from here.
package health
