package api

import "context"

// Principal is who asks, as far as the credential says. Immutable.
type Principal struct {
	Name   string // the owner of what is done
	By     string // ByLoopback, ByToken, ByCertificate, ByOIDC
	Grants []Grant
}

// What a Principal is known by.
const (
	ByLoopback    = "loopback" // nobody needs a credential here
	ByToken       = "token"
	ByCertificate = "certificate"
	ByOIDC        = "oidc"
)

// LocalOwner is the owner of what is done where no credential is needed.
const LocalOwner = "local"

// May says whether one of the grants covers a verb on a resource, for an object with these attributes.
func (p *Principal) May(resource, verb string, of Attributes) bool {
	for i := range p.Grants {
		if p.Grants[i].Covers(resource, verb, of) {
			return true
		}
	}
	return false
}

// MaySome says whether one of the grants covers a verb on a resource, for some object at least.
func (p *Principal) MaySome(resource, verb string) bool {
	for i := range p.Grants {
		if p.Grants[i].allows(resource, verb) {
			return true
		}
	}
	return false
}

// principalKey is where a request's context has its Principal.
type principalKey struct{}

// withPrincipal adds who asks to a request's context.
func withPrincipal(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// principalOf is who asks. Without the door, which is before every operation, it is nobody, who may do nothing.
func principalOf(ctx context.Context) *Principal {
	if p, ok := ctx.Value(principalKey{}).(*Principal); ok {
		return p
	}
	return &Principal{}
}
