package main

// A completion: as one answer, or as a stream of events while it is computed.
//
// Invariant: nothing is sent before the first text is there, so that what fails until then fails
// with its status; what fails later is told as an event `error` in the stream, without [DONE].

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

type completion struct {
	server  *server
	request request
	id      string
	created int64
	flight  *flight
	shared  bool
	cached  int // tokens
	written int // tokens taken from the flight
	seen    progress
	reason  string // finish_reason, when it is known
}

func (s *server) completions(x *exchange, r *http.Request) *failure {
	began := time.Now()
	c := &completion{server: s, id: s.number(), created: began.Unix()}
	if bad := read(x, r, s.bytesMax, &c.request); bad != nil {
		return bad
	}
	if bad := c.request.check(s.model, s.context); bad != nil {
		return bad
	}
	defer s.requests.Add(-1)
	if s.requests.Add(1) > s.requestsMax {
		return &failure{
			status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "too_many_requests",
			message: fmt.Sprintf("%d requests are being answered, the most", s.requestsMax),
		}
	}
	s.metrics.inFlight.Inc()
	defer s.metrics.inFlight.Dec()
	keys, err := s.cache.keys(c.request.Prompt)
	if err != nil {
		return refused(http.StatusBadRequest, "prompt", "%v", err)
	}
	c.cached = s.cache.cached(r.Context(), keys)
	c.flight, c.shared = s.flights.join(string(c.request.Prompt), keys, *c.request.MaxTokens)
	defer s.flights.leave(c.flight)
	s.metrics.began(len(c.request.Prompt), c.cached, c.shared)

	c.seen, err = s.flights.next(r.Context(), c.flight, 0)
	if err != nil {
		return failed(r, err)
	}
	s.metrics.first.Observe(time.Since(began).Seconds())
	x.Header().Set("X-Weft-Cached-Tokens", strconv.Itoa(c.cached))
	x.Header().Set("X-Weft-Engine", c.seen.engine)
	x.Header().Set("X-Weft-Shared", strconv.FormatBool(c.shared))
	x.notes = []any{"prompt", len(c.request.Prompt), "cached", c.cached, "shared", c.shared,
		"engine", c.seen.engine}
	if c.request.Stream {
		c.stream(x, r)
		return nil
	}
	var text strings.Builder
	err = c.follow(r, func(more string) error {
		text.WriteString(more)
		return nil
	})
	if err != nil {
		return failed(r, err)
	}
	answer := c.piece(text.String(), true)
	answer["usage"] = c.usage()
	reply(x, http.StatusOK, answer)
	return nil
}

// follow gives the text as it grows to put, until there is enough of it. Errors: the flight's; the
// request's context's; put's.
func (c *completion) follow(r *http.Request, put func(string) error) error {
	cut := cutter{stops: c.request.Stop}
	for {
		more := c.seen.text[:min(len(c.seen.text), *c.request.MaxTokens-c.written)]
		c.written += len(more)
		text := cut.add(more)
		switch {
		case cut.stopped:
			c.reason = "stop"
		case c.written == *c.request.MaxTokens:
			c.reason = "length"
			text += cut.end()
		}
		if text != "" {
			if err := put(text); err != nil {
				return err
			}
		}
		if c.reason != "" {
			return nil
		}
		var err error
		if c.seen, err = c.server.flights.next(r.Context(), c.flight, c.written); err != nil {
			return err
		}
	}
}

// stream sends events.
func (c *completion) stream(x *exchange, r *http.Request) {
	x.Header().Set("Content-Type", "text/event-stream")
	x.Header().Set("Cache-Control", "no-cache")
	x.WriteHeader(http.StatusOK)
	control := http.NewResponseController(x)
	send := func(data []byte) error {
		if err := control.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(x, "data: %s\n\n", data); err != nil {
			return err
		}
		return control.Flush()
	}
	sendJSON := func(value any) error {
		data, err := json.Marshal(value)
		if err != nil {
			return err
		}
		return send(data)
	}
	err := c.follow(r, func(text string) error { return sendJSON(c.piece(text, false)) })
	if err != nil {
		x.broken = failed(r, err)
		_ = sendJSON(x.broken.body())
		return
	}
	_ = sendJSON(c.piece("", true))
	if c.request.Options.IncludeUsage {
		last := c.piece("", false)
		last["choices"], last["usage"] = []any{}, c.usage()
		_ = sendJSON(last)
	}
	_ = send([]byte("[DONE]"))
}

// piece is the whole answer, or an event of the stream; the last one tells why it ends and what the
// engine counted.
func (c *completion) piece(text string, last bool) map[string]any {
	choice := map[string]any{"text": text, "index": 0, "logprobs": nil, "finish_reason": nil}
	piece := map[string]any{
		"id": c.id, "object": "text_completion", "created": c.created,
		"model": c.server.model, "choices": []any{choice},
	}
	if last {
		choice["finish_reason"] = c.reason
		piece["weft"] = map[string]any{
			"engine": c.seen.engine, "shared": c.shared, "cached_tokens": c.cached,
			"prompt": c.seen.counts,
		}
	}
	return piece
}

func (c *completion) usage() map[string]any {
	return map[string]any{
		"prompt_tokens": len(c.request.Prompt), "completion_tokens": c.written,
		"total_tokens":          len(c.request.Prompt) + c.written,
		"prompt_tokens_details": map[string]any{"cached_tokens": c.cached},
	}
}
