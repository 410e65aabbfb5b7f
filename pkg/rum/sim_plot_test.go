package rum_test

import (
	"fmt"
	"io"
	"strings"
)

// simSeries is a line of a plot. Points are equally far from each other.
type simSeries struct {
	name   string
	color  string
	points []float64
}

// simPanel is a plot of lines with one scale from zero.
type simPanel struct {
	title  string
	from   float64 // hours, of the first point
	step   float64 // hours between points
	series []simSeries
}

// simPlot writes panels below each other as SVG, the same bytes for the same points.
func simPlot(out io.Writer, panels []simPanel) error {
	const width, height, left, top, plotWidth, plotHeight = 860, 260, 60, 40, 640, 180
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height*len(panels))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height*len(panels))
	for i, p := range panels {
		most, count := 0.0, 2
		for _, s := range p.series {
			count = max(count, len(s.points))
			for _, y := range s.points {
				most = max(most, y)
			}
		}
		if most == 0 {
			most = 1
		}
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", left, i*height+top)
		fmt.Fprintf(&b, `<text y="-16" font-size="14">%s</text>`+"\n", p.title)
		const lines = 4
		for l := range lines + 1 {
			y := float64(plotHeight) * float64(lines-l) / lines
			fmt.Fprintf(&b, `<path d="M0 %.1fH%d" stroke="#ddd"/><text x="-6" y="%.1f" text-anchor="end">%.4g</text>`+"\n", y, plotWidth, y+4, most*float64(l)/lines)
			hours := p.from + p.step*float64(count-1)*float64(l)/lines
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.2f h</text>`+"\n", float64(plotWidth)*float64(l)/lines, plotHeight+16, hours)
		}
		for k, s := range p.series {
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, s.color)
			for j, y := range s.points {
				fmt.Fprintf(&b, "%.1f,%.1f ", float64(plotWidth)*float64(j)/float64(count-1), plotHeight*(1-y/most))
			}
			fmt.Fprintf(&b, `"/><text x="%d" y="%d" fill="%s">%s</text>`+"\n", plotWidth+8, 12+16*k, s.color, s.name)
		}
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(out, b.String())
	return err
}
