package main

// A request for a completion, as OpenAI's API has it, and what of it these engines can do. What
// they cannot do is refused by name, never left out in silence.

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"unicode/utf8"
)

const (
	maxTokensDefault = 16 // OpenAI's
	stopsMax         = 4
	stopBytesMax     = 256
)

// words is a prompt: a string, whose UTF-8 bytes are its tokens, or an array of tokens.
type words []byte

// UnmarshalJSON reads either form, also the one string of an array.
func (w *words) UnmarshalJSON(data []byte) error {
	var text string
	if plain := data[1 : len(data)-1]; data[0] == '"' && bytes.IndexByte(plain, '\\') < 0 &&
		utf8.Valid(plain) {
		*w = append(*w, plain...) // the usual text: what stands there is what is meant
		return nil
	}
	if data[0] == '"' {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		*w = words(text)
		return nil
	}
	var tokens []int
	var texts []string
	if json.Unmarshal(data, &tokens) == nil {
		for at, token := range tokens {
			if token < 0 || token > 255 {
				return fmt.Errorf("prompt[%d] is token %d: tokens are bytes, 0 to 255", at, token)
			}
			*w = append(*w, byte(token))
		}
		return nil
	}
	if json.Unmarshal(data, &texts) == nil && len(texts) == 1 {
		*w = words(texts[0])
		return nil
	}
	return errors.New("prompt is a string, an array of one string, or an array of tokens")
}

// stops is a string or a few.
type stops []string

// UnmarshalJSON reads either form.
func (s *stops) UnmarshalJSON(data []byte) error {
	var one string
	if string(data) == "null" {
		return nil
	}
	if json.Unmarshal(data, &one) == nil {
		*s = stops{one}
		return nil
	}
	if json.Unmarshal(data, (*[]string)(s)) != nil {
		return errors.New("stop is a string or an array of strings")
	}
	return nil
}

// lookup is the body of /v1/prefix.
type lookup struct {
	Prompt words `json:"prompt"`
}

const spaces = " \t\r\n" // JSON's

// plain reads the usual body, {"prompt": "..."} without a backslash, and tells whether it is one.
// encoding/json looks at every byte twice, which is a quarter of a look-up.
func (q *lookup) plain(body []byte) bool {
	rest, found := bytes.CutPrefix(bytes.Trim(body, spaces), []byte(`{"prompt":`))
	rest, quoted := bytes.CutPrefix(bytes.TrimLeft(rest, " "), []byte{'"'})
	text, end, _ := bytes.Cut(rest, []byte{'"'})
	if !found || !quoted || string(bytes.Trim(end, spaces)) != "}" || !isPlain(text) {
		return false
	}
	q.Prompt = words(bytes.Clone(text))
	return true
}

// isPlain tells whether a JSON string's text is what it means: UTF-8 without escapes. ASCII is
// looked at eight bytes at a time.
func isPlain(text []byte) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		eight := binary.LittleEndian.Uint64(text)
		control, escape := eight-each*' ', (eight^each*'\\')-each // a byte below turns negative
		if (eight|control|escape)&high != 0 {
			break
		}
	}
	for _, value := range text {
		if value < ' ' || value == '\\' {
			return false
		}
	}
	return utf8.Valid(text)
}

type request struct {
	Model       string   `json:"model"`
	Prompt      words    `json:"prompt"`
	MaxTokens   *int     `json:"max_tokens"`
	Temperature *float64 `json:"temperature"`
	Stream      bool     `json:"stream"`
	Stop        stops    `json:"stop"`
	N           *int     `json:"n"`
	BestOf      *int     `json:"best_of"`
	LogProbs    *int     `json:"logprobs"`
	Echo        bool     `json:"echo"`
	Suffix      string   `json:"suffix"`
	Options     struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// read decodes a request's body into `into`.
func read(w http.ResponseWriter, r *http.Request, bytesMax int64, into any) *failure {
	buffer := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(buffer)
	buffer.Reset()
	_, err := buffer.ReadFrom(http.MaxBytesReader(w, r.Body, bytesMax))
	body := buffer.Bytes() // what is decoded from it is copied
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return refused(http.StatusRequestEntityTooLarge, "",
			"the body has more than %d bytes", bytesMax)
	case err != nil:
		return refused(http.StatusBadRequest, "", "the body could not be read: %v", err)
	case len(bytes.TrimSpace(body)) == 0:
		return refused(http.StatusBadRequest, "", "the body is empty; it is a JSON object")
	}
	if direct, ok := into.(*lookup); ok && direct.plain(body) {
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return refused(http.StatusBadRequest, "", "the body is not what it should be: %v", err)
	}
	return nil
}

// check says what of a request cannot be done, for a model of `context` tokens; it sets defaults.
func (q *request) check(model string, context int) *failure {
	if q.MaxTokens == nil {
		q.MaxTokens = new(int)
		*q.MaxTokens = maxTokensDefault
	}
	bad := func(param, format string, values ...any) *failure {
		return refused(http.StatusBadRequest, param, format, values...)
	}
	switch {
	case q.Model != "" && q.Model != model:
		f := refused(http.StatusNotFound, "model", "there is no model %q, only %q", q.Model, model)
		f.code = "model_not_found"
		return f
	case len(q.Prompt) == 0:
		return bad("prompt", "prompt is missing or empty")
	case *q.MaxTokens < 1:
		return bad("max_tokens", "max_tokens is %d: it is at least 1", *q.MaxTokens)
	case *q.MaxTokens > context-len(q.Prompt):
		f := bad("max_tokens", "%d tokens of the prompt and %d of the answer: the context is %d",
			len(q.Prompt), *q.MaxTokens, context)
		f.code = "context_length_exceeded"
		return f
	case q.Temperature != nil && *q.Temperature != 0:
		return bad("temperature", "temperature is %v: these engines write the likeliest token, 0",
			*q.Temperature)
	case q.N != nil && *q.N != 1 || q.BestOf != nil && *q.BestOf != 1:
		return bad("n", "n and best_of are 1: at temperature 0 all answers are the same")
	case q.LogProbs != nil:
		return bad("logprobs", "logprobs are not given here")
	case q.Echo || q.Suffix != "":
		return bad("echo", "echo and suffix are not done here")
	case len(q.Stop) > stopsMax:
		return bad("stop", "%d stops: there are at most %d", len(q.Stop), stopsMax)
	}
	for _, stop := range q.Stop {
		if stop == "" || len(stop) > stopBytesMax {
			return bad("stop", "a stop of %d bytes: it has 1 to %d", len(stop), stopBytesMax)
		}
	}
	return nil
}

// failure is an answer that says what is wrong, in OpenAI's form.
type failure struct {
	status            int
	kind, param, code string
	message           string
}

func refused(status int, param, format string, values ...any) *failure {
	return &failure{
		status: status, kind: "invalid_request_error", param: param,
		message: fmt.Sprintf(format, values...),
	}
}

// body is {"error": {"message", "type", "param", "code"}}.
func (f *failure) body() map[string]any {
	orNull := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	return map[string]any{"error": map[string]any{
		"message": f.message, "type": f.kind, "param": orNull(f.param), "code": orNull(f.code),
	}}
}
