package api

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"geodns/pkg/health"
	"geodns/pkg/server"
)

// Limits of a scrape.
const (
	// scrapesMax bounds the scrapes at once: two scrapers and a person.
	scrapesMax = 4
	// scrapeTimeout is a scraper's usual own.
	scrapeTimeout = 10 * time.Second
)

// Metrics is where the counters are. The counts are kept by those who count, one set for each worker, and are summed when a
// scrape asks: nothing on the answer path knows of Prometheus.
type Metrics struct {
	// Server gives the answer path's counts.
	Server func() server.Stats
	// Regions gives the answers by region, RegionOther with them: also of regions that are not served any more.
	Regions func() map[string]uint64
	// Health gives the checker's counts.
	Health func() health.Stats
	// Loads counts the loads that ended.
	Loads func() LoadCounts
}

// LoadCounts counts the loads of files by their results, since the start.
type LoadCounts struct {
	Loaded, Unchanged, Refused uint64

	// Success is when the last load ended that was not refused; the first load counts.
	Success time.Time
}

// metricsHandler serves /metrics.
func metricsHandler(cfg *Config) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(cfg),
	} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesMax, Timeout: scrapeTimeout,
		EnableOpenMetrics: true, // the only text format with exemplars, for scrapers that ask for it
	}), nil
}

// collector renders what Config's funcs say at each scrape.
type collector struct {
	cfg *Config

	server serverDescs
	health healthDescs
	people operatorDescs
	rum    rumDescs

	build, ready, node                            *prometheus.Desc
	world, table, zones, records, policies, cells *prometheus.Desc
	loads, loadSuccess, loadSeconds               *prometheus.Desc
	targets, targetsInDoubt, targetsDrained       *prometheus.Desc
	geoBuilt, geoNetworks, geoCurrent             *prometheus.Desc
	inputs, inputModified                         *prometheus.Desc
	generation, streams, streamsDropped           *prometheus.Desc
}

// desc names a metric of ours.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("geodns_"+name, help, labels, nil)
}

// newCollector names everything once; names and labels are promises.
func newCollector(cfg *Config) *collector {
	return &collector{
		cfg:            cfg,
		server:         newServerDescs(),
		health:         newHealthDescs(),
		people:         newOperatorDescs(),
		rum:            newRUMDescs(),
		build:          desc("build_info", "The binary's version; 1.", "version", "goversion"),
		node:           desc("node_info", "The node's name; 1.", "node"),
		ready:          desc("ready", "Whether /readyz says yes, 0 or 1."),
		world:          desc("world_info", "The world served, by its content hash; 1.", "id"),
		table:          desc("table_info", "The compiled table served, by its content hash; 1.", "id"),
		zones:          desc("zones", "Zones served."),
		records:        desc("records", "Records of all zones."),
		policies:       desc("policies", "Policies served."),
		cells:          desc("cells", "Cells: blocks of clients that the table tells apart."),
		loads:          desc("reloads_total", "Loads of files that ended, by result; the first load of the process counts.", "result"),
		loadSuccess:    desc("reload_last_success_timestamp_seconds", "When the last load ended that was not refused."),
		loadSeconds:    desc("reload_last_duration_seconds", "How long the last load took."),
		targets:        desc("targets", "Targets by state.", "state"),
		targetsInDoubt: desc("targets_in_doubt", "Targets whose state is in doubt."),
		targetsDrained: desc("targets_drained", "Targets that leases keep out of answers, whatever their state."),
		geoBuilt:       desc("geo_database_build_timestamp_seconds", "When the geo database was built.", "path"),
		geoNetworks:    desc("geo_database_networks", "Networks with data in the geo database.", "path"),
		geoCurrent:     desc("geo_database_current", "Whether the file at path is the one in use, 0 or 1.", "path"),
		inputs:         desc("input_info", "What the node was made of, with commit and content hash where they are known; 1.", "input", "path", "commit", "hash"),
		inputModified:  desc("input_modified_timestamp_seconds", "When the last file of what is in use was changed.", "input", "path"),
		generation:     desc("world_generation", "Swaps of what is served in this process; the first world is 1."),
		streams:        desc("event_streams", "Listeners at /v1/events."),
		streamsDropped: desc("event_streams_dropped_total", "Listeners that were cut off as they did not keep up."),
	}
}

// Describe sends nothing: what a scrape holds depends on the configuration, and the registry checks it at the scrape.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect asks everyone once.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	emit := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		emit(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		emit(d, prometheus.CounterValue, float64(value), labels...)
	}
	gauge(c.build, 1, c.cfg.Version, runtime.Version())
	gauge(c.ready, truth(c.cfg.Ready() == nil))
	status := c.cfg.Status()
	c.collectStatus(&status, gauge)
	c.collectTargets(gauge)
	loads := c.cfg.Metrics.Loads()
	counter(c.loads, loads.Loaded, LoadLoaded)
	counter(c.loads, loads.Unchanged, LoadUnchanged)
	counter(c.loads, loads.Refused, LoadRefused)
	if !loads.Success.IsZero() {
		gauge(c.loadSuccess, seconds(loads.Success))
	}
	probes := c.cfg.Metrics.Health()
	c.health.collect(&probes, gauge, counter)
	c.health.collectHistograms(&probes, out)
	answers := c.cfg.Metrics.Server()
	c.server.collect(&answers, gauge, counter)
	for region, n := range c.cfg.Metrics.Regions() {
		counter(c.server.regionAnswers, n, region)
	}
	log := c.cfg.Audit.Status()
	c.people.collect(c.cfg.Leases.List(), &log, time.Now(), gauge)
	measured := c.cfg.RUM.Status()
	c.rum.collect(&measured, gauge, counter)
	listening, dropped := c.cfg.Health.Events.Streams()
	gauge(c.streams, float64(listening))
	counter(c.streamsDropped, dropped)
}

// gaugeFunc emits a gauge, counterFunc a counter.
type (
	gaugeFunc   func(d *prometheus.Desc, value float64, labels ...string)
	counterFunc func(d *prometheus.Desc, value uint64, labels ...string)
)

// collectStatus renders what is served.
func (c *collector) collectStatus(s *Status, gauge gaugeFunc) {
	gauge(c.node, 1, s.Node)
	gauge(c.world, 1, s.World.ID)
	gauge(c.table, 1, s.World.Table)
	gauge(c.zones, float64(s.World.ZoneN))
	gauge(c.records, float64(s.World.Records))
	gauge(c.policies, float64(s.World.Policies))
	gauge(c.cells, float64(s.World.Cells))
	if s.LastLoad.Result != LoadNone {
		gauge(c.loadSeconds, s.LastLoad.Seconds)
	}
	for _, db := range s.Geo {
		if !db.Built.IsZero() {
			gauge(c.geoBuilt, seconds(db.Built), db.Path)
		}
		gauge(c.geoNetworks, float64(db.Networks), db.Path)
		gauge(c.geoCurrent, truth(db.Refused == ""), db.Path)
	}
	gauge(c.generation, float64(s.World.Generation))
	for _, in := range s.Inputs {
		gauge(c.inputs, 1, in.Name, in.Path, in.Commit, in.Hash)
		if !in.Modified.IsZero() {
			gauge(c.inputModified, seconds(in.Modified), in.Name, in.Path)
		}
	}
}

// collectTargets counts targets by state, with a zero for a state that none is in, so that a change can be seen.
func (c *collector) collectTargets(gauge gaugeFunc) {
	states := map[string]int{"up": 0, "degraded": 0, "down": 0, "unknown": 0}
	doubts, drained := 0, 0
	for _, t := range c.cfg.Targets() {
		states[t.State]++
		if t.Drained {
			drained++
		}
		if t.InDoubt {
			doubts++
		}
	}
	for state, n := range states {
		gauge(c.targets, float64(n), state)
	}
	gauge(c.targetsInDoubt, float64(doubts))
	gauge(c.targetsDrained, float64(drained))
}

// seconds gives a time as Prometheus wants it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// truth gives 1 for true.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
