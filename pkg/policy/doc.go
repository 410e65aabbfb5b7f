// Package policy turns an operator's policy files (YAML) into what answers queries are decided with: it parses and checks
// the files, compiles them to a steering.Table, explains decisions, and runs the operator's tests of them.
//
// Files come first. Parse reads one file into a File: keys are strict, values are checked by themselves, and every
// finding has its place. Load reads a folder, joins its files and checks what only the whole can show: names, fallbacks,
// rules that hide others, fences, maps, address families. The result is a Document, in which names have become pointers
// and every list has a fixed order, so that the same files always give the same Document.
//
// Invariants: a Document exists only if no finding is an error; it is never changed after Load and may be read by any
// number of goroutines; a Target's Check has the name and kind of its pool's; Pool.Fallback never runs in a circle; the
// last rule of a policy matches everyone; a Target's ID is "pool/target" and unique. What depends on geo data (that every
// client's plan holds a target, say) is the compiler's to check; here a fault is reported only where it is certain from the
// files alone.
//
// What an explanation says would change an answer was tried by Decide, and what a policy test holds against is all that any draw can
// give: neither guesses.
//
// Limits are the named constants in limits.go. Nothing here is on the answer path. Callers are internal/node, which loads
// and publishes, and pkg/api, which shows.
package policy
