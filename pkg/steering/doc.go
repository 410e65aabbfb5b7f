// Package steering decides which targets answer a query: the immutable Table that policies compile to, the States of its
// targets, and Decide, the one pure function that serving, explaining and testing all call.
//
// A Table is flat arrays without names: cells cover all client addresses, a layout maps each cell to a class and a
// published scope, a policy has one plan for each class, a plan is tiers of targets. Build checks a Spec whole before it
// makes a Table of it, so Decide can trust every index. States are a snapshot beside the Table, replaced at each change.
//
// Decide takes no lock, makes no allocation, reads no clock and draws no randomness that it was not given. Table and
// States are immutable after Build and NewStates and may be shared by any number of goroutines. The package imports
// nothing of the project and may be called from anywhere in it.
package steering
