package source

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The YAML library names the line of a syntax error, not always the right one, and never a column. What can be found out
// beside it is found out here.

// unreadable finds the first character that no YAML file may hold (YAML 1.2 section 5.1), which the library would report
// without a place, or that is a line's end to YAML 1.1 alone, so that people and programs would count lines differently.
// why is "" if there is none.
func unreadable(file string, data []byte) (at Place, why string) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return WholeFile(file), "the file is in UTF-16; save it as UTF-8"
	}
	for i := 0; i < len(data); {
		if c := data[i]; c >= ' ' && c < 0x7f || c == '\n' || c == '\t' || c == '\r' && bytes.HasPrefix(data[i+1:], []byte("\n")) {
			i++
			continue
		}
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return placeAt(file, data, i), fmt.Sprintf("byte %#02x is not UTF-8", data[i])
		case r == '\r':
			return placeAt(file, data, i), "a carriage return without a line feed; lines end with one"
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff && i > 0 || r == 0xfffe || r == 0xffff:
			return placeAt(file, data, i), fmt.Sprintf("character %U may not stand in a file", r)
		}
		i += size
	}
	return Place{}, ""
}

// placeAt is the place of a byte.
func placeAt(file string, data []byte, offset int) Place {
	before := data[:offset]
	return Place{file, bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1}
}

var (
	yamlLine   = regexp.MustCompile(`line (\d+)`)
	yamlAnchor = regexp.MustCompile(`unknown anchor '([^']*)' referenced`)
	yamlShort  = regexp.MustCompile(`^did not find expected (<|node|'-'|key|',')`)
)

// yamlErrorPlace finds the line that the library's message names. In errors of its parser, as against those of its scanner,
// it counts lines from 0.
func yamlErrorPlace(file string, data []byte, err error) Place {
	p := WholeFile(file)
	if m := yamlAnchor.FindStringSubmatch(err.Error()); m != nil {
		return aliasPlace(file, data, m[1])
	}
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return p
	}
	if n, convErr := strconv.Atoi(m[1]); convErr == nil && n > 0 {
		p.Line = n
		if yamlShort.MatchString(yamlErrorReason(err)) {
			p.Line++
		}
	}
	p.Line = min(p.Line, bytes.Count(data, []byte("\n"))+1)
	return p
}

// aliasPlace finds where an alias stands, the whole file if it cannot be told.
func aliasPlace(file string, data []byte, name string) Place {
	alias := []byte("*" + name)
	for from := 0; ; {
		i := bytes.Index(data[from:], alias)
		if i < 0 {
			return WholeFile(file)
		}
		i += from
		from = i + len(alias)
		line := data[bytes.LastIndexByte(data[:i], '\n')+1 : i]
		whole := from == len(data) || bytes.IndexByte([]byte(" \t\r\n,]}:"), data[from]) >= 0
		opened := len(line) == 0 || bytes.IndexByte([]byte(" \t,[{"), line[len(line)-1]) >= 0
		if comment := bytes.HasPrefix(line, []byte("#")) || bytes.Contains(line, []byte(" #")); whole && opened && !comment {
			return placeAt(file, data, i)
		}
	}
}

// yamlErrorReason strips what the place says already.
func yamlErrorReason(err error) string {
	s := strings.TrimPrefix(err.Error(), "yaml: ")
	if i := strings.Index(s, ": "); i > 0 && yamlLine.MatchString(s[:i]) {
		s = s[i+2:]
	}
	return s
}

// yamlErrorText is the message for an error of the library.
func yamlErrorText(err error) string { return "not valid YAML: " + yamlErrorReason(err) }
