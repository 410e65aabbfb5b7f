package zone

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// LOC's limits (RFC 1876 section 2).
const (
	locEquator     = 1 << 31     // the equator, and the prime meridian, in thousandths of an arc second
	locAltitudeLow = -100_000_00 // centimeters below the reference spheroid at which altitudes begin
	locSizeMax     = 90_000_000_00
)

// loc reads a place (RFC 1876 section 3): latitude, longitude, altitude, and if they are there size, horizontal and vertical
// precision.
func (p *rdataParser) loc() *rdataError {
	latitude, err := p.angle("latitude", "NS", 90)
	if err != nil {
		return err
	}
	longitude, err := p.angle("longitude", "EW", 180)
	if err != nil {
		return err
	}
	altitude, err := p.meters("altitude", locAltitudeLow, math.MaxUint32+locAltitudeLow, 0)
	if err != nil {
		return err
	}
	p.out = append(p.out, 0)
	for _, size := range []struct {
		name  string
		usual int64
	}{{"size", 1_00}, {"horizontal precision", 10_000_00}, {"vertical precision", 10_00}} {
		cm := size.usual
		if p.next < len(p.args) {
			if cm, err = p.meters(size.name, 0, locSizeMax, size.usual); err != nil {
				return err
			}
		}
		p.out = append(p.out, locSize(cm))
	}
	p.out = binary.BigEndian.AppendUint32(p.out, latitude)
	p.out = binary.BigEndian.AppendUint32(p.out, longitude)
	p.out = binary.BigEndian.AppendUint32(p.out, uint32(altitude-locAltitudeLow))
	return nil
}

// locSize encodes centimeters as a digit and a power of ten.
func locSize(cm int64) byte {
	exp := byte(0)
	for ; cm > 9; cm /= 10 {
		exp++
	}
	return byte(cm)<<4 | exp
}

// angle reads degrees, perhaps minutes, perhaps seconds, and one of two letters, the second for the negative side.
func (p *rdataParser) angle(name, letters string, most int64) (uint32, *rdataError) {
	total, unit := int64(0), int64(3_600_000)
	for parts := 0; p.next < len(p.args); parts++ {
		text := p.take()
		if len(text) == 1 && bytes.IndexByte([]byte(letters), text[0]) >= 0 && parts > 0 {
			if total > most*3_600_000 {
				return 0, &rdataError{p.next - 1, fmt.Sprintf("%s is more than %d degrees", name, most)}
			}
			if text[0] == letters[1] {
				total = -total
			}
			return uint32(locEquator + total), nil
		}
		part, high, decimals := "degrees", most, 0
		switch parts {
		case 1:
			part, high = "minutes", 59
		case 2:
			part, high, decimals = "seconds", 59, 3
		}
		v, ok := fixedPoint(text, decimals)
		if !ok || parts == 3 || v > (high+1)*pow10(decimals)-1 {
			if parts > 0 && !isDigit(text[0]) || parts == 3 {
				return 0, p.wrong(name, fmt.Sprintf("is neither %c nor %c", letters[0], letters[1]))
			}
			return 0, p.wrong(name+" "+part, fmt.Sprintf("are no number from 0 to %d with %d decimals at most", high, decimals))
		}
		total += v * (unit / pow10(decimals))
		unit /= 60
	}
	return 0, p.missing(name + fmt.Sprintf("'s %c or %c", letters[0], letters[1]))
}

// pow10 gives 10 to a small power.
func pow10(n int) int64 {
	v := int64(1)
	for range n {
		v *= 10
	}
	return v
}

// fixedPoint reads a decimal number without a sign and with so many decimals at most, as a number of its smallest unit.
func fixedPoint(text []byte, decimals int) (int64, bool) {
	whole, fraction, dot := bytes.Cut(text, []byte{'.'})
	v, ok := decimal(whole, math.MaxUint32)
	if !ok || len(fraction) > decimals || dot && len(fraction) == 0 {
		return 0, false
	}
	out := int64(v) * pow10(decimals)
	if dot {
		f, ok := decimal(fraction, math.MaxUint32)
		return out + int64(f)*pow10(decimals-len(fraction)), ok
	}
	return out, true
}

// meters reads a length in meters, with "m" behind it or not, in centimeters.
func (p *rdataParser) meters(name string, low, high, usual int64) (int64, *rdataError) {
	if p.next == len(p.args) {
		return usual, p.missing(name)
	}
	text := p.take()
	digits, negative := bytes.CutPrefix(text, []byte{'-'})
	cm, ok := fixedPoint(bytes.TrimSuffix(digits, []byte{'m'}), 2)
	if negative {
		cm = -cm
	}
	if !ok || cm < low || cm > high {
		return 0, p.wrong(name, fmt.Sprintf("is no length from %.2fm to %.2fm", float64(low)/100, float64(high)/100))
	}
	return cm, nil
}
