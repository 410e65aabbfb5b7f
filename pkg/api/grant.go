package api

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

// allows says whether the grant is of this resource and verb, whatever its objects.
func (g *Grant) allows(resource, verb string) bool {
	return (g.Resource == "*" || g.Resource == resource) && (g.Verb == "*" || g.Verb == verb)
}

// Covers says whether the grant permits a verb on a resource for an object with these attributes.
func (g *Grant) Covers(resource, verb string, _ Attributes) bool {
	return g.allows(resource, verb) && len(g.Objects) == 0
}
