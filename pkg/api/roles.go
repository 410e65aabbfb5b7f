package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"geodns/internal/source"
)

// Limits of the file of roles.
const (
	// RolesBytesMax bounds the file: some pages for a large company.
	RolesBytesMax = 1 << 20
	// rolesMax bounds the roles; there are fewer kinds of work than that.
	rolesMax = 256
	// bindingsMax bounds the certificates and the claims that have roles, each: a request is held against all of them, which takes
	// some 100 µs then.
	bindingsMax = 4096
	// claimMax bounds the name of a claim and its value, in bytes.
	claimMax = 255
)

// Roles are names for grants, and who has them beside the tokens that name one. Immutable; nil has none.
type Roles struct {
	grants       map[string][]Grant // by role
	certificates []certificateRoles
	claims       []claimRoles
}

// certificateRoles is what certificates may whose name is like a pattern.
type certificateRoles struct {
	glob  string
	roles []string
}

// claimRoles is what JWTs may whose claim is a text, or a list that holds it.
type claimRoles struct {
	claim, value string
	roles        []string
}

// Lines tell what each role may and who has it, a line each, in a fixed order. nil is no file, and has none.
func (r *Roles) Lines() []string {
	if r == nil {
		return nil
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(r.grants)) {
		var may []string
		for _, g := range r.grants[name] {
			may = append(may, g.String())
		}
		out = append(out, fmt.Sprintf("role %s may %s", name, strings.Join(may, "; ")))
	}
	for _, c := range r.certificates {
		out = append(out, fmt.Sprintf("certificate %s has %s", c.glob, strings.Join(c.roles, ", ")))
	}
	for _, c := range r.claims {
		out = append(out, fmt.Sprintf("claim %s of %s has %s", c.claim, c.value, strings.Join(c.roles, ", ")))
	}
	return out
}

// CheckRoleName says what is wrong with a role's name, nil if nothing is.
func CheckRoleName(name string) error {
	fits := func(c rune) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' }
	if name == "" || len(name) > TokenNameMax || strings.ContainsFunc(name, func(c rune) bool { return !fits(c) }) {
		return fmt.Errorf("a role's name is 1 to %d of a-z, 0-9 and '-', such as oncall", TokenNameMax)
	}
	return nil
}

// ParseRoles reads a file of roles:
//
//	roles: [{name: oncall, allow: ["*:read", "leases:write pool=web*"]}]
//	certificates: [{name: "*@example.com", roles: [oncall]}]
//	claims: [{claim: groups, value: dns-oncall, roles: [oncall]}]
//
// An empty file is fine: then nobody has a role. False: there was an error, and there are no roles.
func ParseRoles(file string, data []byte, fs *source.Findings) (*Roles, bool) {
	before := fs.Errors()
	value, ok := source.ParseYAML(file, data, fs)
	if !ok {
		return nil, false
	}
	p := rolesParser{fs: fs, roles: &Roles{grants: map[string][]Grant{}}, at: map[string]source.Place{}}
	if value.Exists() {
		p.file(value)
	}
	if fs.Errors() > before {
		return nil, false
	}
	return p.roles, true
}

// rolesParser has what was read so far.
type rolesParser struct {
	fs    *source.Findings
	roles *Roles
	at    map[string]source.Place // of roles, by name
}

// file reads the whole.
func (p *rolesParser) file(value source.Value) {
	root, ok := value.Map(p.fs, "roles", "certificates", "claims")
	if !ok {
		return
	}
	for _, m := range p.maps(root.Get("roles"), rolesMax, "name", "allow") {
		p.role(m)
	}
	for _, m := range p.maps(root.Get("certificates"), bindingsMax, "name", "roles") {
		name, place, ok := p.text(m, "name", GlobMax)
		if !ok {
			continue
		}
		if strings.TrimSpace(name) != name {
			p.fs.Errorf(place, "%q begins or ends with a blank, and no name of a certificate does", name)
		}
		p.roles.certificates = append(p.roles.certificates, certificateRoles{name, p.names(m)})
	}
	for _, m := range p.maps(root.Get("claims"), bindingsMax, "claim", "value", "roles") {
		claim, _, claimOK := p.text(m, "claim", claimMax)
		text, _, valueOK := p.text(m, "value", claimMax)
		if claimOK && valueOK {
			p.roles.claims = append(p.roles.claims, claimRoles{claim, text, p.names(m)})
		}
	}
}

// maps reads a list of mappings with these keys.
func (p *rolesParser) maps(value source.Value, most int, keys ...string) []source.Map {
	if !value.Exists() {
		return nil
	}
	items, ok := value.List(p.fs)
	if ok && len(items) > most {
		p.fs.Errorf(value.Place(), "at most %d are wanted here, not %d", most, len(items))
		return nil
	}
	var out []source.Map
	for _, item := range items {
		if m, ok := item.Map(p.fs, keys...); ok {
			out = append(out, m)
		}
	}
	return out
}

// text reads a string that must be there, printable and not too long.
func (p *rolesParser) text(m source.Map, key string, most int) (string, source.Place, bool) {
	value, ok := m.Need(p.fs, key)
	if !ok {
		return "", source.Place{}, false
	}
	text, ok := value.String(p.fs)
	if !ok {
		return "", source.Place{}, false
	}
	if !printable(text, most) {
		p.fs.Errorf(value.Place(), "%s is 1 to %d bytes of printable characters", key, most)
		return "", source.Place{}, false
	}
	return text, value.Place(), true
}

// role reads one role.
func (p *rolesParser) role(m source.Map) {
	name, place, ok := p.text(m, "name", TokenNameMax)
	if !ok {
		return
	}
	if err := CheckRoleName(name); err != nil {
		p.fs.Errorf(place, "%q: %v", name, err)
		return
	}
	if first, doubled := p.at[name]; doubled {
		p.fs.Errorf(place, "role %q stands in line %d already", name, first.Line)
		return
	}
	p.at[name] = place
	p.roles.grants[name] = nil
	allow, ok := m.Need(p.fs, "allow")
	if !ok {
		return
	}
	items, ok := allow.List(p.fs)
	if ok && len(items) > GrantsMax {
		p.fs.Errorf(allow.Place(), "a role has at most %d grants, not %d", GrantsMax, len(items))
		return
	}
	for _, item := range items {
		text, ok := item.String(p.fs)
		if !ok {
			continue
		}
		g, err := ParseGrant(text)
		if err != nil {
			p.fs.Errorf(item.Place(), "role %s: %v", name, err)
			continue
		}
		p.roles.grants[name] = append(p.roles.grants[name], g)
	}
}

// names reads the roles that somebody has.
func (p *rolesParser) names(m source.Map) []string {
	value, ok := m.Need(p.fs, "roles")
	if !ok {
		return nil
	}
	items, ok := value.List(p.fs)
	if ok && (len(items) == 0 || len(items) > GrantsMax) {
		p.fs.Errorf(value.Place(), "1 to %d roles are wanted here, not %d", GrantsMax, len(items))
		return nil
	}
	var out []string
	for _, item := range items {
		name, ok := item.String(p.fs)
		if !ok {
			continue
		}
		if _, known := p.at[name]; !known {
			p.fs.Errorf(item.Place(), "there is no role %.80q%s", name, p.meant(name))
			continue
		}
		out = append(out, name)
	}
	return out
}

// meant suggests a role.
func (p *rolesParser) meant(name string) string {
	if len(p.at) == 0 {
		return "; the file has no roles"
	}
	var known []string
	for k := range p.at {
		known = append(known, k)
	}
	slices.Sort(known)
	return oneOf(name, known[:min(len(known), grantsShownMax)])
}

// Has says whether there is a role.
func (r *Roles) Has(name string) bool {
	if r == nil {
		return false
	}
	_, known := r.grants[name]
	return known
}

// Count counts the roles.
func (r *Roles) Count() int {
	if r == nil {
		return 0
	}
	return len(r.grants)
}

// Bound counts the certificates and the claims that have roles.
func (r *Roles) Bound() (certificates, claims int) {
	if r == nil {
		return 0, 0
	}
	return len(r.certificates), len(r.claims)
}

// add adds what roles permit to what somebody may. A role that there is not permits nothing.
func (r *Roles) add(p *Principal, roles []string) {
	if r == nil {
		return
	}
	for _, role := range roles {
		p.Grants = append(p.Grants, r.grants[role]...)
	}
}

// Token is who has a token.
func (r *Roles) Token(t *Token) *Principal {
	p := &Principal{Name: t.Name, By: ByToken, Grants: slices.Clone(t.Scopes)}
	r.add(p, t.Roles)
	return p
}

// Certificate is who has a certificate of a name.
func (r *Roles) Certificate(name string) *Principal {
	p := &Principal{Name: ByCertificate + ":" + name, By: ByCertificate}
	if r == nil {
		return p
	}
	for i := range r.certificates {
		if matches(r.certificates[i].glob, name) {
			r.add(p, r.certificates[i].roles)
		}
	}
	return p
}

// JWT is who has a token of the issuer with these claims, by the one of them that is its name.
func (r *Roles) JWT(c *Claims) *Principal {
	p := &Principal{Name: ByOIDC + ":" + c.Name, By: ByOIDC}
	if r == nil {
		return p
	}
	for i := range r.claims {
		if c.has(r.claims[i].claim, r.claims[i].value) {
			r.add(p, r.claims[i].roles)
		}
	}
	return p
}
