package api

import (
	"fmt"
	"slices"
	"strings"

	"geodns/internal/source"
)

// Limits of grants. They bound the work of a request, which is held against each grant of who asks.
const (
	// GrantsMax bounds the grants of a token or a role; who needs more needs a pattern.
	GrantsMax = 64
	// GlobMax bounds a pattern, in bytes: the longest name that there is, a target's, pool and target and a slash between.
	GlobMax = 255 + 1 + 255
	// patternsMax bounds the patterns of a grant: one of each kind, and some tags.
	patternsMax = 8
	// grantMax bounds a grant's text, in bytes: patterns of usual length, all of them.
	grantMax = 4 * GlobMax
)

// Attributes are what patterns of a grant are held against: by kind (pool, target, region, tag, pop, policy, zone) the names that an
// object has. A lease over target web/fra1 has its pool, target, region and tags; one over region fra has its region alone.
type Attributes map[string][]string

// Grant permits a verb on a resource, for the objects that all of its patterns match: "leases:write pool=web*".
type Grant struct {
	Resource string // "*": all
	Verb     string // read, write, override; "*": all
	Objects  []Pattern
}

// Pattern is what an object's name has to be like; "*" stands for any run of characters.
type Pattern struct{ Kind, Glob string }

// resource is what grants are about.
type resource struct {
	name  string
	verbs []string
	kinds []string // of the patterns that its objects can be told by; none: it has no objects
}

// resources lists all that there are. leases:override is a right beside leases:write, and worth nothing without it.
func resources() []resource {
	read, targets := []string{"read"}, []string{"pool", "target", "region", "tag"}
	return []resource{
		{"status", read, nil},
		{"targets", read, targets},
		{"checks", read, nil},
		{"pools", read, []string{"pool"}},
		{"policies", read, []string{"policy"}},
		{"zones", read, []string{"zone"}},
		{"explain", read, []string{"policy"}},
		{"events", read, nil},
		{"audit", read, nil},
		{"metrics", read, nil},
		{"leases", []string{"read", "write", "override"}, targets},
		{"reload", []string{"write"}, nil},
		{"rum", []string{"read", "write"}, nil},
		{"votes", []string{"write"}, append([]string{"pop"}, targets...)},
	}
}

// resourceOf finds a resource; nil: there is none.
func resourceOf(name string) *resource {
	for _, r := range resources() {
		if r.name == name {
			return &r
		}
	}
	return nil
}

// ParseGrant reads a grant such as "leases:write pool=web*": a resource with a verb, either or both of them "*", and patterns that
// an object has to match, all of them. Between words stand blanks or commas.
func ParseGrant(text string) (Grant, error) {
	if len(text) > grantMax {
		return Grant{}, fmt.Errorf("a grant has at most %d bytes, not %d", grantMax, len(text))
	}
	words := strings.FieldsFunc(text, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' })
	if len(words) == 0 {
		return Grant{}, fmt.Errorf(`a grant such as "leases:write pool=web*" is wanted, not %q`, text)
	}
	var g Grant
	var found bool
	if g.Resource, g.Verb, found = strings.Cut(words[0], ":"); !found {
		return Grant{}, fmt.Errorf(`a grant begins with what it permits, such as leases:write, not with %q`, words[0])
	}
	kinds, err := g.check()
	if err != nil {
		return Grant{}, err
	}
	if len(words)-1 > patternsMax {
		return Grant{}, fmt.Errorf("a grant has at most %d patterns, not %d", patternsMax, len(words)-1)
	}
	for _, word := range words[1:] {
		p, err := g.pattern(word, kinds)
		if err != nil {
			return Grant{}, err
		}
		g.Objects = append(g.Objects, p)
	}
	return g, nil
}

// check says whether there is such a permission, and gives the kinds of patterns that it takes.
func (g *Grant) check() (kinds []string, err error) {
	var names, verbs []string
	for _, r := range resources() {
		names = append(names, r.name)
		if g.Resource == r.name {
			verbs, kinds = r.verbs, r.kinds
		}
		if g.Resource == "*" {
			verbs = append(verbs, r.verbs...)
		}
	}
	if verbs == nil {
		return nil, fmt.Errorf("there is no resource %q%s", g.Resource, oneOf(g.Resource, names))
	}
	if g.Verb != "*" && !slices.Contains(verbs, g.Verb) {
		slices.Sort(verbs)
		return nil, fmt.Errorf("%s has no verb %q%s", g.Resource, g.Verb, oneOf(g.Verb, slices.Compact(verbs)))
	}
	return kinds, nil
}

// oneOf says what would be right in place of a name.
func oneOf(name string, known []string) string {
	if near := source.Nearest(name, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; there are " + strings.Join(known, ", ")
}

// pattern reads one pattern.
func (g *Grant) pattern(word string, kinds []string) (Pattern, error) {
	kind, glob, found := strings.Cut(word, "=")
	switch {
	case !found:
		return Pattern{}, fmt.Errorf("a pattern such as pool=web* is wanted behind %s:%s, not %q", g.Resource, g.Verb, word)
	case g.Resource == "*":
		return Pattern{}, fmt.Errorf("%q: a grant on every resource takes no pattern, as not all have the same objects", word)
	case len(kinds) == 0:
		return Pattern{}, fmt.Errorf("%q: %s takes no pattern, as it has no objects", word, g.Resource)
	case !slices.Contains(kinds, kind):
		return Pattern{}, fmt.Errorf("%s cannot be told by %q%s", g.Resource, kind, oneOf(kind, kinds))
	case kind != "tag" && slices.ContainsFunc(g.Objects, func(p Pattern) bool { return p.Kind == kind }):
		// An object has one name of each kind but tags, and all patterns have to match: it would be a grant of nothing.
		return Pattern{}, fmt.Errorf("%s stands twice in one grant; for objects of either, write two grants", kind)
	}
	if err := checkGlob(glob); err != nil {
		return Pattern{}, fmt.Errorf("%s: %w", kind, err)
	}
	return Pattern{kind, glob}, nil
}

// checkGlob says what is wrong with a pattern's text. Blanks, commas and "#" end a word in a file of tokens.
func checkGlob(glob string) error {
	odd := func(c rune) bool { return c <= ' ' || c > '~' || c == ',' || c == '#' }
	if glob == "" || len(glob) > GlobMax || strings.ContainsFunc(glob, odd) {
		return fmt.Errorf("%.80q is no pattern: 1 to %d printable ASCII characters without blanks, commas and #; * stands for any run of them", glob, GlobMax)
	}
	return nil
}

// String writes the grant as ParseGrant reads it.
func (g Grant) String() string {
	words := []string{g.Resource + ":" + g.Verb}
	for _, p := range g.Objects {
		words = append(words, p.Kind+"="+p.Glob)
	}
	return strings.Join(words, " ")
}

// word writes it without blanks, for a field of a file.
func (g Grant) word() string { return strings.ReplaceAll(g.String(), " ", ",") }

// allows says whether the grant is of this resource and verb, whatever its objects.
func (g *Grant) allows(resource, verb string) bool {
	return (g.Resource == "*" || g.Resource == resource) && (g.Verb == "*" || g.Verb == verb)
}

// Covers says whether the grant permits a verb on a resource for an object with these attributes: each pattern has to match a
// name of its kind, so that an object without such a name is not covered.
func (g *Grant) Covers(resource, verb string, of Attributes) bool {
	if !g.allows(resource, verb) {
		return false
	}
	for _, p := range g.Objects {
		if !slices.ContainsFunc(of[p.Kind], func(name string) bool { return matches(p.Glob, name) }) {
			return false
		}
	}
	return true
}

// matches says whether a name is like a pattern. What stands between two stars is looked for once, from the left: if it is found
// anywhere, it is found there, with the most left for what follows. So a hostile pattern costs no more than any other.
func matches(glob, name string) bool {
	head, rest, star := strings.Cut(glob, "*")
	if !star {
		return glob == name
	}
	name, ok := strings.CutPrefix(name, head)
	for ok {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		_, name, ok = strings.Cut(name, part)
		rest = after
	}
	return false
}
