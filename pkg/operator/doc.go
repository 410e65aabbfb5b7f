// Package operator is what people change in a running server, with the record of it: leases over targets (drained, or held at a
// state or a part of their traffic), the guards that refuse what would break an answer, and the audit log.
//
// Invariants:
//   - The audit log is the record. A change is an entry on disk before it is anything else; leases are what the entries say, and
//     the file of leases is only where reading them begins.
//   - Leases add up, and the most cautious counts: a target is drained if any lease drains it, its state is the worst that a lease
//     gives, its admit the least. The order in which they came does not matter.
//   - Every lease ends: at its expiry by itself, or by hand. What ended is kept as a tombstone for a while.
//   - A decision about a lease is made from what it is given (policies, verdicts, the time); nothing here probes, listens or answers.
//
// It is control plane: it waits for the disk, takes locks and allocates. Nothing of it is called where an answer is waited for, but
// Overrides, an immutable snapshot.
package operator
