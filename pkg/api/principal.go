package api

import (
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// Principal is who asks, as far as the credential says. Immutable.
type Principal struct {
	// Name is the owner of what is done: a token's name; certificate:NAME; oidc:NAME; local. None can be taken for another, as a
	// token's name holds no colon and is none of the words that the server uses for itself.
	Name   string
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

// localPrincipal is everybody where no credential is needed.
func localPrincipal() *Principal {
	return &Principal{Name: LocalOwner, By: ByLoopback, Grants: []Grant{{Resource: "*", Verb: "*"}}}
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

// permit is nil if who asks may do something to an object with these attributes, else the 403 of an operation.
func permit(ctx context.Context, resource, verb string, of Attributes) error {
	if principalOf(ctx).May(resource, verb, of) {
		return nil
	}
	return forbidden(ctx, resource, verb)
}

// forbidden is the 403 of an operation for who asks. The object is not named: who may not see it learns nothing of it.
func forbidden(ctx context.Context, resource, verb string) error {
	return huma.Error403Forbidden(principalOf(ctx).lacks(resource, verb))
}

// lacks says which grant is missing, and what there is of its kind.
func (p *Principal) lacks(resource, verb string) string {
	var have []string
	for i := range p.Grants {
		if p.Grants[i].allows(resource, verb) {
			have = append(have, p.Grants[i].String())
		}
	}
	if len(have) == 0 {
		return fmt.Sprintf("%s has no grant %s:%s", p.Name, resource, verb)
	}
	return fmt.Sprintf("%s has no grant %s:%s for this; there is %s", p.Name, resource, verb, strings.Join(have[:min(len(have), grantsShownMax)], "; "))
}

// grantsShownMax bounds the grants that an error lists.
const grantsShownMax = 5

// printable says whether a text from a credential can be a name in logs and documents: 1 to most bytes, nothing that a terminal obeys.
func printable(text string, most int) bool {
	unprintable := func(c rune) bool { return !unicode.IsPrint(c) }
	return text != "" && len(text) <= most && utf8.ValidString(text) && !strings.ContainsFunc(text, unprintable)
}
