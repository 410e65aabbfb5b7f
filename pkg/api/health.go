package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"geodns/pkg/health"
	"geodns/pkg/steering"
)

// Health is what the API asks of the checker. All funcs are needed.
type Health struct {
	// Vote hands a vote over. False without an error: one that is not older is known already. The error wraps health.ErrNoTarget
	// or health.ErrVote where it is the voter's.
	Vote func(ctx context.Context, target string, v health.Vote) (accepted bool, err error)
	// Checks are the documents of all checks, by name.
	Checks func() []Check
	// History gives the probes of a target that are kept, oldest first; false: no such target, or one without a check.
	History func(target string) ([]Probe, bool)
	// Tune replays the history of a check's targets through other thresholds; false: no such check.
	Tune func(check string, t health.Thresholds) (Tune, bool)
	// Events are what happens.
	Events *Events
}

// complete says whether nothing is missing.
func (h *Health) complete() bool {
	return h.Vote != nil && h.Checks != nil && h.History != nil && h.Tune != nil && h.Events != nil
}

// registerHealth adds what concerns checks and verdicts.
func registerHealth(api huma.API, cfg *Config) {
	h := &cfg.Health
	type checksOutput struct{ Body CheckList }
	huma.Register(api, needs(huma.Operation{
		OperationID: "checks", Method: http.MethodGet, Path: "/v1/checks", Summary: "Every check, with all that it leaves to defaults",
	}, "checks", "read"), func(context.Context, *struct{}) (*checksOutput, error) {
		out := new(checksOutput)
		out.Body.Checks = nonNil(h.Checks())
		return out, nil
	})
	registerHistory(api, h)
	registerTune(api, h)
	registerVotes(api, cfg)
	registerEvents(api, h.Events)
}

// registerHistory adds GET /v1/targets/{pool}/{target}/history.
func registerHistory(api huma.API, h *Health) {
	type input struct {
		Pool   string `path:"pool"   maxLength:"255"`
		Target string `path:"target" maxLength:"255"`
	}
	type output struct {
		Body History
	}
	huma.Register(api, needs(huma.Operation{
		OperationID: "history", Method: http.MethodGet, Path: "/v1/targets/{pool}/{target}/history", Summary: "The last probes of a target",
		Errors: []int{http.StatusNotFound},
	}, "checks", "read"), func(_ context.Context, in *input) (*output, error) {
		id := in.Pool + "/" + in.Target
		probes, ok := h.History(id)
		if !ok {
			return nil, noTarget(id)
		}
		return &output{History{Target: id, Probes: nonNil(probes)}}, nil
	})
}

// noTarget says that a target has no verdict of the checker's.
func noTarget(id string) error {
	return huma.Error404NotFound(fmt.Sprintf("there is no target %q, or its pool has no check; GET /v1/targets lists them", id))
}

// tuneInput is the question of GET /v1/checks/{check}/tune. Times are written as in the files.
type tuneInput struct {
	Check   string `path:"check"    maxLength:"255"`
	Fall    int    `query:"fall"    minimum:"0" maximum:"100" doc:"Failed probes in a row; 0: as the check has it"`
	Rise    int    `query:"rise"    minimum:"0" maximum:"100" doc:"Good probes in a row; 0: as the check has it"`
	Dwell   string `query:"dwell"   maxLength:"32" example:"30s" doc:"How long a target that is down stays so at least; 0s: no such time; absent: as the check has it"`
	Damping string `query:"damping" enum:"on,off" default:"on" doc:"off: as if targets that flap were not held down; on: as the check has it"`
	Outage  string `query:"outage"  maxLength:"32" example:"30s" doc:"A failover is false if probes were good again sooner than this; 0s: 30s"`
}

// thresholds reads the parameters.
func (in *tuneInput) thresholds() (health.Thresholds, error) {
	t := health.Thresholds{Fall: in.Fall, Rise: in.Rise, NoDamping: in.Damping == "off"}
	for _, p := range []struct {
		name, text string
		to         *time.Duration
	}{{"dwell", in.Dwell, &t.Dwell}, {"outage", in.Outage, &t.Outage}} {
		if p.text == "" {
			continue
		}
		d, err := time.ParseDuration(p.text)
		if err != nil || d < 0 {
			return t, huma.Error422UnprocessableEntity("the times cannot be read", &huma.ErrorDetail{
				Location: "query." + p.name, Message: "a time such as 30s or 5m is wanted", Value: p.text,
			})
		}
		*p.to = d
	}
	if in.Dwell != "" && t.Dwell == 0 {
		t.Dwell = health.NoDwell
	}
	return t, nil
}

// registerTune adds GET /v1/checks/{check}/tune.
func registerTune(api huma.API, h *Health) {
	type output struct{ Body Tune }
	huma.Register(api, needs(huma.Operation{
		OperationID: "tune", Method: http.MethodGet, Path: "/v1/checks/{check}/tune", Summary: "What other thresholds would have made of the probes that are kept",
		Errors: []int{http.StatusNotFound},
	}, "checks", "read"), func(_ context.Context, in *tuneInput) (*output, error) {
		thresholds, err := in.thresholds()
		if err != nil {
			return nil, err
		}
		report, ok := h.Tune(in.Check, thresholds)
		if !ok {
			return nil, huma.Error404NotFound(fmt.Sprintf("there is no check %q; GET /v1/checks lists them", in.Check))
		}
		return &output{report}, nil
	})
}

// votesInput is one vote.
type votesInput struct {
	PoP    string `path:"pop"    maxLength:"63" pattern:"^[!-~]+$" patternDescription:"printable ASCII characters without a space" doc:"The vantage point's name"`
	Pool   string `path:"pool"   maxLength:"255"`
	Target string `path:"target" maxLength:"255"`
	Body   PutVote
}

// vote reads the document into health's form.
func (in *votesInput) vote() (health.Vote, error) {
	v := health.Vote{
		PoP: in.PoP, Boot: in.Body.Boot, Sequence: in.Body.Sequence, Age: time.Duration(in.Body.Age * float64(time.Second)),
		Admit: steering.AdmitAll, Reason: in.Body.Reason,
	}
	switch in.Body.State { // others were refused before
	case "up":
		v.State = steering.Up
	case "degraded":
		v.State = steering.Degraded
	case "down":
		v.State = steering.Down
	}
	if in.Body.Admit != nil {
		v.Admit = uint16(math.Round(*in.Body.Admit * steering.AdmitAll))
	}
	unprintable := func(c rune) bool { return !unicode.IsPrint(c) }
	if len(v.Reason) > health.VoteReasonMax || strings.ContainsFunc(v.Reason, unprintable) {
		return v, huma.Error422UnprocessableEntity("the vote cannot be taken", &huma.ErrorDetail{
			Location: "body.reason", Message: fmt.Sprintf("at most %d bytes of printable characters are wanted", health.VoteReasonMax),
		})
	}
	return v, nil
}

// registerVotes adds PUT /v1/votes/{pop}/{pool}/{target}.
func registerVotes(api huma.API, cfg *Config) {
	type output struct{ Body VoteResult }
	huma.Register(api, needs(huma.Operation{
		OperationID: "vote", Method: http.MethodPut, Path: "/v1/votes/{pop}/{pool}/{target}", Summary: "What a vantage point sees of a target",
		Description: "Of two votes of a vantage point the one with the greater boot, and with equal boots the one with the greater sequence, " +
			"is the later. A vote counts until it is older than the check's votes may be.",
		Errors:       []int{http.StatusNotFound, http.StatusServiceUnavailable},
		MaxBodyBytes: bodyBytesMax,
	}, "votes", "write"), func(ctx context.Context, in *votesInput) (*output, error) {
		v, err := in.vote()
		if err != nil {
			return nil, err
		}
		id := in.Pool + "/" + in.Target
		of := maps.Clone(cfg.attributesOf(id))
		if of == nil {
			of = Attributes{}
		}
		of["pop"] = []string{in.PoP}
		if err = permit(ctx, "votes", "write", of); err != nil {
			return nil, err
		}
		accepted, err := cfg.Health.Vote(ctx, id, v)
		switch {
		case errors.Is(err, health.ErrNoTarget):
			return nil, noTarget(id)
		case errors.Is(err, health.ErrVote):
			return nil, huma.Error422UnprocessableEntity(err.Error())
		case err != nil:
			return nil, huma.Error503ServiceUnavailable("the vote was not taken: " + err.Error())
		}
		out := new(output)
		out.Body.Accepted = accepted
		return out, nil
	})
}

// registerEvents adds GET /v1/events.
func registerEvents(api huma.API, events *Events) {
	type input struct {
		Kinds []string `query:"kinds" maxItems:"16" enum:"verdict,lease,load,swap" example:"verdict,lease" doc:"The kinds of events that are wanted; none: all"`
		Last  string   `header:"Last-Event-ID" maxLength:"128" doc:"The id of the last event that was received: those after it come first, as far as they are kept"`
	}
	schemas := api.OpenAPI().Components.Schemas
	for name, of := range map[string]reflect.Type{
		"VerdictEvent": reflect.TypeFor[VerdictEvent](), "LeaseEvent": reflect.TypeFor[LeaseEvent](), "SwapEvent": reflect.TypeFor[SwapEvent](),
	} {
		schemas.Schema(of, true, name) // no operation has them as a body
	}
	huma.Register(api, needs(huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/v1/events", Summary: "What happens, as it happens: server-sent events",
		Description: "Events of the kind `verdict` have a VerdictEvent as their data, `lease` a LeaseEvent, `load` a Load with its first 10 findings, and `swap` a SwapEvent; " +
			"their ids are those of what happened. A listener is written to some times a second at most. Who does not keep up is cut off, " +
			"and so is everybody after a while, so that credentials are looked at again; come back with Last-Event-ID.",
		Errors: []int{http.StatusServiceUnavailable},
		Responses: map[string]*huma.Response{"200": {
			Description: "Events until either side ends it",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, "events", "read"), func(_ context.Context, in *input) (*huma.StreamResponse, error) {
		s := events.subscribe(in.Last, in.Kinds)
		if s == nil {
			return nil, huma.Error503ServiceUnavailable(fmt.Sprintf("there are %d streams already, or the server ends; try again later", SubscribersMax))
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			defer events.leave(s)
			request, w := humago.Unwrap(ctx)
			w.Header().Set("Content-Type", "text/event-stream")
			writer := http.NewResponseController(w)
			during, cancel := context.WithTimeout(request.Context(), streamLife)
			defer cancel()
			// How it ended is nobody's business: the other side is gone, or knows.
			_ = events.stream(during, s, func(text []byte) error {
				// Where the writer has no deadline, none needs to be moved.
				_ = writer.SetWriteDeadline(time.Now().Add(eventWriteTimeout))
				if _, err := w.Write(text); err != nil {
					return err
				}
				return writer.Flush()
			})
		}}, nil
	})
}
