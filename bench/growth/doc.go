// Command growth draws what BenchmarkGrowth measures: how the cost of queries, memory, loads and swaps grows with what there is.
//
// It reads the benchmark's output, passes it on, and writes two files for each curve in it: a plot with logarithmic axes (CURVE.svg), and
// the figures (CURVE.md), with the slopes between points in that plot. A slope of 0 is a cost that does not grow, 1 one that is
// proportional. `make bench-growth` runs both.
package main
