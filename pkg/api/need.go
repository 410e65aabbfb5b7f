package api

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// need is the permission that an operation takes.
type need struct{ resource, verb string }

// String writes it as grants do.
func (n need) String() string { return n.resource + ":" + n.verb }

// needKey is where an operation keeps its need.
const needKey = "need"

// permissionKey is the extension of the API's description that names an operation's permission.
const permissionKey = "x-permission"

// Names of the security schemes in the API's description.
const (
	schemeBearer      = "bearer"
	schemeCertificate = "mutualTLS"
	schemeOIDC        = "openIdConnect"
)

// needs declares the permission that an operation takes. Whoever has it for some object at least gets to the handler, which asks
// permit about the object that it is about. An operation that is registered without a need makes NewHandler fail.
func needs(op huma.Operation, resource, verb string) huma.Operation {
	n := need{resource, verb}
	op.Metadata = maps.Clone(op.Metadata)
	if op.Metadata == nil {
		op.Metadata = map[string]any{}
	}
	op.Metadata[needKey] = n
	op.Extensions = maps.Clone(op.Extensions)
	if op.Extensions == nil {
		op.Extensions = map[string]any{}
	}
	op.Extensions[permissionKey] = n.String()
	op.Security = []map[string][]string{{schemeBearer: {}}, {schemeCertificate: {}}}
	op.Errors = append(slices.Clip(op.Errors), http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests)
	return op
}

// securitySchemes are how a client can say who it is. Without an issuer there is none to name.
func securitySchemes(issuer string) map[string]*huma.SecurityScheme {
	schemes := map[string]*huma.SecurityScheme{
		schemeBearer:      {Type: "http", Scheme: "bearer", Description: "A token made by `geodns token create`, or a JWT of the OIDC issuer. On a loopback listener without credentials none is needed."},
		schemeCertificate: {Type: "mutualTLS", Description: "A client certificate of api.client_ca."},
	}
	if issuer != "" {
		schemes[schemeOIDC] = &huma.SecurityScheme{Type: "openIdConnect", OpenIDConnectURL: strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"}
	}
	return schemes
}

// declaredNeeds is the need of each operation, by its pattern in the mux. The error names one that has none.
func declaredNeeds(document *huma.OpenAPI, issuer string) (map[string]need, error) {
	table := map[string]need{}
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		for method, op := range operationsOf(document.Paths[path]) {
			n, declared := op.Metadata[needKey].(need)
			if !declared {
				return nil, fmt.Errorf("api: %s %s declares no need", method, path)
			}
			r := resourceOf(n.resource)
			if r == nil || !slices.Contains(r.verbs, n.verb) {
				return nil, fmt.Errorf("api: %s %s needs %s, which nobody can grant", method, path, n)
			}
			if issuer != "" {
				op.Security = append(op.Security, map[string][]string{schemeOIDC: {}})
			}
			table[method+" "+path] = n
		}
	}
	return table, nil
}

// operationsOf lists the operations of a path by their methods.
func operationsOf(item *huma.PathItem) map[string]*huma.Operation {
	all := map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPut: item.Put, http.MethodPost: item.Post, http.MethodDelete: item.Delete,
		http.MethodOptions: item.Options, http.MethodHead: item.Head, http.MethodPatch: item.Patch, http.MethodTrace: item.Trace,
	}
	maps.DeleteFunc(all, func(_ string, op *huma.Operation) bool { return op == nil })
	return all
}
