package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"geodns/pkg/api"
	"geodns/pkg/rum"
)

// slowBeacon is decodeBeacon by encoding/json: keys are told apart by case, and of two the last counts.
func slowBeacon(body []byte) ([]rum.Sample, error) {
	var beacon map[string]json.RawMessage
	if err := json.Unmarshal(body, &beacon); err != nil || beacon == nil {
		return nil, errors.New("no JSON")
	}
	var version float64
	if raw := string(beacon["v"]); raw == "" || !strings.ContainsAny(raw[:1], "-0123456789") || json.Unmarshal(beacon["v"], &version) != nil || version != 1 {
		return nil, errors.New("no version")
	}
	var list []json.RawMessage
	if json.Unmarshal(beacon["samples"], &list) != nil || list == nil || len(list) > api.BeaconSamplesMax {
		return nil, errors.New("no samples")
	}
	out := []rum.Sample{}
	for _, raw := range list {
		out = append(out, slowSample(raw, false))
	}
	return out, nil
}

// slowSample reads one sample by encoding/json.
func slowSample(raw []byte, feed bool) rum.Sample {
	none := rum.Sample{Latency: -1}
	var keys map[string]any
	numbers := json.NewDecoder(bytes.NewReader(raw))
	numbers.UseNumber()
	if !json.Valid(raw) || numbers.Decode(&keys) != nil || keys == nil {
		return none
	}
	var one rum.Sample
	measured := false
	for key, value := range keys {
		if value == nil {
			continue
		}
		text, isText := value.(string)
		var err error
		switch {
		case key == "ms":
			var number json.Number
			number, measured = value.(json.Number)
			ms, _ := strconv.ParseFloat(string(number), 64)
			one.Latency = time.Duration(math.Max(-1e9, math.Min(ms, 1e9)) * 1e6)
			if !measured {
				return none
			}
			continue
		case key == "region":
			one.Region = text
		case key == "error":
			one.Failed = text != ""
		case key == "client" && feed:
			one.Client, err = netip.ParseAddr(text)
			one.Client = one.Client.Unmap()
		case key == "time" && feed:
			one.Time, err = time.Parse(time.RFC3339, text)
		default:
			continue
		}
		if !isText || err != nil {
			return none
		}
	}
	if !measured && !one.Failed {
		return none
	}
	return one
}

// seeds are beacons of all kinds.
func seeds() []string {
	return []string{
		`{"v": 1, "samples": [{"region": "fra", "ms": 41.5}, {"region": "iad", "error": "timeout"}]}`,
		`{"v":1.0,"samples":[{"region":"f\u0072a","ms":1e3,"ms":2},{"region":"köln","ms":-0},null,[],"x",{"region":7,"ms":1}]}`,
		`{"samples":[{"ms":1}],"samples":[{"Region":"fra","ms":0.1234567890123456789,"error":""}],"v":10e-1}`,
		`{"v":1,"samples":[{"region":"fra","ms":null,"error":null,"x":{"y":[1,true,false,null,"z"]}}],"more":[]}`,
		`{"v":true,"samples":{}}`, `[]`, `null`, `{}`, ``, ` { "v" : 1 , "samples" : [ ] } `, `{"v":1,"samples":[],}`, `{"v":01,"samples":[]}`,
		`{"v":1,"samples":[{"ms":1e999,"region":"a"}]}`, `{"v":1,"samples":[{"ms":1.,"region":"a"}]}`, `{"v":1,"samples":[{"ms":"1","region":"a"}]}`,
		"{\"v\":1,\"samples\":[{\"region\":\"\xff\x01\"}]}", `{"v":1,"samples":[{"error":"\ud800","region":"\"\\\/\b"}]}`, `{"v":1,"samples":null}`,
		`{"v":1,"samples":[{"ms":-5,"region":"fra"},{"ms":12345678901234567890,"region":"fra"}]}x`, `{"v":nope}`, `{"\v":1}`,
		`{"client":"203.0.113.7","region":"fra","ms":41.5,"time":"2026-01-02T03:04:05Z"}`, `{"client":"::ffff:1.2.3.4","region":"fra","error":"x","time":"now"}`,
	}
}

// FuzzBeacon holds the scanner against encoding/json, for beacons and for lines of a feed.
func FuzzBeacon(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := api.DecodeBeacon(body, netip.Addr{})
		line := api.DecodeLine(body)
		if strings.Count(string(body), "[")+strings.Count(string(body), "{") > api.JSONDepthMax {
			return // it may be too deep for the scanner alone
		}
		want, wrong := slowBeacon(body)
		if (err == nil) != (wrong == nil) || err == nil && !sameSamples(got, want) {
			t.Errorf("%q: %v, %v, want %v, %v", body, got, err, want, wrong)
		}
		if slow := slowSample(body, true); !sameSamples([]rum.Sample{line}, []rum.Sample{slow}) {
			t.Errorf("%q: %v, want %v", body, line, slow)
		}
	})
}

// sameSamples compares times by what they are.
func sameSamples(a, b []rum.Sample) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if !x.Time.Equal(y.Time) {
			return false
		}
		x.Time, y.Time = time.Time{}, time.Time{}
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

// TestBeaconDepth: what is nested deeper than a limit is no beacon, and costs no stack.
func TestBeaconDepth(t *testing.T) {
	for depth, good := range map[int]bool{1: true, 10: true, 30: false, 30_000: false} {
		body := `{"v":1,"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `,"samples":[]}`
		if _, err := api.DecodeBeacon([]byte(body), netip.Addr{}); (err == nil) != good {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}
