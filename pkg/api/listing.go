package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Listing gives the documents of what is served, each by name. All funcs are needed.
type Listing struct {
	Pools    func() []Pool
	Policies func() []Policy
	// Zones gives at most n zones whose names come after one in byte order, and how many there are in all.
	Zones func(after string, n int) (list []Zone, total int)
}

// PoolList is what GET /v1/pools answers.
type PoolList struct {
	Pools []Pool `json:"pools" doc:"Every pool, by name"`
}

// PolicyList is what GET /v1/policies answers.
type PolicyList struct {
	Policies []Policy `json:"policies" doc:"Every policy, by name"`
}

// ZoneList is what GET /v1/zones answers.
type ZoneList struct {
	Zones []Zone `json:"zones"       doc:"By name, in byte order"`
	Total int    `json:"zones_total" doc:"How many zones there are"`
}

// complete says whether nothing is missing.
func (l *Listing) complete() bool { return l.Pools != nil && l.Policies != nil && l.Zones != nil }

// registerListing adds GET /v1/pools, /v1/policies and /v1/zones.
func registerListing(api huma.API, l *Listing) {
	type poolsOutput struct{ Body PoolList }
	huma.Register(api, needs(huma.Operation{
		OperationID: "pools", Method: http.MethodGet, Path: "/v1/pools", Summary: "Every pool, with what of it may answer now",
	}, "pools", "read"), func(ctx context.Context, _ *struct{}) (*poolsOutput, error) {
		out := new(poolsOutput)
		out.Body.Pools = readable(ctx, "pools", l.Pools(), func(p *Pool) Attributes { return Attributes{"pool": {p.Name}} })
		return out, nil
	})

	type policiesOutput struct{ Body PolicyList }
	huma.Register(api, needs(huma.Operation{
		OperationID: "policies", Method: http.MethodGet, Path: "/v1/policies", Summary: "Every policy, with its rules and the names that it steers",
	}, "policies", "read"), func(ctx context.Context, _ *struct{}) (*policiesOutput, error) {
		out := new(policiesOutput)
		out.Body.Policies = readable(ctx, "policies", l.Policies(), func(p *Policy) Attributes { return Attributes{"policy": {p.Name}} })
		return out, nil
	})

	type zonesInput struct {
		After string `query:"after" maxLength:"1100" doc:"Zones whose names come after this one, to read on"`
		N     int    `query:"n"     minimum:"1" maximum:"10000" default:"1000" doc:"How many at most"`
	}
	type zonesOutput struct{ Body ZoneList }
	huma.Register(api, needs(huma.Operation{
		OperationID: "zones", Method: http.MethodGet, Path: "/v1/zones", Summary: "Zones, with their serials and files",
	}, "zones", "read"), func(ctx context.Context, in *zonesInput) (*zonesOutput, error) {
		out := new(zonesOutput)
		list, total := l.Zones(in.After, in.N)
		out.Body.Zones = readable(ctx, "zones", list, func(z *Zone) Attributes { return Attributes{"zone": {z.Origin}} })
		out.Body.Total = total
		return out, nil
	})
}

// readable leaves of a list what who asks may read.
func readable[T any](ctx context.Context, resource string, list []T, of func(*T) Attributes) []T {
	who, out := principalOf(ctx), make([]T, 0, len(list))
	for i := range list {
		if who.May(resource, "read", of(&list[i])) {
			out = append(out, list[i])
		}
	}
	return out
}
