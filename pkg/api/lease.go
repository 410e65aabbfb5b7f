package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"geodns/pkg/operator"
)

// Leases is what the API asks of the book of leases. All funcs are needed. Owner and authority are the API's business; what a lease
// may be is the book's.
type Leases struct {
	// Put makes or changes a lease, and returns when the sockets answer by it. Its errors are those of operator.Book.
	Put func(context.Context, operator.Request) (LeaseResult, error)
	// End ends one, likewise.
	End func(ctx context.Context, id, owner, reason string, dryRun bool) (LeaseResult, error)
	// List are all leases, tombstones included, by id.
	List func() []operator.Lease
	// Get gives one of them by its id.
	Get func(id string) (operator.Lease, bool)
	// Touched counts the targets that a lease over an object touches now.
	Touched func(operator.Object) int
	// Attributes are what grants are held against for a lease over an object. An object that there is not has its name alone.
	Attributes func(operator.Object) Attributes
}

// LeaseResult is what became of a change, and of the world that serves it.
type LeaseResult struct {
	operator.Change

	World   string
	Elapsed time.Duration // until the sockets answered by it
}

// complete says whether nothing is missing.
func (l *Leases) complete() bool {
	return l.Put != nil && l.End != nil && l.List != nil && l.Get != nil && l.Touched != nil && l.Attributes != nil
}

// leaseForMax is above what any configuration allows, and far from what overflows a time.
const leaseForMax = 10 * 365 * 24 * time.Hour

// leaseDocumentsMax is how many leases a document lists: all that there may be, and their tombstones.
const leaseDocumentsMax = 10_000

// registerLeases adds what concerns leases.
func registerLeases(api huma.API, l *Leases) {
	registerLeaseList(api, l)
	registerPutLease(api, l)
	registerEndLease(api, l)
}

// LeaseList is what GET /v1/leases answers.
type LeaseList struct {
	Leases []Lease `json:"leases" doc:"By id"`
}

// registerLeaseList adds GET /v1/leases and GET /v1/leases/{id}.
func registerLeaseList(api huma.API, l *Leases) {
	type listInput struct {
		All bool `query:"all" doc:"Also those that ended, as far as they are kept"`
	}
	type listOutput struct{ Body LeaseList }
	huma.Register(api, needs(huma.Operation{
		OperationID: "leases", Method: http.MethodGet, Path: "/v1/leases", Summary: "What operators drained or hold",
	}, "leases", "read"), func(ctx context.Context, in *listInput) (*listOutput, error) {
		out := new(listOutput)
		out.Body.Leases = []Lease{}
		now := time.Now()
		for _, lease := range l.List() {
			if len(out.Body.Leases) < leaseDocumentsMax && (in.All || lease.Active(now)) && l.mayRead(ctx, &lease) {
				out.Body.Leases = append(out.Body.Leases, l.document(&lease, now))
			}
		}
		return out, nil
	})
	type input struct {
		ID string `path:"id" maxLength:"128"`
	}
	type output struct{ Body Lease }
	huma.Register(api, needs(huma.Operation{
		OperationID: "lease", Method: http.MethodGet, Path: "/v1/leases/{id}", Summary: "One lease, also after its end for a while",
		Errors: []int{http.StatusNotFound},
	}, "leases", "read"), func(ctx context.Context, in *input) (*output, error) {
		lease, found := l.Get(in.ID)
		if !found || !l.mayRead(ctx, &lease) { // ids have the names of objects in them: who may not read it does not learn that it is there
			return nil, noLease(in.ID)
		}
		return &output{l.document(&lease, time.Now())}, nil
	})
}

// mayRead says whether who asks may know of a lease.
func (l *Leases) mayRead(ctx context.Context, lease *operator.Lease) bool {
	return principalOf(ctx).May("leases", "read", l.Attributes(lease.Object))
}

// leaveReadable takes out of a status what who asks could not ask for by itself.
func (l *Leases) leaveReadable(ctx context.Context, s *Status) {
	who, now := principalOf(ctx), time.Now()
	if !who.MaySome("events", "read") {
		s.Events = nil
	}
	if who.May("leases", "read", nil) {
		return // all of them
	}
	var list []operator.Lease
	if who.MaySome("leases", "read") {
		list = slices.DeleteFunc(l.List(), func(lease operator.Lease) bool { return !lease.Active(now) || !l.mayRead(ctx, &lease) })
	}
	slices.SortStableFunc(list, func(a, b operator.Lease) int { return a.Expires.Compare(b.Expires) })
	s.Leases, s.LeaseN = nil, len(list)
	for i := range list[:min(len(list), LeasesListedMax)] {
		s.Leases = append(s.Leases, l.document(&list[i], now))
	}
}

// noLease says that there is no such lease.
func noLease(id string) error {
	return huma.Error404NotFound(fmt.Sprintf("there is no lease %q; GET /v1/leases lists them", id))
}

// putLeaseInput is a lease to make or change.
type putLeaseInput struct {
	ID     string `path:"id"       maxLength:"128" doc:"Of the caller's choice: the same id again changes the lease"`
	DryRun bool   `query:"dry_run" doc:"Say what would happen, and do nothing"`
	Body   PutLease
}

// request reads the document into the book's form.
func (in *putLeaseInput) request(owner string, now time.Time) (operator.Request, error) {
	b := &in.Body
	r := operator.Request{
		ID: in.ID, Action: operator.Action(b.Action), Object: operator.Object{Kind: operator.Kind(b.Kind), Name: b.Name}, State: b.State,
		Admit: b.Admit, Owner: owner, Reason: b.Reason, Ticket: b.Ticket, Expires: b.Expires.UTC(), Override: b.Override, DryRun: in.DryRun,
	}
	switch {
	case b.For > 0 && !b.Expires.IsZero():
		return r, invalid("body.for_seconds", "give for_seconds or expires, not both")
	case b.For > leaseForMax.Seconds():
		return r, invalid("body.for_seconds", fmt.Sprintf("no lease lasts longer than %s", leaseForMax))
	case b.For > 0:
		r.Expires = now.Add(time.Duration(b.For * float64(time.Second))).UTC()
	case b.Expires.IsZero():
		return r, invalid("body.expires", "a lease needs an end: for_seconds, or expires such as 2026-11-27T14:30:00Z")
	}
	return r, nil
}

// invalid refuses one field of a request.
func invalid(location, message string) error {
	return huma.Error422UnprocessableEntity("the request cannot be carried out", &huma.ErrorDetail{Location: location, Message: message})
}

// registerPutLease adds PUT /v1/leases/{id}.
func registerPutLease(api huma.API, l *Leases) {
	type output struct{ Body LeaseChange }
	huma.Register(api, needs(huma.Operation{
		OperationID: "put-lease", Method: http.MethodPut, Path: "/v1/leases/{id}", Summary: "Drain something, or hold it at a state or a part of its traffic",
		Description: "When the answer comes, the change is in the audit log on disk, and the sockets answer by it. The same request again changes nothing. " +
			"A change that would break something is refused with what, as a 409 whose errors have the location `guard`, unless `override` is set " +
			"and the credential has leases:override.",
		Errors:       []int{http.StatusConflict, http.StatusServiceUnavailable},
		MaxBodyBytes: bodyBytesMax,
	}, "leases", "write"), func(ctx context.Context, in *putLeaseInput) (*output, error) {
		r, err := in.request(principalOf(ctx).Name, time.Now())
		if err != nil {
			return nil, err
		}
		if err = l.mayPut(ctx, &r); err != nil {
			return nil, err
		}
		result, err := l.Put(ctx, r)
		if err != nil {
			return nil, leaseProblem(in.ID, err)
		}
		return &output{l.change(&result, in.DryRun)}, nil
	})
}

// mayPut refuses who may not make this lease, or may not change the one that has its id.
func (l *Leases) mayPut(ctx context.Context, r *operator.Request) error {
	if err := l.mayWrite(ctx, r.Object); err != nil {
		return err
	}
	if r.Override {
		if err := permit(ctx, "leases", "override", l.Attributes(r.Object)); err != nil {
			return err
		}
	}
	if before, found := l.Get(r.ID); found && before.Object != r.Object && before.Active(time.Now()) {
		return l.mayWrite(ctx, before.Object)
	}
	return nil
}

// mayWrite refuses who may not lay a lease over an object.
func (l *Leases) mayWrite(ctx context.Context, o operator.Object) error {
	return permit(ctx, "leases", "write", l.Attributes(o))
}

// registerEndLease adds DELETE /v1/leases/{id}.
func registerEndLease(api huma.API, l *Leases) {
	type input struct {
		ID     string `path:"id"       maxLength:"128"`
		DryRun bool   `query:"dry_run" doc:"Say what would happen, and do nothing"`
		Reason string `query:"reason"  maxLength:"500" doc:"For people, in a line"`
	}
	type output struct{ Body LeaseChange }
	huma.Register(api, needs(huma.Operation{
		OperationID: "end-lease", Method: http.MethodDelete, Path: "/v1/leases/{id}", Summary: "End a lease before its time",
		Description: "What it held goes back to what health and the other leases say. To end one that has ended changes nothing.",
		Errors:      []int{http.StatusNotFound, http.StatusServiceUnavailable},
	}, "leases", "write"), func(ctx context.Context, in *input) (*output, error) {
		lease, found := l.Get(in.ID)
		if !found {
			return nil, noLease(in.ID)
		}
		if err := l.mayWrite(ctx, lease.Object); err != nil {
			if !l.mayRead(ctx, &lease) {
				err = noLease(in.ID)
			}
			return nil, err
		}
		result, err := l.End(ctx, in.ID, principalOf(ctx).Name, in.Reason, in.DryRun)
		if err != nil {
			return nil, leaseProblem(in.ID, err)
		}
		return &output{l.change(&result, in.DryRun)}, nil
	})
}

// leaseProblem gives an error of the book its document.
func leaseProblem(id string, err error) error {
	if bad, ok := errors.AsType[*operator.RequestError](err); ok {
		return invalid("body."+bad.Field, bad.Message)
	}
	if guard, ok := errors.AsType[*operator.GuardError](err); ok {
		details := make([]error, len(guard.Breaks))
		for i, b := range guard.Breaks {
			details[i] = &huma.ErrorDetail{Location: guardLocation, Message: b}
		}
		return huma.Error409Conflict("a guard refuses this, for it would break something; nothing was changed", details...)
	}
	if conflict, ok := errors.AsType[*operator.ConflictError](err); ok {
		return huma.Error409Conflict(conflict.Error())
	}
	if errors.Is(err, operator.ErrNoLease) {
		return noLease(id)
	}
	return huma.Error503ServiceUnavailable(err.Error())
}

// guardLocation is where a problem says that a guard refuses.
const guardLocation = "guard"

// change gives a change its document.
func (l *Leases) change(r *LeaseResult, dryRun bool) LeaseChange {
	c := LeaseChange{
		Lease: l.document(&r.Lease, time.Now()), Changed: r.Changed, DryRun: dryRun, Breaks: nonNil(r.Breaks), Audit: r.Entry.Seq,
		World: r.World, Seconds: r.Elapsed.Seconds(),
	}
	if r.Before != nil {
		before := l.document(r.Before, time.Now())
		c.Before = &before
	}
	if r.Impact != nil {
		c.Impact = impactOf(r.Impact)
	}
	return c
}

// document gives a lease its document.
func (l *Leases) document(lease *operator.Lease, now time.Time) Lease {
	return LeaseOf(lease, now, l.Touched(lease.Object))
}

// LeaseOf gives a lease its document. touched is how many targets it touches.
func LeaseOf(lease *operator.Lease, now time.Time, touched int) Lease {
	return Lease{
		ID: lease.ID, Revision: lease.Revision, Action: string(lease.Action), Kind: string(lease.Object.Kind), Name: lease.Object.Name,
		State: lease.State, Admit: lease.Admit, Owner: lease.Owner, Reason: lease.Reason, Ticket: lease.Ticket, Override: lease.Override,
		Created: lease.Created, Updated: lease.Updated, Expires: lease.Expires, Active: lease.Active(now), Targets: touched,
		Ended: lease.Ended, EndedBy: lease.EndedBy, EndReason: lease.EndReason,
	}
}

// impactOf gives an impact its document.
func impactOf(i *operator.Impact) *Impact {
	out := &Impact{Share: i.Share, Failed: i.Failed, Sampled: i.Sampled, Left: i.Left, Policies: []PolicyImpact{}}
	for _, p := range i.Policies {
		d := PolicyImpact{Policy: p.Policy, Share: p.Share, Failed: p.Failed, Moves: []Move{}}
		for _, m := range p.Moves {
			d.Moves = append(d.Moves, Move{From: m.From, To: m.To, Share: m.Share})
		}
		out.Policies = append(out.Policies, d)
	}
	return out
}
