package main

// What is read of requests, and what is refused; text that is cut at stops and between letters.

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWhatCannotBeDoneIsRefusedByName(t *testing.T) {
	r := newRig(t, []string{""}, "-context", "100", "-body", "4096")
	for _, wrong := range []struct {
		body   string
		status int
		words  string
	}{
		{``, 400, "the body is empty"},
		{`{`, 400, "the body is not what it should be: unexpected end of JSON input"},
		{`[]`, 400, "cannot unmarshal array"},
		{`{"prompt": {}}`, 400, "prompt is a string, an array of one string, or"},
		{`{"prompt": ["a", "b"]}`, 400, "prompt is a string, an array of one string"},
		{`{"prompt": [1, 256]}`, 400, "prompt[1] is token 256: tokens are bytes, 0 to 255"},
		{`{}`, 400, "prompt is missing or empty"},
		{`{"prompt": null}`, 400, "prompt is missing or empty"},
		{`{"prompt": "a", "max_tokens": 0}`, 400, "max_tokens is 0: it is at least 1"},
		{`{"prompt": "a", "max_tokens": "1"}`, 400, "max_tokens"},
		{`{"prompt": "a", "max_tokens": 100}`, 400,
			"1 tokens of the prompt and 100 of the answer: the context is 100"},
		{`{"prompt": "a", "max_tokens": 9223372036854775807}`, 400, "the context is 100"},
		{`{"prompt": "a", "temperature": 0.7}`, 400, "temperature is 0.7"},
		{`{"prompt": "a", "n": 2}`, 400, "n and best_of are 1"},
		{`{"prompt": "a", "best_of": 3}`, 400, "n and best_of are 1"},
		{`{"prompt": "a", "logprobs": 5}`, 400, "logprobs are not given here"},
		{`{"prompt": "a", "echo": true}`, 400, "echo and suffix are not done here"},
		{`{"prompt": "a", "stop": 5}`, 400, "stop is a string or an array of strings"},
		{`{"prompt": "a", "stop": [1]}`, 400, "stop is a string or an array of strings"},
		{`{"prompt": "a", "stop": ["1","2","3","4","5"]}`, 400, "5 stops: there are at most 4"},
		{`{"prompt": "a", "stop": ""}`, 400, "a stop of 0 bytes: it has 1 to 256"},
		{`{"prompt": "a", "model": "gpt"}`, 404, `there is no model \"gpt\", only \"parrot\"`},
		{`{"prompt": "` + strings.Repeat("a", 5000) + `"}`, 413, "more than 4096 bytes"},
	} {
		answer := r.post("/v1/completions", wrong.body)
		if answer.status != wrong.status || answer.Error.Type != "invalid_request_error" ||
			!strings.Contains(answer.raw, wrong.words) {
			t.Errorf("%.60s: %d %s, and not %d %s", wrong.body, answer.status, answer.raw,
				wrong.status, wrong.words)
		}
	}
	for _, fine := range []string{
		`{"prompt": "a", "temperature": 0, "n": 1, "stop": null, "user": "x", "logprobs": null}`,
		`{"prompt": ["a"], "stream": false, "stream_options": null, "max_tokens": null}`,
		`{"prompt": [97], "stop": [], "seed": 4}`,
	} {
		answer := r.post("/v1/completions", fine)
		if answer.status != http.StatusOK || answer.Choices[0].Text != written("a", 16) {
			t.Errorf("%s: %d %s", fine, answer.status, answer.raw)
		}
	}
}

func TestTheDirectWayReadsWhatJSONReads(t *testing.T) {
	for _, body := range []string{
		`{"prompt":"plain"}`, ` { "prompt" : "spaces" } `, `{"prompt": "after a space"}`,
		`{"prompt":"a \" quote"}`, `{"prompt":"tab\tby name"}`, "{\"prompt\":\"a raw\ttab\"}",
		`{"prompt":"two","prompt":"prompts"}`, `{"prompt":"more", "model":"x"}`, `{"prompt":""}`,
		"{\"prompt\":\"\xff\"}", `{"prompt":"ö€😀"}`, `{"prompt":"x"}}`, `{"prompt":"x"`,
		`{"prompt":x"}`, `{"prompt":"x"}` + "\n", `{"prompt":"\u0041"}`, `"prompt"`, `{}`,
		`{"prompt":[1,2]}`, `{"prompt":"`,
	} {
		compareWays(t, body)
	}
}

func TestTheDirectWayTakesUsualTextsAndLooksAtEveryByte(t *testing.T) {
	usual := "the usual text, of more than eight letters"
	for _, text := range []string{
		usual, usual + " ö€😀 " + usual, "~\x7f!#[]" + usual, "", "short",
	} {
		if !new(lookup).plain([]byte(`{"prompt":"` + text + `"}`)) {
			t.Errorf("%q does not go the direct way", text)
		}
	}
	for at := range 20 {
		for odd := range 256 {
			body := []byte(`{"prompt":"` + usual + `"}`)
			body[len(`{"prompt":"`)+at] = byte(odd)
			compareWays(t, string(body))
		}
	}
}

func FuzzTheDirectWay(f *testing.F) {
	f.Add(`{"prompt":"plain"}`)
	f.Add(`{"prompt":"a \" quote","x":[1]}`)
	f.Fuzz(compareWays)
}

// compareWays: what the direct way takes, JSON takes, and the prompt is the same.
func compareWays(t *testing.T, body string) {
	var direct lookup
	if !direct.plain([]byte(body)) {
		return
	}
	var want struct{ Prompt string }
	err := json.Unmarshal([]byte(body), &want)
	if err != nil || want.Prompt != string(direct.Prompt) {
		t.Errorf("%q: %q, and by JSON %q, %v", body, direct.Prompt, want.Prompt, err)
	}
}

func FuzzCutter(f *testing.F) {
	f.Add("hello world, hello", "wor", "lo,", uint8(1))
	f.Add("ö€😀 and \xff\xc3", "😀", "x", uint8(1))
	f.Add("aaaaab", "aab", "ab", uint8(2))
	f.Fuzz(cutInPieces)
}

// cutInPieces: in pieces of whatever size comes out what the whole gives.
func cutInPieces(t *testing.T, text, one, two string, size uint8) {
	stops := []string{one, two}
	if one == "" || two == "" || size == 0 {
		return
	}
	end := firstStop([]byte(text), stops)
	found := end >= 0
	if !found {
		end = len(text)
	}
	cut, got := cutter{stops: stops}, ""
	for at := 0; at < len(text); at += int(size) {
		piece := cut.add([]byte(text[at:min(at+int(size), len(text))]))
		if !utf8.ValidString(piece) {
			t.Errorf("%q is no text", piece)
		}
		got += piece
	}
	got += cut.end()
	if cut.stopped != found {
		t.Errorf("%q by %q: stopped: %v", text, stops, cut.stopped)
	}
	if utf8.ValidString(text[:end]) && got != text[:end] {
		t.Errorf("%q by %q, %d at a time: %q", text, stops, size, got)
	}
}
