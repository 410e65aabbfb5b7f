# The verbs of this project, here and in CI. Each is a line or two; what needs more is a script in .ci/.
#
#   FUZZTIME   what `fuzz` gives each target                  (20s)
#   PROVETIME  what `prove` gives each target                 (10m)
#   BENCHTIME  what `bench` gives each benchmark; CI says 1x  (0.5s)
#   ROUNDS     what `bench-peers` repeats, interleaved        (9)
#   SECONDS    of each load in it                             (1.5)
#   WORKLOADS  in it: of w1 w2 w3                             (all)
#   SERVERS    in it: of geodns gdnsd knot nsd bind pdns go-floor c-floor (all)
#   GROWTH_MAX the largest point that `bench-growth` measures (1000000)
#   GROWTH     in it: the curves, a pattern                   (all)
#   PKG        the packages that a verb works on              (./...)

GO        ?= go
GOLANGCI  := $(GO) tool -modfile=tools.mod golangci-lint
GOFUMPT   := $(GO) tool -modfile=tools.mod gofumpt
FUZZTIME  ?= 20s
PROVETIME ?= 10m
BENCHTIME ?= 0.5s
ROUNDS    ?= 9
SECONDS   ?= 1.5
WORKLOADS ?= w1 w2 w3
SERVERS   ?=
GROWTH_MAX ?= 1000000
GROWTH    ?= .*
PKG       ?= ./...

.PHONY: run build pgo man test race fuzz sim bench bench-peers bench-growth prove lint fmt gen check clean

run: build ## the sample: the server on 127.0.0.1:5300 with ./zones, and three back ends for its checks
	$(GO) build -trimpath -o bin/sample ./deploy/sample
	bin/sample bin/geodns serve

build: ## bin/geodns, static
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/geodns ./cmd/geodns

pgo: ## cmd/geodns/default.pgo, a profile of answering, which the next `build` goes by; bench/RESULTS.md says why none is kept
	mkdir -p bin
	$(GO) test -run '^$$' -bench '^BenchmarkAnswer$$/^(Static|Steered|SteeredECS|NXDOMAIN|NODATA|Referral|Chain)$$' -benchtime $(BENCHTIME) -o bin/answer.test -cpuprofile bin/answer.prof ./pkg/server
	$(GO) test -run '^$$' -bench '^BenchmarkServed$$/^(static|steered)$$' -benchtime 3s -o bin/served.test -cpuprofile bin/served.prof ./bench
	$(GO) tool pprof -proto -output cmd/geodns/default.pgo bin/answer.prof bin/served.prof

man: ## man/*.1, the manual; with SOURCE_DATE_EPOCH they have its day
	$(GO) run -tags man ./cmd/geodns man man

test: ## every test, its random ones in a short sample
	$(GO) test -timeout 10m $(PKG)

race: ## the same under the race detector
	$(GO) test -race -timeout 15m $(PKG)

fuzz: ## every fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME) $(PKG)

sim: ## the scenarios, random schedules and twins alone, seeds printed
	$(GO) test -count=1 -v -run 'Sim|Scenario|Random|Twin|Schedule' $(PKG)

bench: ## every benchmark for BENCHTIME, and again what the parts of an answer cost
	.ci/bench $(BENCHTIME) $(PKG)

bench-peers: build ## geodns beside gdnsd, NSD, Knot, BIND, PowerDNS and two floors; rewrites its part of bench/RESULTS.md
	$(GO) build -trimpath -o bin/peers ./bench/peers
	bin/peers -rounds $(ROUNDS) -seconds $(SECONDS) -workloads "$(WORKLOADS)" -servers "$(SERVERS)"

bench-growth: ## what queries, memory, loads and swaps cost from few things to many; rewrites bench/growth. 10,000,000 takes 6 GB
	GEODNS_GROWTH_MAX=$(GROWTH_MAX) $(GO) test -run '^$$' -bench '^BenchmarkGrowth$$/^($(GROWTH))$$' -benchtime $(BENCHTIME) -timeout 2h ./pkg/server | $(GO) run ./bench/growth

prove: ## the long versions: tests with GEODNS_PROVE=1, then PROVETIME of each fuzz target
	GEODNS_PROVE=1 $(GO) test -count=1 -timeout 3h $(PKG)
	.ci/fuzz $(PROVETIME) $(PKG)

lint: ## format, vet for the platforms we build for, linters, and that everything generated is current
	@diff=$$($(GOFUMPT) -d .); [ -z "$$diff" ] || { printf '%s\n' "$$diff" "lint: run make fmt" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags man ./cmd/geodns
	GOOS=linux GOARCH=arm64 $(GO) vet ./...
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	$(GOLANGCI) run ./...
	$(GO) fix -diff ./...
	$(GO) mod tidy -diff
	.ci/gen-current

fmt: ## gofumpt and goimports, in place
	$(GOLANGCI) fmt ./...

gen: ## what `go generate` makes, the dependency list, the API's description
	$(GO) generate ./...
	$(GO) test -count=1 -run '^TestDependencies$$' . -update
	$(GO) test -count=1 -run '^TestOpenAPI$$' ./pkg/api -update

check: lint test race ## all that a change should pass

clean:
	rm -rf bin man
