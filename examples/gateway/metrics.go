package main

// What the gateway counts, for Prometheus. Any goroutine may count.

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec   // path, status
	seconds  *prometheus.HistogramVec // path
	first    prometheus.Histogram
	inFlight prometheus.Gauge
	shared   prometheus.Counter
	tokens   *prometheus.CounterVec // kind
	chosen   *prometheus.CounterVec // engine, by
	slices   *prometheus.CounterVec // engine
	up       *prometheus.GaugeVec   // engine
	starts   *prometheus.CounterVec // engine
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		options := prometheus.CounterOpts{Namespace: "weft_gateway", Name: name, Help: help}
		return prometheus.NewCounterVec(options, labels)
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("requests_total", "Requests answered.", "path", "status"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "weft_gateway", Name: "request_seconds",
			Help:    "Time from a request's head to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
		}, []string{"path"}),
		first: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "weft_gateway", Name: "first_token_seconds",
			Help:    "Time to a completion's first token.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "weft_gateway", Name: "completions_in_flight", Help: "Completions now.",
		}),
		shared: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "weft_gateway", Name: "shared_total",
			Help: "Completions that were computed for another, equal one at the same time.",
		}),
		tokens: counter("tokens_total", "Tokens asked (prompt), found in Weft when asked "+
			"(cached), read from it by engines (reused), computed (prefilled), written (written).",
			"kind"),
		chosen: counter("routed_total",
			"Prompts by engine, and by what it was chosen: its own blocks, or the least load.",
			"engine", "by"),
		slices: counter("slices_total", "Slices that an engine wrote.", "engine"),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "weft_gateway", Name: "engine_up", Help: "1 where the engine runs.",
		}, []string{"engine"}),
		starts: counter("engine_starts_total", "Processes that became ready.", "engine"),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.first, m.inFlight, m.shared, m.tokens,
		m.chosen, m.slices, m.up, m.starts, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) routed(to choice) {
	by := "load"
	if to.own > 0 {
		by = "blocks"
	}
	m.chosen.WithLabelValues(to.engine.name, by).Inc()
}

func (m *metrics) computed(by *engine, done answer) {
	m.slices.WithLabelValues(by.name).Inc()
	m.tokens.WithLabelValues("reused").Add(float64(done.counts.Reused))
	m.tokens.WithLabelValues("prefilled").Add(float64(done.counts.Prefilled))
	m.tokens.WithLabelValues("written").Add(float64(len(done.text)))
}

func (m *metrics) came(e *engine, up bool) {
	if up {
		m.up.WithLabelValues(e.name).Set(1)
		m.starts.WithLabelValues(e.name).Inc()
	} else {
		m.up.WithLabelValues(e.name).Set(0)
	}
}

func (m *metrics) began(prompt, cached int, shared bool) {
	m.tokens.WithLabelValues("prompt").Add(float64(prompt))
	m.tokens.WithLabelValues("cached").Add(float64(cached))
	if shared {
		m.shared.Inc()
	}
}

func (m *metrics) answered(path, status string, began time.Time) {
	m.requests.WithLabelValues(path, status).Inc()
	m.seconds.WithLabelValues(path).Observe(time.Since(began).Seconds())
}
