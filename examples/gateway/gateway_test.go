package main

// What the tests of the gateway use: a real node in this process, engines as processes (PARROT is
// parrot's program, which tests/gateway/run.sh builds), and clients over HTTP.

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

const patience = 30 * time.Second // for what should take a second at most

func TestMain(m *testing.M) {
	level := slog.LevelError + 1
	if os.Getenv("GATEWAY_LOG") != "" {
		level = slog.LevelDebug
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
	os.Exit(m.Run())
}

// rig is a gateway with its node.
type rig struct {
	*testing.T
	*gateway
	node *weft.Store
	url  string
}

// newRig runs a gateway with an engine for each list of parrot's flags, and more flags of its own.
func newRig(t *testing.T, engines []string, flags ...string) *rig {
	t.Helper()
	arguments, node := toStart(t, engines, flags...)
	s, err := settingsOf(arguments)
	if err != nil {
		t.Fatal(err)
	}
	g, err := start(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	return &rig{t, g, node, "http://" + g.address}
}

// toStart opens a node and gives the gateway's arguments.
func toStart(t *testing.T, engines []string, flags ...string) ([]string, *weft.Store) {
	t.Helper()
	parrot := os.Getenv("PARROT")
	if parrot == "" {
		t.Fatal("PARROT is not set to parrot's program: tests/gateway/run.sh does it")
	}
	folder, err := os.MkdirTemp("", "gw") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	address := "unix:" + filepath.Join(folder, "w.sock")
	node, err := weft.Open("memory=64MiB,listen=" + address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { node.Close() })
	arguments := []string{
		"-listen", "127.0.0.1:0", "-store", address, "-namespace", "gateway/parrot",
		"-model", "parrot",
	}
	for at, more := range engines {
		command := fmt.Sprintf("%s -store %s -version {now} %s", parrot, address, more)
		arguments = append(arguments, "-engine", fmt.Sprintf("e%d=%s", at, command))
	}
	return append(arguments, flags...), node
}

// written is what parrot writes behind a prompt.
func written(prompt string, size int) string {
	text := []byte(prompt)
	for range size {
		text = append(text, 'a'+byte(crc32.ChecksumIEEE(text)%26))
	}
	return string(text[len(prompt):])
}

// body is the JSON of a request from name, value, ...
func body(pairs ...any) string {
	object := map[string]any{}
	for at := 0; at < len(pairs); at += 2 {
		object[pairs[at].(string)] = pairs[at+1]
	}
	text, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// said is an answer, of whatever kind.
type said struct {
	status int
	head   http.Header
	raw    string

	ID      string
	Model   string
	Choices []struct {
		Text   string
		Reason *string `json:"finish_reason"`
	}
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Details    struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	}
	Error *struct {
		Message, Type string
		Param, Code   *string
	}
	Tokens int
	Cached int `json:"cached_tokens"`
	Engine *string
}

func (r *rig) post(path, body string) said {
	r.Helper()
	response, err := http.Post(r.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		r.Error(err)
		return said{}
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		r.Error(err)
	}
	answer := said{status: response.StatusCode, head: response.Header, raw: string(raw)}
	if err := json.Unmarshal(raw, &answer); err != nil {
		r.Errorf("%s %s: %q: %v", path, body, raw, err)
	}
	return answer
}

// complete asks for size tokens behind a prompt and checks what is answered.
func (r *rig) complete(prompt string, size int) said {
	r.Helper()
	answer := r.post("/v1/completions", body("prompt", prompt, "max_tokens", size))
	if answer.status != http.StatusOK || answer.Choices[0].Text != written(prompt, size) {
		r.Errorf("behind %.40q: %d %s", prompt, answer.status, answer.raw)
	}
	return answer
}

// stream is a completion that is read event by event.
type stream struct {
	*rig
	response *http.Response
	lines    *bufio.Scanner
	cancel   context.CancelFunc
	text     string
	reason   string
	done     bool // [DONE] was said
	broken   string
}

func (r *rig) stream(pairs ...any) *stream {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.Cleanup(cancel)
	asked := strings.NewReader(body(append(pairs, "stream", true)...))
	request, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/v1/completions", asked)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { response.Body.Close() })
	if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" {
		r.Fatalf("%s %s", response.Status, kind)
	}
	s := &stream{rig: r, response: response, lines: bufio.NewScanner(response.Body), cancel: cancel}
	return s
}

// next reads an event; false: there are no more.
func (s *stream) next() bool {
	for s.lines.Scan() {
		data, found := strings.CutPrefix(s.lines.Text(), "data: ")
		switch {
		case !found && s.lines.Text() == "":
			continue
		case !found || s.done:
			s.Errorf("%q is no event, or comes after [DONE]", s.lines.Text())
		case data == "[DONE]":
			s.done = true
			continue
		}
		var event said
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			s.Errorf("%q: %v", data, err)
		}
		if event.Error != nil {
			s.broken = event.Error.Message
		}
		for _, choice := range event.Choices {
			s.text += choice.Text
			if choice.Reason != nil {
				s.reason = *choice.Reason
			}
		}
		return true
	}
	return false
}

func (s *stream) rest() *stream {
	for s.next() {
	}
	return s
}

// count is a counter or gauge of /metrics; the sum, where there are several with these words in
// their line.
func (r *rig) count(name string, labels ...string) (sum float64) {
	r.Helper()
	response, err := http.Get(r.url + "/metrics")
	if err != nil {
		r.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
next:
	for lines.Scan() {
		line, found := strings.CutPrefix(lines.Text(), "weft_gateway_"+name)
		if !found || line[0] != ' ' && line[0] != '{' {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(line, label) {
				continue next
			}
		}
		var value float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &value); err != nil {
			r.Fatal(line, err)
		}
		sum += value
	}
	return sum
}

// soon waits until something is so.
func (r *rig) soon(what string, so func() bool) {
	r.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// idle waits until nothing is in flight and every engine runs and has nothing to do.
func (r *rig) idle() {
	r.Helper()
	r.soon("no flights, all engines up and without load", func() bool {
		flights, router := r.server.flights, r.server.router
		flights.lock.Lock()
		flying := len(flights.byPrompt)
		flights.lock.Unlock()
		router.lock.Lock()
		defer router.lock.Unlock()
		for at, e := range router.engines {
			if !e.up() || router.load[at] != 0 {
				return false
			}
		}
		return flying == 0
	})
}
