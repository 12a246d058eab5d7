package main

// The paths of the gateway, and what all of them share: how failures are told, counted and logged.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const writePatience = 10 * time.Second // a client that takes nothing for so long is gone

// statusGone is what servers log of a client that did not wait for its answer.
const statusGone = 499

type server struct {
	model       string
	context     int   // tokens of a prompt with its answer
	bytesMax    int64 // of a body
	requestsMax int64 // completions in flight
	began       time.Time

	cache    *prefixes
	router   *router
	flights  *flights
	metrics  *metrics
	requests atomic.Int64 // completions in flight
	numbers  atomic.Int64
	stopping atomic.Bool
}

// exchange is one request: what its log line tells, and why it broke off behind its head, if so.
type exchange struct {
	http.ResponseWriter
	status int
	broken *failure
	notes  []any
}

// WriteHeader keeps the status.
func (x *exchange) WriteHeader(status int) {
	x.status = status
	x.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, level slog.Level,
		answer func(*exchange, *http.Request) *failure,
	) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			began, x := time.Now(), &exchange{ResponseWriter: w, status: http.StatusOK}
			var bad *failure
			if r.Method == method {
				bad = answer(x, r)
			} else {
				w.Header().Set("Allow", method)
				bad = refused(http.StatusMethodNotAllowed, "", "%s takes %s", path, method)
			}
			s.finish(x, r, bad, path, began, level)
		})
	}
	handle(http.MethodPost, "/v1/completions", slog.LevelInfo, s.completions)
	handle(http.MethodPost, "/v1/prefix", slog.LevelDebug, s.prefix)
	handle(http.MethodGet, "/v1/models", slog.LevelDebug, s.models)
	handle(http.MethodGet, "/healthz", slog.LevelDebug, s.health)
	mux.Handle("/metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{ResponseWriter: w}
		s.finish(x, r, refused(http.StatusNotFound, "", "there is no %s", r.URL.Path), "other",
			time.Now(), slog.LevelDebug)
	})
	return mux
}

// finish tells what went wrong, if something did, counts and logs.
func (s *server) finish(
	x *exchange, r *http.Request, bad *failure, path string, began time.Time, level slog.Level,
) {
	if bad != nil {
		if bad.status == http.StatusTooManyRequests || bad.status == http.StatusServiceUnavailable {
			x.Header().Set("Retry-After", "1")
		}
		x.status = bad.status
		if bad.status != statusGone {
			reply(x, bad.status, bad.body())
		}
	} else if bad = x.broken; bad != nil {
		x.status = bad.status
	}
	s.metrics.answered(path, strconv.Itoa(x.status), began)
	if x.status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if !slog.Default().Enabled(r.Context(), level) {
		return
	}
	notes := append([]any{"path", path, "status", x.status, "ms",
		float64(time.Since(began).Microseconds()) / 1000}, x.notes...)
	if bad != nil {
		notes = append(notes, "error", bad.message)
	}
	slog.Log(r.Context(), level, "request", notes...)
}

func reply(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // what is told here are maps and structs of plain values
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that is gone needs no answer
}

// failed makes the answer of what ended a flight, or the wait for it.
func failed(r *http.Request, err error) *failure {
	f := &failure{kind: "server_error", message: err.Error()}
	switch {
	case r.Context().Err() != nil:
		f.status = statusGone
	case errors.Is(err, errStopped):
		f.status, f.code = http.StatusServiceUnavailable, "stopping"
	case errors.Is(err, context.DeadlineExceeded):
		f.status, f.code = http.StatusGatewayTimeout, "timeout"
	default:
		f.status, f.code = http.StatusBadGateway, "engine_failed"
	}
	return f
}

// prefix answers what of a prompt is cached, and which engine would be asked; it asks none.
func (s *server) prefix(x *exchange, r *http.Request) *failure {
	var q lookup
	if bad := read(x, r, s.bytesMax, &q); bad != nil {
		return bad
	}
	keys, err := s.cache.keys(q.Prompt)
	if err != nil {
		return refused(http.StatusBadRequest, "prompt", "%v", err)
	}
	answer := struct {
		Tokens int     `json:"tokens"`
		Cached int     `json:"cached_tokens"`
		Engine *string `json:"engine"` // null where none runs
	}{Tokens: len(q.Prompt), Cached: s.cache.cached(r.Context(), keys)}
	if chosen, ok := s.router.look(keys); ok {
		answer.Engine = &chosen.engine.name
	}
	reply(x, http.StatusOK, answer)
	return nil
}

func (s *server) models(x *exchange, _ *http.Request) *failure {
	reply(x, http.StatusOK, map[string]any{"object": "list", "data": []any{map[string]any{
		"id": s.model, "object": "model", "created": s.began.Unix(), "owned_by": "weft",
	}}})
	return nil
}

// health is 200 while requests are taken and an engine runs.
func (s *server) health(x *exchange, _ *http.Request) *failure {
	engines, status := map[string]string{}, http.StatusServiceUnavailable
	for _, e := range s.router.engines {
		engines[e.name] = "down"
		if e.up() {
			engines[e.name], status = "up", http.StatusOK
		}
	}
	if s.stopping.Load() {
		status = http.StatusServiceUnavailable
	}
	reply(x, status, map[string]any{"engines": engines, "stopping": s.stopping.Load()})
	return nil
}

func (s *server) number() string {
	return fmt.Sprintf("cmpl-%x-%d", s.began.UnixNano(), s.numbers.Add(1))
}
