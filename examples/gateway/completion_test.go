package main

// Completions of engines that live: what is answered, streamed, reused, routed and shared.

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/weft-kv/weft/sdk-go"
)

var long = strings.Repeat("All work and no play makes Polly a dull parrot. ", 20) // 960 tokens

func TestACompletionIsWhatTheEngineWrites(t *testing.T) {
	r := newRig(t, []string{""})
	answer := r.complete("Polly wants ", 40)
	if answer.Usage.Prompt != 12 || answer.Usage.Completion != 40 ||
		*answer.Choices[0].Reason != "length" {
		t.Errorf("%s", answer.raw)
	}
	if answer.head.Get("X-Weft-Engine") != "e0" || answer.head.Get("X-Weft-Shared") != "false" {
		t.Errorf("%v", answer.head)
	}
	tokens := []int{'P', 'o', 'l', 'l', 'y', 0, 255}
	answer = r.post("/v1/completions", body("prompt", tokens, "max_tokens", 8, "model", "parrot"))
	if answer.Choices[0].Text != written("Polly\x00\xff", 8) {
		t.Errorf("behind tokens: %s", answer.raw)
	}
	if answer = r.post("/v1/completions", body("prompt", "x")); answer.Usage.Completion != 16 {
		t.Errorf("without max_tokens: %s", answer.raw)
	}
}

func TestAStreamGrowsAndEndsWithDone(t *testing.T) {
	r := newRig(t, []string{""}, "-slice", "7")
	s := r.stream("prompt", long, "max_tokens", 30)
	events := 0
	for s.next() {
		events++
	}
	if s.text != written(long, 30) || s.reason != "length" || !s.done || events < 2 {
		t.Errorf("%d events: %q %s, done: %v", events, s.text, s.reason, s.done)
	}
}

func TestAStopEndsTheTextBeforeIt(t *testing.T) {
	r := newRig(t, []string{""}, "-slice", "4")
	whole := written("stop", 40)
	for _, at := range []int{0, 1, 6, 7, 20, 37} {
		stop, want := whole[at:at+3], whole[:strings.Index(whole, whole[at:at+3])]
		asked := []any{"prompt", "stop", "max_tokens", 40, "stop", []string{"no such", stop}}
		if s := r.stream(asked...).rest(); s.text != want || s.reason != "stop" || !s.done {
			t.Errorf("stop %q in %q: streamed %q, %s", stop, whole, s.text, s.reason)
		}
		answer := r.post("/v1/completions", body(asked...))
		if answer.Choices[0].Text != want || *answer.Choices[0].Reason != "stop" {
			t.Errorf("stop %q in %q: %s", stop, whole, answer.raw)
		}
	}
}

func TestReuseIsShown(t *testing.T) {
	r := newRig(t, []string{""})
	for _, want := range []int{0, 928} { // 30 blocks of 32, less the one with the last token
		answer := r.complete(long, 1)
		if got := answer.head.Get("X-Weft-Cached-Tokens"); got != strconv.Itoa(want) ||
			answer.Usage.Details.Cached != want {
			t.Errorf("%s tokens cached, and not %d: %s", got, want, answer.raw)
		}
	}
	for cut, want := range map[int]int{0: 0, 31: 0, 32: 32, 500: 480, 928: 928, 960: 928} {
		prompt := long[:cut] + strings.Repeat("?", 1000-cut)
		answer := r.post("/v1/prefix", body("prompt", prompt))
		if answer.Tokens != 1000 || answer.Cached != want || *answer.Engine != "e0" {
			t.Errorf("the first %d tokens: %s", cut, answer.raw)
		}
	}
	if reused := r.count("tokens_total", "reused"); reused != 928 {
		t.Errorf("%v tokens were reused, and not 928", reused)
	}
}

func TestAPromptGoesToTheEngineThatHasMostOfIt(t *testing.T) {
	r := newRig(t, []string{"", "", ""})
	engine := map[string]string{}
	for _, text := range []string{"a", "b", "c"} { // equal load: they take turns
		engine[text] = r.complete(text+long, 1).head.Get("X-Weft-Engine")
	}
	if engine["a"] == engine["b"] || engine["b"] == engine["c"] || engine["c"] == engine["a"] {
		t.Fatalf("three new prompts went to %v", engine)
	}
	for _, text := range []string{"c", "a", "b", "b", "a", "c"} {
		prompt := text + long[:500] + "something else"
		if told := r.post("/v1/prefix", body("prompt", prompt)); *told.Engine != engine[text] {
			t.Errorf("%s would go to %s, and %s has it", text, *told.Engine, engine[text])
		}
		if got := r.complete(prompt, 1).head.Get("X-Weft-Engine"); got != engine[text] {
			t.Errorf("%s went to %s, and %s has it", text, got, engine[text])
		}
	}
	if n := r.count("routed_total", `by="blocks"`); n != 6 {
		t.Errorf("%v prompts were routed by their blocks, and not 6", n)
	}
}

func TestABusyEngineIsPassedOver(t *testing.T) {
	r := newRig(t, []string{"-token 20ms", "-token 20ms"}, "-spill", "2")
	r.complete(long, 1) // e0 has it
	var streams []*stream
	for at := range 4 {
		streams = append(streams, r.stream("prompt", fmt.Sprint(long, at), "max_tokens", 64))
	}
	engines := map[string]int{}
	for _, s := range streams {
		engines[s.response.Header.Get("X-Weft-Engine")]++
		cached := s.response.Header.Get("X-Weft-Cached-Tokens")
		if cached != "928" && cached != "960" { // the last block has the token that differs
			t.Errorf("%s tokens cached, wherever it went", cached)
		}
	}
	if engines["e0"] != 2 || engines["e1"] != 2 {
		t.Errorf("four that only e0 has, and it may have one more to do: %v", engines)
	}
}

func TestEqualPromptsAtOnceAreComputedOnce(t *testing.T) {
	r := newRig(t, []string{"-page 10ms", ""}, "-slice", "8")
	var group sync.WaitGroup
	var lock sync.Mutex
	shared := 0
	for at := range 24 {
		group.Add(1)
		go func() {
			defer group.Done()
			size := 20 + at%3*10 // some want more
			answer := r.complete(long, size)
			lock.Lock()
			defer lock.Unlock()
			if answer.head.Get("X-Weft-Shared") == "true" {
				shared++
			}
		}()
	}
	group.Wait()
	if shared != 23 || r.count("shared_total") != 23 {
		t.Errorf("%d of 24 were shared, and not 23", shared)
	}
	if n := r.count("tokens_total", "written"); n != 40 {
		t.Errorf("%v tokens were written for all, and not 40", n)
	}
}

func TestEqualPromptsOneAfterTheOtherAreNotShared(t *testing.T) {
	r := newRig(t, []string{""})
	for range 2 {
		if r.complete("again", 5).head.Get("X-Weft-Shared") != "false" {
			t.Error("it was shared with one that was over")
		}
	}
}

func TestLookUpsFollowAnAdvance(t *testing.T) {
	r := newRig(t, []string{""})
	r.complete(long, 1)
	space, err := r.node.Namespace("gateway/parrot", "create=no,version=1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := space.Advance(context.Background(), 7); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{0, 928} {
		if told := r.post("/v1/prefix", body("prompt", long)); told.Cached != want {
			t.Errorf("%d tokens cached, and not %d", told.Cached, want)
		}
		r.complete(long, 1) // the engine is told, and computes it anew
	}
	if starts := r.count("engine_starts_total"); starts != 1 {
		t.Errorf("%v engines were started, and not one", starts)
	}
}

func TestAnEngineIsStartedAgainAtTheVersionThatHoldsNow(t *testing.T) {
	r := newRig(t, []string{""})
	space, err := r.node.Namespace("gateway/parrot", "create=no,version=1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := space.Advance(context.Background(), 7); err != nil {
		t.Fatal(err)
	}
	r.server.router.engines[0].life.Load().kill() // at version 1 it could not open the namespace
	r.soon("it was started again", func() bool { return r.count("engine_starts_total") == 2 })
	r.complete(long, 1)
	if _, err := r.node.Namespace("gateway/parrot", "create=no,version=1"); err == nil {
		t.Error("the namespace did not advance")
	}
}

func TestManyClientsAreAnsweredRight(t *testing.T) {
	r := newRig(t, []string{"", "", ""}, "-blocks", "100", "-slice", "5")
	var group sync.WaitGroup
	for client := range 16 {
		group.Add(1)
		go func() {
			defer group.Done()
			for turn := range 10 {
				prompt := fmt.Sprint((client+turn)%7, long[:100*((client*turn)%9)])
				r.complete(prompt, 1+(client*3+turn)%30)
			}
		}()
	}
	group.Wait()
	r.idle()
	if n := len(r.server.router.table); n > 100 {
		t.Errorf("%d blocks are remembered, and at most 100", n)
	}
}

func TestModelsHealthAndUnknownPaths(t *testing.T) {
	r := newRig(t, []string{""})
	for path, want := range map[string]int{
		"/v1/models": http.StatusOK, "/healthz": http.StatusOK, "/metrics": http.StatusOK,
		"/v1/chat/completions": http.StatusNotFound, "/v1/completions": http.StatusMethodNotAllowed,
	} {
		response, err := http.Get(r.url + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s, and not %d", path, response.Status, want)
		}
	}
}

func TestAnEngineKeepsItsBlocksInWeft(t *testing.T) {
	r := newRig(t, []string{""})
	r.complete(long, 1)
	space, err := r.node.Namespace("gateway/parrot", "create=no,version=1")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := r.server.cache.keys([]byte(long))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := space.Match(context.Background(), keys); n != 29 || err != nil {
		t.Errorf("the node has %d blocks of 29: %v", n, err)
	}
	if _, err := space.Match(context.Background(), []weft.Key{}); err != nil {
		t.Error(err)
	}
}
