package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"geodns/pkg/rum"
)

// Limits of a feed.
const (
	// bulkBytesMax bounds a body, both as it is sent and unpacked: some hundred thousand samples, which take a processor a second. Who
	// has more sends another.
	bulkBytesMax = 8 << 20
	// bulkLineMax bounds a line: a sample has some hundred bytes.
	bulkLineMax = 4 << 10
	// bulkBatch is how many samples are counted at a time: enough that locks are no matter, and memory neither.
	bulkBatch = 512
	// bulkTimeout bounds a request: 8 MiB at a megabit a second take longer than the listener allows.
	bulkTimeout = 2 * time.Minute
	// bulkWait bounds how long a feed waits for its first turn: longer than any burst takes, and shorter than a sender's patience.
	bulkWait = 2 * time.Second
	// bulkRetry is when a feed that had no turn may come again.
	bulkRetry = 5 * time.Second
)

// patternBulk takes larger bodies than the others, for longer.
const patternBulk = "POST /v1/rum/bulk"

// RUM is what the API asks of what users measured. All funcs are needed.
type RUM struct {
	// Add takes samples; each is counted, or refused with a reason.
	Add func([]rum.Sample) rum.Counts
	// Report gives the groups of networks that may be shown, those with the most samples first; it is the caller's.
	Report func() RUMReport
	// Status is how it stands.
	Status func() RUMStatus
	// Propose gives the change of the maps that the measurements support, at a percentile, beyond a band, from so many samples on.
	Propose func(percentile float64, band time.Duration, minSamples int) (RUMProposals, error)
}

// complete says whether nothing is missing.
func (c *RUM) complete() bool {
	return c.Add != nil && c.Report != nil && c.Status != nil && c.Propose != nil
}

// registerRUM adds GET /v1/rum and POST /v1/rum/bulk.
func registerRUM(api huma.API, c *RUM) {
	type input struct {
		Kind   string `query:"kind"   enum:"prefix,asn,country,continent" doc:"Groups of this kind alone"`
		Region string `query:"region" maxLength:"255" doc:"Of each group this region alone, and groups that know it"`
		N      int    `query:"n"      minimum:"1" maximum:"10000" default:"100" doc:"How many groups at most"`
	}
	type output struct{ Body RUMReport }
	huma.Register(api, needs(huma.Operation{
		OperationID: "rum", Method: http.MethodGet, Path: "/v1/rum", Summary: "What users measured, by groups of client networks",
		Description: "A group of few sources is not shown: it would tell of people, not of a network.",
	}, "rum", "read"), func(_ context.Context, in *input) (*output, error) {
		report := c.Report()
		report.Rungs = slices.DeleteFunc(nonNil(report.Rungs), func(r RUMRung) bool { return in.Kind != "" && r.Kind != in.Kind })
		if in.Region != "" {
			report.Rungs = ofRegion(report.Rungs, in.Region)
		}
		report.RungN = len(report.Rungs)
		report.Rungs = report.Rungs[:min(len(report.Rungs), in.N)]
		return &output{report}, nil
	})
	registerProposals(api, c)
	registerBulk(api, c, newTurns(runtime.GOMAXPROCS(0)))
}

// RUMProposals is what GET /v1/rum/proposals answers.
type RUMProposals struct {
	Proposals int    `json:"proposals_total" doc:"Areas and subnets of maps whose order the measurements would have otherwise"`
	Diff      string `json:"diff"            doc:"The change to the files, as git apply takes it, with a line of evidence above each"`
}

// registerProposals adds GET /v1/rum/proposals.
func registerProposals(api huma.API, c *RUM) {
	type input struct {
		Percentile float64 `query:"percentile"   minimum:"1" maximum:"99"     default:"75" doc:"Of the measured times"`
		Band       float64 `query:"band_seconds" minimum:"0" maximum:"10"     default:"0.015" doc:"Differences below it are none"`
		Samples    int     `query:"min_samples"  minimum:"1" maximum:"100000" default:"50" doc:"That a region needs in a group"`
	}
	type output struct{ Body RUMProposals }
	huma.Register(api, needs(huma.Operation{
		OperationID: "rum-proposals", Method: http.MethodGet, Path: "/v1/rum/proposals", Summary: "What the maps would be if they went by what users measured",
		Description: "Nothing is changed. Of areas that are a country or a continent, and of subnets of the length of a group.",
		Errors:      []int{http.StatusConflict},
	}, "rum", "read"), func(_ context.Context, in *input) (*output, error) {
		proposals, err := c.Propose(in.Percentile, time.Duration(in.Band*float64(time.Second)), in.Samples)
		if err != nil {
			return nil, huma.Error409Conflict("nothing can be proposed: " + err.Error())
		}
		return &output{proposals}, nil
	})
}

// ofRegion leaves one region of each group, and the groups that know it.
func ofRegion(rungs []RUMRung, region string) []RUMRung {
	for i := range rungs {
		rungs[i].Regions = slices.DeleteFunc(slices.Clone(rungs[i].Regions), func(r RUMRegion) bool { return r.Region != region })
	}
	return slices.DeleteFunc(rungs, func(r RUMRung) bool { return len(r.Regions) == 0 })
}

// bulkInput is the request of a feed; its body is read as it comes.
type bulkInput struct {
	ContentType     string `header:"Content-Type"     doc:"application/x-ndjson or text/csv"`
	ContentEncoding string `header:"Content-Encoding" doc:"gzip, or none"`

	body io.Reader
}

// Resolve takes the body before huma would.
func (in *bulkInput) Resolve(ctx huma.Context) []error {
	in.body = ctx.BodyReader()
	return nil
}

// registerBulk adds POST /v1/rum/bulk.
func registerBulk(api huma.API, c *RUM, t turns) {
	type output struct{ Body RUMCounts }
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	huma.Register(api, needs(huma.Operation{
		OperationID: "rum-bulk", Method: http.MethodPost, Path: "/v1/rum/bulk", Summary: "Take what users measured from a feed",
		Description: `NDJSON, a line such as {"client": "203.0.113.7", "region": "fra", "ms": 41.5, "time": "2026-01-02T03:04:05Z"}, or ` +
			`"error": "timeout" in place of ms, without a time now; or CSV with a header of the same names. At most 8 MiB, unpacked too. ` +
			`What is well-formed is a 202 even if every sample is refused. Lines before one that is too long, or before the end of a body that ` +
			`is, count.`,
		DefaultStatus: http.StatusAccepted,
		RequestBody:   &huma.RequestBody{Content: map[string]*huma.MediaType{"application/x-ndjson": text, "text/csv": text}},
		Errors: []int{
			http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusServiceUnavailable,
		},
	}, "rum", "write"), func(ctx context.Context, in *bulkInput) (*output, error) {
		if !t.first(ctx, bulkWait) {
			return nil, huma.ErrorWithHeaders(
				huma.Error503ServiceUnavailable("feeds take all the time that they may have, so that answers have theirs; nothing was taken, come again later"),
				http.Header{"Retry-After": {strconv.Itoa(int(bulkRetry.Seconds()))}},
			)
		}
		defer t.end()
		in.body = &turnReader{t, in.body}
		b := bulk{add: c.Add, counts: RUMCounts{Refused: map[rum.Refusal]int{}}}
		if err := b.take(in); err != nil {
			return nil, err
		}
		return &output{b.counts}, nil
	})
}

// turns are what feeds take before they use a processor: together they have half of them, so that one is free for a query at once. A
// free one is not enough: the scheduler's thread that waits for the network runs what has come, here a feed, and wakes no other to wait
// in its place, so that queries would wait until the feed's lines are read. Who yields has it wake one.
type turns chan struct{}

// newTurns makes the turns of so many processors.
func newTurns(processors int) turns { return make(turns, max(processors/2, 1)) }

// first waits for a turn; false: there is none in time.
func (t turns) first(ctx context.Context, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case t <- struct{}{}:
		runtime.Gosched()
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// next waits for another turn. Each is as long as a buffer of lines takes.
func (t turns) next() {
	t <- struct{}{}
	runtime.Gosched()
}

// end ends a turn.
func (t turns) end() { <-t }

// turnReader is a body whose reader has a turn, but not while it waits for its sender: who is slow holds nobody up.
type turnReader struct {
	turns turns
	from  io.Reader
}

// Read reads without a turn, and waits for the next.
func (r *turnReader) Read(to []byte) (int, error) {
	r.turns.end()
	defer r.turns.next()
	return r.from.Read(to)
}

// bulk is one feed on its way in.
type bulk struct {
	add     func([]rum.Sample) rum.Counts
	counts  RUMCounts
	samples []rum.Sample
	lines   int
}

// take reads a feed to its end. Errors are problem documents.
func (b *bulk) take(in *bulkInput) error {
	kind, _, err := mime.ParseMediaType(in.ContentType)
	if err != nil || kind != "application/x-ndjson" && kind != "text/csv" {
		return huma.Error415UnsupportedMediaType("a feed is application/x-ndjson or text/csv")
	}
	body := in.body
	switch strings.ToLower(in.ContentEncoding) { // RFC 9110 section 8.4.1
	case "", "identity":
	case "gzip":
		if body, err = gzip.NewReader(body); err != nil {
			return huma.Error400BadRequest("the feed is not packed by gzip, as it says")
		}
	default:
		return huma.Error415UnsupportedMediaType("a feed is sent as it is, or packed by gzip")
	}
	limited := &io.LimitedReader{R: body, N: bulkBytesMax + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, bulkLineMax), bulkLineMax)
	if kind == "text/csv" {
		err = b.csv(lines)
	} else {
		b.ndjson(lines)
	}
	b.flush()
	if err == nil {
		err = lines.Err()
	}
	return b.problem(err, limited.N == 0)
}

// problem is what is said of a feed that could not be read to its end.
func (b *bulk) problem(err error, large bool) error {
	so := fmt.Sprintf("; %d lines before it were taken, with %d samples that count", b.lines, b.counts.Accepted)
	_, cut := errors.AsType[*http.MaxBytesError](err)
	switch {
	case large || cut:
		return huma.Error413RequestEntityTooLarge(fmt.Sprintf("a feed has at most %d bytes, unpacked too", bulkBytesMax) + so)
	case err == nil:
		return nil
	case errors.Is(err, bufio.ErrTooLong):
		return huma.Error413RequestEntityTooLarge(fmt.Sprintf("a line has at most %d bytes", bulkLineMax) + so)
	case errors.Is(err, errHeader):
		return huma.Error400BadRequest(err.Error())
	}
	return huma.Error400BadRequest("the feed ends too soon, or is not packed as it says" + so)
}

// sample takes one more.
func (b *bulk) sample(s rum.Sample) {
	b.lines++
	if b.samples = append(b.samples, s); len(b.samples) == bulkBatch {
		b.flush()
	}
}

// flush has those that wait counted.
func (b *bulk) flush() {
	if len(b.samples) > 0 {
		b.counts.add(b.add(b.samples))
		b.samples = b.samples[:0]
	}
}

// ndjson reads lines of JSON. One that is none is a sample that is refused.
func (b *bulk) ndjson(lines *bufio.Scanner) {
	for lines.Scan() {
		if line := bytes.TrimSpace(lines.Bytes()); len(line) > 0 {
			b.sample(decodeLine(line))
		}
	}
}

// errHeader is of a CSV without the names that it needs.
var errHeader = errors.New("a CSV begins with a line of names: client, region, ms, and maybe time and error")

// csv reads lines of CSV below one of names. A field has no line end in it. Names that are not known are passed over.
func (b *bulk) csv(lines *bufio.Scanner) error {
	if !lines.Scan() {
		return errors.Join(lines.Err(), errHeader)
	}
	var columns []field
	names := csvFields(strings.TrimPrefix(lines.Text(), "\ufeff")) // Excel begins a file so
	for _, name := range names {
		columns = append(columns, fieldOf([]byte(strings.TrimSpace(name)), true))
	}
	has := func(f field) bool { return slices.Contains(columns, f) }
	if !has(fieldClient) || !has(fieldRegion) || !has(fieldMS) && !has(fieldError) {
		return errHeader
	}
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			b.sample(csvSample(columns, csvFields(line)))
		}
	}
	return nil
}

// csvFields splits a line; nil: it is none.
func csvFields(line string) []string {
	if !strings.Contains(line, `"`) {
		return strings.Split(line, ",")
	}
	fields, err := csv.NewReader(strings.NewReader(line)).Read()
	if err != nil {
		return nil
	}
	return fields
}

// csvSample reads a line's fields. An empty one is as if it were not there.
func csvSample(columns []field, values []string) rum.Sample {
	if len(values) != len(columns) {
		return malformed()
	}
	var one rum.Sample
	measured, good := false, true
	for i, f := range columns {
		text := strings.TrimSpace(values[i])
		switch {
		case f == fieldUnknown || text == "":
		case f == fieldMS:
			ms, err := strconv.ParseFloat(text, 64)
			good = good && err == nil && ms == ms // no NaN
			one.Latency, measured = duration(ms), true
		default:
			good = f.set(&one, []byte(text)) && good
		}
	}
	if !good || !measured && !one.Failed {
		return malformed()
	}
	return one
}
