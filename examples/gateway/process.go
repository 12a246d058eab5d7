// Command gateway: see README.md.
package main

// A process is one life of an engine: a program that takes requests as lines of JSON on its
// standard input and tells events as lines of JSON on its standard output (`ready`, `computed`,
// `fenced`, `done`), one request at a time.
//
// Invariants: a slice that was taken is answered, with the engine's answer or with the death of the
// process; after ended is closed nothing is taken. An engine that says nothing for `silence` while
// it owes an answer, or says what is no line of the protocol, is killed.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const lineMax = 64 << 20 // bytes of an engine's line: logits come in it, as text

// counts are an engine's own of one request: tokens reused and prefilled, bytes copied to Weft and
// read in its memory, misses by reason.
type counts struct {
	Reused       int            `json:"reused"`
	Prefilled    int            `json:"prefilled"`
	BytesCopied  int            `json:"bytes_copied"`
	BytesInPlace int            `json:"bytes_in_place"`
	Misses       map[string]int `json:"misses"`
}

// event is a line of an engine, of whatever kind.
type event struct {
	Event string `json:"event"`
	Text  string `json:"text"` // Latin-1: a letter is a byte
	counts
}

// slice asks for the next bytes behind a text.
type slice struct {
	ctx      context.Context // where it has ended, nobody waits any more
	text     []byte
	generate int
	answer   chan answer // takes one
}

type answer struct {
	text   []byte
	counts counts
	err    error
}

// errDown says that the process had ended before it took the slice: it is not to blame.
var errDown = errors.New("the engine is not running")

type process struct {
	name   string
	cmd    *exec.Cmd
	input  io.WriteCloser
	events chan event // closed when the output ends
	slices chan *slice
	ended  chan struct{} // closed when it is gone, after status is set
	status error
}

// startProcess runs a command by the shell and returns when the engine says that it is ready.
func startProcess(
	ctx context.Context, name, command string, patience, silence time.Duration,
) (*process, error) {
	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so Ctrl-C is for the gateway alone
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("engine %s: %w", name, err)
	}
	p := &process{
		name: name, cmd: cmd, input: input, events: make(chan event),
		slices: make(chan *slice), ended: make(chan struct{}),
	}
	failure := make(chan error, 1) // why reading ended
	go p.read(output, failure)
	first := p.hear(ctx, patience)
	if first.err == nil && first.Event != "ready" {
		first.err = fmt.Errorf("it said %q and not that it is ready", first.Event)
	}
	if first.err != nil {
		p.bury(failure, first.err)
		return nil, fmt.Errorf("engine %s did not start: %w", name, p.cause(first.err))
	}
	go func() {
		owed, err := p.serve(silence)
		p.bury(failure, err)
		if err != nil {
			p.status = p.cause(err)
		}
		close(p.ended)
		if owed != nil {
			owed.answer <- answer{err: fmt.Errorf("engine %s: %w", p.name, p.status)}
		}
	}()
	return p, nil
}

// read decodes lines until there are no more.
func (p *process) read(output io.Reader, failure chan<- error) {
	defer close(p.events)
	lines := bufio.NewScanner(output)
	lines.Buffer(make([]byte, 1<<16), lineMax)
	for lines.Scan() {
		var said event
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			failure <- fmt.Errorf("it said what is no event: %.80q", lines.Text())
			p.kill()
			return
		}
		p.events <- said
	}
	failure <- lines.Err()
}

type heard struct {
	event
	err error
}

var errEnded = errors.New("it ended")

// hear waits for the next event, at most for patience.
func (p *process) hear(ctx context.Context, patience time.Duration) heard {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case said, ok := <-p.events:
		if !ok {
			return heard{err: errEnded}
		}
		return heard{event: said}
	case <-timer.C:
		return heard{err: fmt.Errorf("it was silent for %v", patience)}
	case <-ctx.Done():
		return heard{err: ctx.Err()}
	}
}

// serve answers slices until the process ends; it returns why, where that is not its own status,
// and the slice that it then owes an answer.
func (p *process) serve(silence time.Duration) (*slice, error) {
	for {
		select {
		case _, ok := <-p.events:
			if !ok {
				return nil, nil
			}
			return nil, errors.New("it spoke without being asked")
		case s := <-p.slices:
			if s.ctx.Err() != nil {
				s.answer <- answer{err: s.ctx.Err()}
				continue
			}
			done, err := p.carryOut(s, silence)
			if err != nil {
				return s, err
			}
			s.answer <- done
		}
	}
}

// carryOut asks the engine and hears it out, however long it computes, while it says something.
func (p *process) carryOut(s *slice, silence time.Duration) (answer, error) {
	line, err := json.Marshal(map[string]any{
		"prompt": latin1(s.text), "generate": s.generate, "share": true,
	})
	if err != nil {
		return answer{}, err
	}
	if _, err := p.input.Write(append(line, '\n')); err != nil {
		return answer{}, errEnded
	}
	for {
		said := p.hear(context.Background(), silence)
		switch {
		case said.err != nil:
			return answer{}, said.err
		case said.Event == "done":
			text, err := bytesOf(said.Text)
			if err == nil && len(text) != s.generate {
				err = fmt.Errorf("it wrote %d bytes of %d", len(text), s.generate)
			}
			return answer{text: text, counts: said.counts}, err
		}
	}
}

// kill ends it and what it has started, its process group, by SIGKILL. Not after bury.
func (p *process) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// bury waits for its end and keeps its status. It is killed where something else is wrong with it,
// or where it has closed its output and does not end.
func (p *process) bury(failure <-chan error, wrong error) {
	if wrong != nil && !errors.Is(wrong, errEnded) {
		p.kill()
	}
	defer time.AfterFunc(goodbye, p.kill).Stop()
	for range p.events { // what it said too late
	}
	read, err := <-failure, p.cmd.Wait()
	switch {
	case read != nil:
		p.status = read
	case err != nil:
		p.status = fmt.Errorf("%w: %w", errEnded, err)
	default:
		p.status = fmt.Errorf("%w with status 0", errEnded)
	}
}

// cause says why it ended: what was seen first, or its status where only its end was seen.
func (p *process) cause(seen error) error {
	if errors.Is(seen, errEnded) {
		return p.status
	}
	return seen
}

// stop closes its input, which ends it, and kills it where it has not ended after patience.
func (p *process) stop(patience time.Duration) {
	_ = p.input.Close()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.kill()
		<-p.ended
	}
}

// ask hands a slice over and waits for its answer. errDown: another engine may be asked.
func (p *process) ask(ctx context.Context, text []byte, generate int) (answer, error) {
	s := &slice{ctx: ctx, text: text, generate: generate, answer: make(chan answer, 1)}
	select {
	case p.slices <- s:
	case <-p.ended:
		return answer{}, errDown
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	select {
	case done := <-s.answer:
		return done, done.err
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// latin1 gives each byte as the letter of its number, as the engines' lines have text.
func latin1(text []byte) string {
	letters := make([]rune, len(text))
	for at, value := range text {
		letters[at] = rune(value)
	}
	return string(letters)
}

func bytesOf(letters string) ([]byte, error) {
	text := make([]byte, 0, len(letters))
	for _, letter := range letters {
		if letter > 255 {
			return nil, fmt.Errorf("it wrote %q, which is no byte", letter)
		}
		text = append(text, byte(letter))
	}
	return text, nil
}
