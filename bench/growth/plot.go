package main

import (
	"fmt"
	"math"
	"strings"
)

// The sizes of a panel, in the units of the drawing.
const (
	panelWidth, panelHeight = 860, 230
	plotLeft, plotTop       = 90, 36
	plotWidth, plotHeight   = 560, 150
)

// axis is logarithmic, from one power of ten to another.
type axis struct{ from, to, length float64 }

// newAxis holds all values.
func newAxis(values []float64, length float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if v > 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		low, high = 1, 1
	}
	a := axis{math.Floor(math.Log10(low)), math.Ceil(math.Log10(high)), length}
	a.to = max(a.to, a.from+1)
	return a
}

// at is where a value lies.
func (a axis) at(v float64) float64 { return (math.Log10(v) - a.from) / (a.to - a.from) * a.length }

// plot is the curve as SVG: a panel for each quantity, the same bytes for the same points.
func (c *curve) plot() string {
	var b strings.Builder
	panels := quantities()
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", panelWidth, panelHeight*len(panels))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", panelWidth, panelHeight*len(panels))
	var numbers []float64
	for _, p := range c.points {
		numbers = append(numbers, p.n)
	}
	for i, q := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", plotLeft, i*panelHeight+plotTop)
		c.panel(&b, q, newAxis(numbers, plotWidth))
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// panel draws one quantity.
func (c *curve) panel(b *strings.Builder, q quantity, x axis) {
	var units []string
	var values []float64
	for _, unit := range c.units {
		if !strings.HasPrefix(unit, q.prefix) {
			continue
		}
		units = append(units, unit)
		for _, p := range c.points {
			values = append(values, p.values[unit])
		}
	}
	y := newAxis(values, plotHeight)
	fmt.Fprintf(b, `<text y="-14" font-size="14">%s</text><text x="%d" y="%d">%s</text>`+"\n", q.title, plotWidth+50, plotHeight+16, c.name)
	for e := y.from; e <= y.to; e++ {
		at := plotHeight - y.at(math.Pow(10, e))
		fmt.Fprintf(b, `<path d="M0 %.1fH%d" stroke="#ddd"/><text x="-6" y="%.1f" text-anchor="end">%.6g</text>`+"\n", at, plotWidth, at+4, math.Pow(10, e))
	}
	for e := x.from; e <= x.to; e++ {
		at := x.at(math.Pow(10, e))
		fmt.Fprintf(b, `<path d="M%.1f 0V%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", at, plotHeight, at, plotHeight+16, math.Pow(10, e))
	}
	colors := []string{"#06c", "#c60", "#080"}
	for k, unit := range units {
		color := colors[k%len(colors)]
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, color)
		for _, p := range c.points {
			if p.values[unit] > 0 {
				fmt.Fprintf(b, "%.1f,%.1f ", x.at(p.n), plotHeight-y.at(p.values[unit]))
			}
		}
		fmt.Fprintf(b, `"/><text x="%d" y="%d" fill="%s">%s, slope %.2f</text>`+"\n", plotWidth+8, 12+16*k, color, unit, fit(c.points, unit))
	}
}
