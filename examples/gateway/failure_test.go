package main

// What fails: engines that are killed, hang, talk nonsense or do not start, clients that leave,
// and a gateway that is to end.

import (
	"context"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kill ends the engine that has flights, as the kernel would.
func (r *rig) kill() {
	r.Helper()
	router := r.server.router
	router.lock.Lock()
	defer router.lock.Unlock()
	for at, e := range router.engines {
		if life := e.life.Load(); router.load[at] > 0 && life != nil {
			if err := syscall.Kill(life.cmd.Process.Pid, syscall.SIGKILL); err != nil {
				r.Fatal(err)
			}
			return
		}
	}
	r.Fatal("no engine has anything to do")
}

// code is an error's code.
func (a said) code() string {
	if a.Error == nil || a.Error.Code == nil {
		return ""
	}
	return *a.Error.Code
}

func TestAnEngineThatIsKilledInMidStreamIsReplacedByAnother(t *testing.T) {
	r := newRig(t, []string{"-token 5ms", "-token 5ms"}, "-slice", "4")
	s := r.stream("prompt", long, "max_tokens", 100)
	for at := 0; s.next(); at++ {
		if at == 3 {
			r.kill()
		}
	}
	if s.text != written(long, 100) || s.reason != "length" || !s.done {
		t.Errorf("%q %s, broken: %q", s.text, s.reason, s.broken)
	}
	r.idle() // it was started again
	if n := r.count("engine_starts_total"); n != 3 {
		t.Errorf("%v engines were started, and not 3", n)
	}
}

func TestTheOnlyEngineIsKilledAndGoesOnWhenItIsThereAgain(t *testing.T) {
	r := newRig(t, []string{"-token 5ms"}, "-slice", "4")
	s := r.stream("prompt", long, "max_tokens", 60)
	s.next()
	r.kill()
	if s.rest(); s.text != written(long, 60) || !s.done {
		t.Errorf("%q, broken: %q", s.text, s.broken)
	}
}

func TestAPromptThatKillsEnginesIsGivenUp(t *testing.T) {
	r := newRig(t, []string{"-die boom", "-die boom", "-die boom"})
	answer := r.post("/v1/completions", body("prompt", "this goes boom", "max_tokens", 4))
	if answer.status != http.StatusBadGateway || answer.code() != "engine_failed" ||
		!strings.Contains(answer.raw, "signal: killed; 2 engines were asked") {
		t.Errorf("%d %s", answer.status, answer.raw)
	}
	r.complete("this does not", 4) // one is left, if the others are not there again
	r.idle()
	r.complete("nor this", 4)
}

func TestWhatFailsInMidStreamIsToldInIt(t *testing.T) {
	prompt := "in the middle"
	text := written(prompt, 64)
	r := newRig(t, []string{"-die " + text[20:26]}, "-slice", "8", "-tries", "1")
	s := r.stream("prompt", prompt, "max_tokens", 64).rest()
	if s.text != text[:24] || s.done || !strings.Contains(s.broken, "signal: killed") {
		t.Errorf("%q, done: %v, broken: %q", s.text, s.done, s.broken)
	}
	answer := r.post("/v1/completions", body("prompt", prompt, "max_tokens", 64))
	if answer.status != http.StatusBadGateway {
		t.Errorf("as a whole: %d %s", answer.status, answer.raw)
	}
}

func TestAnEngineThatHangsOrTalksNonsenseIsKilled(t *testing.T) {
	r := newRig(t, []string{"-hang hush -garble 'quite so'"}, "-silence", "300ms", "-tries", "1")
	for prompt, words := range map[string]string{
		"hush":     "engine e0: it was silent for 300ms",
		"quite so": `it said what is no event: "no event"`,
	} {
		answer := r.post("/v1/completions", body("prompt", prompt, "max_tokens", 4))
		if answer.status != http.StatusBadGateway ||
			!strings.Contains(answer.Error.Message, words) {
			t.Errorf("%d %s", answer.status, answer.raw)
		}
		r.complete("and now?", 4)
	}
}

func TestASlowEngineIsNotTakenForHung(t *testing.T) {
	r := newRig(t, []string{"-page 100ms"}, "-silence", "2s") // 29 blocks, each heard of
	r.complete(long, 2)
	if n := r.count("engine_starts_total"); n != 1 {
		t.Errorf("%v engines were started, and not one", n)
	}
}

func TestAFlightEndsWithItsTime(t *testing.T) {
	r := newRig(t, []string{"-token 50ms"}, "-timeout", "300ms", "-slice", "2")
	answer := r.post("/v1/completions", body("prompt", "late", "max_tokens", 400))
	if answer.status != http.StatusGatewayTimeout || answer.code() != "timeout" ||
		!strings.Contains(answer.raw, "not computed within 300ms") {
		t.Errorf("%d %s", answer.status, answer.raw)
	}
	r.idle()
}

func TestAFlightEndsWhenItsClientsAreGone(t *testing.T) {
	r := newRig(t, []string{"-token 10ms"}, "-slice", "2")
	one := r.stream("prompt", "forever", "max_tokens", 2000)
	two := r.stream("prompt", "forever", "max_tokens", 30)
	one.next()
	one.cancel() // the other still waits
	if two.rest(); two.text != written("forever", 30) || !two.done {
		t.Errorf("%q, broken: %q", two.text, two.broken)
	}
	r.idle()
	if n := r.count("tokens_total", "written"); n > 200 {
		t.Errorf("%v tokens were written, for nobody", n)
	}
	if n := r.count("requests_total", `status="499"`); n != 1 {
		t.Errorf("%v clients were gone, and not one", n)
	}
	r.complete("forever", 4)
	if n := r.count("engine_starts_total"); n != 1 {
		t.Errorf("%v engines were started, and not one", n)
	}
}

func TestMoreRequestsThanTheLimitAreRefused(t *testing.T) {
	r := newRig(t, []string{"-token 5ms"}, "-requests", "2")
	one := r.stream("prompt", "a", "max_tokens", 400)
	two := r.stream("prompt", "b", "max_tokens", 400)
	answer := r.post("/v1/completions", body("prompt", "c"))
	if answer.status != http.StatusTooManyRequests || answer.head.Get("Retry-After") == "" ||
		answer.Error.Message != "2 requests are being answered, the most" {
		t.Errorf("%d %s", answer.status, answer.raw)
	}
	one.cancel()
	two.cancel()
	r.soon("there is room again", func() bool {
		return r.post("/v1/completions", body("prompt", "c")).status == http.StatusOK
	})
}

func TestItAnswersWhatItHasBeforeItEnds(t *testing.T) {
	r := newRig(t, []string{"-token 5ms", ""}, "-slice", "4")
	s := r.stream("prompt", "to the end", "max_tokens", 100)
	s.next()
	ended := make(chan struct{})
	go func() {
		r.close()
		close(ended)
	}()
	if s.rest(); s.text != written("to the end", 100) || !s.done {
		t.Errorf("%q, broken: %q", s.text, s.broken)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	if _, err := http.Get(r.url + "/healthz"); err == nil {
		t.Error("it still listens")
	}
	for _, e := range r.server.router.engines {
		if e.up() {
			t.Errorf("engine %s still runs", e.name)
		}
	}
}

func TestWhatTakesTooLongIsBrokenOffWhenItEnds(t *testing.T) {
	r := newRig(t, []string{"-token 20ms"}, "-slice", "2", "-grace", "100ms")
	s := r.stream("prompt", "without end", "max_tokens", 2000)
	s.next()
	whole := make(chan said)
	go func() {
		whole <- r.post("/v1/completions", body("prompt", "without end", "max_tokens", 2000))
	}()
	r.soon("both are in flight", func() bool { return r.server.requests.Load() == 2 })
	begin := time.Now()
	r.close()
	answer := <-whole
	if answer.status != http.StatusServiceUnavailable || answer.code() != "stopping" ||
		answer.head.Get("Retry-After") == "" {
		t.Errorf("%d %s", answer.status, answer.raw)
	}
	if s.rest(); s.done || s.broken != "the gateway is stopping" {
		t.Errorf("done: %v, broken: %q", s.done, s.broken)
	}
	if took := time.Since(begin); took > patience {
		t.Errorf("it took %v", took)
	}
}

func TestAnEngineThatDoesNotStartIsNamed(t *testing.T) {
	for command, words := range map[string]string{
		"one=sh -c 'exit 3'":                "engine one did not start: it ended: exit status 3",
		"one=no-such-program":               "engine one did not start: it ended: exit status 127",
		"one=echo hello":                    `did not start: it said what is no event: "hello"`,
		"one=cat /dev/null":                 "engine one did not start: it ended with status 0",
		"one=sleep 100":                     "engine one did not start: it was silent for 200ms",
		`one=echo '{"event":1}'`:            "engine one did not start: it said what is no event",
		"one=sh -c 'exec >&-; sleep 100'":   "engine one did not start: it ended: signal: killed",
		"command":                           `-engine "command": it is NAME=COMMAND`,
		`one=echo '{"event":"ready"}'; cat`: "namespace gateway/parrot, which engines make",
	} {
		arguments, _ := toStart(t, nil, "-engine", command, "-start", "200ms")
		s, err := settingsOf(arguments)
		if err != nil {
			t.Fatal(err)
		}
		g, err := start(context.Background(), s)
		if err == nil {
			g.close()
		}
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, and not %s", command, err, words)
		}
	}
}

func TestItEndsByItselfWhenAProgramWouldStopItTwice(t *testing.T) {
	r := newRig(t, []string{""})
	r.close()
	r.close() // as the test's own end does again
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, arguments := range [][]string{
		{}, {"-engine", "a=b", "more"}, {"-engine", "a=b", "-slice", "0"}, {"-timeout", "soon"},
		{"-engine", "a=b", "-spill", "-1"}, {"-what"},
	} {
		if s, err := settingsOf(arguments); err == nil {
			t.Errorf("%q is taken: %+v", arguments, s)
		}
	}
}

func TestEnginesEndWithAGatewayThatIsKilled(t *testing.T) {
	if os.Getenv("GATEWAY") == "" {
		t.Fatal("GATEWAY is not set to the gateway's program: tests/gateway/run.sh does it")
	}
	arguments, _ := toStart(t, []string{""})
	ended := runProgram(t, arguments)
	if !ended(syscall.SIGKILL) {
		t.Error("an engine outlives its gateway")
	}
}

func TestTheProgramEndsWellAtSIGTERM(t *testing.T) {
	if os.Getenv("GATEWAY") == "" {
		t.Fatal("GATEWAY is not set to the gateway's program: tests/gateway/run.sh does it")
	}
	arguments, _ := toStart(t, []string{""})
	ended := runProgram(t, arguments)
	if !ended(syscall.SIGTERM) {
		t.Error("an engine outlives its gateway")
	}
}
