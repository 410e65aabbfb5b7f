// Package rum keeps what real users measured: how long it took from a client network to a region, and how often it failed, in
// bounded summaries from which orders of regions come.
//
// Invariants:
//   - No address is kept. A sample is counted in the rungs of its network and forgotten: its /24 or /48, its ASN in its country, its
//     country, its continent. How many sources a rung has heard is known by a sketch from which there is no way back.
//   - Nobody decides alone. One source, one prefix, one ASN has a bounded part in what a rung says, whatever it sends; a rung with
//     fewer sources or samples than are wanted says nothing, and one that moves faster than a bound is held.
//   - It never marks a target down and never revives one. What comes out is orders of regions, and an order of which nothing is
//     known is none.
//   - Memory is bounded by a number of sketches, whatever comes in; windows are aligned to UTC and sketches have fixed parameters,
//     so that the summaries of two nodes add up to those of both.
//
// It is control plane: nothing of it is called where an answer is waited for.
package rum
