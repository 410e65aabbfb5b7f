// Package api is the HTTP side of a running server: the operators' API, its OpenAPI 3.1 description, metrics for Prometheus,
// health and readiness. It is thin: what it says comes from the values and funcs of its Config, and what it is asked to do
// it hands on to them. Documents have types of their own here, so that what users see changes only on purpose.
//
// Errors are problem documents (RFC 9457). The listener must be on loopback, and refuses what a web page of another origin could
// send. Where tokens are configured everything but metrics, health, readiness and the description needs one; who sends wrong ones
// is locked out for a while. Requests, headers, connections and times are bounded by the constants in api.go, tokens by those of
// token.go and auth.go, streams by those of events.go.
// Nothing here stands between a query and its answer. Called by internal/node; cmd/geodns reads the same documents.
package api
