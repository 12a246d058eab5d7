package main

// A flight computes one prompt's continuation for everyone who asks for it: equal prompts that are
// asked at the same time are computed once, and each asker reads the text as it grows.
//
// The text is asked for in slices, each behind all that is there already. Between slices Weft keeps
// what was computed (an engine goes on in place, whichever it is), so a slice is where a stream
// grows, where long and short requests take turns on an engine, where a flight that nobody waits
// for any more ends, and where another engine goes on behind one that died.
//
// Invariants: text only grows, by likeliest bytes, so that whoever wants fewer reads a part of it;
// a flight is joined only while it is in the table and leaves it before it ends; one lock guards
// all flights, and nothing waits under it.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

type flight struct {
	prompt  string
	keys    []weft.Key
	want    int // bytes, the most that anyone who joined wants
	askers  int
	text    []byte
	counts  counts // of the prompt: of the first slice
	engine  string // that gave the last slice
	err     error
	over    bool
	changed chan struct{} // closed and made anew when text grows or it is over
	cancel  context.CancelFunc
}

type flights struct {
	ctx     context.Context // of all flights
	router  *router
	slice   int           // bytes asked for at once, at most
	timeout time.Duration // of a flight
	tries   int           // engines that may die of one prompt
	metrics *metrics

	lock     sync.Mutex
	byPrompt map[string]*flight
	running  sync.WaitGroup
}

var errStopped = errors.New("the gateway is stopping")

// join gives the flight of a prompt, which runs from now on where there was none; shared: there was
// one. The caller must leave it. keys are the prompt's.
func (f *flights) join(prompt string, keys []weft.Key, want int) (found *flight, shared bool) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if found = f.byPrompt[prompt]; found != nil {
		found.want = max(found.want, want)
		found.askers++
		return found, true
	}
	ctx, cancel := context.WithTimeout(f.ctx, f.timeout)
	found = &flight{
		prompt: prompt, keys: keys, want: want, askers: 1, cancel: cancel,
		changed: make(chan struct{}),
	}
	f.byPrompt[prompt] = found
	f.running.Add(1)
	go func() {
		defer f.running.Done()
		defer cancel()
		f.run(ctx, found)
	}()
	return found, false
}

// leave ends the flight where nobody else waits for it.
func (f *flights) leave(from *flight) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if from.askers--; from.askers == 0 && !from.over {
		f.forget(from)
		from.cancel()
	}
}

// progress is what one asker sees of a flight.
type progress struct {
	text   []byte // from where it asked on
	engine string
	counts counts
}

// next waits until there is text behind the first `from` bytes. Errors: the flight's; ctx's.
func (f *flights) next(ctx context.Context, of *flight, from int) (progress, error) {
	for {
		f.lock.Lock()
		seen, err, changed := progress{of.text[from:], of.engine, of.counts}, of.err, of.changed
		f.lock.Unlock()
		switch {
		case len(seen.text) > 0:
			return seen, nil
		case err != nil:
			return seen, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return progress{}, ctx.Err()
		}
	}
}

// run has engines write the text until there is as much as anyone wants.
func (f *flights) run(ctx context.Context, of *flight) {
	deaths := 0
	for {
		chosen, err := f.router.assign(ctx, of.keys)
		if err == nil {
			f.metrics.routed(chosen)
			err = f.fly(ctx, of, chosen.engine)
			f.router.release(chosen.engine)
		}
		if err == nil {
			return
		}
		if ctx.Err() == nil && !errors.Is(err, errDown) {
			deaths++
			slog.Warn("an engine failed", "engine", chosen.engine.name, "error", err, "of", f.tries)
		}
		if ctx.Err() != nil || deaths >= f.tries {
			f.end(of, f.reason(ctx, err, deaths))
			return
		}
	}
}

// reason says in full why a flight ends.
func (f *flights) reason(ctx context.Context, err error, deaths int) error {
	switch {
	case f.ctx.Err() != nil:
		return errStopped
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("not computed within %v: %w", f.timeout, context.DeadlineExceeded)
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return fmt.Errorf("%w; %d engines were asked", err, deaths)
	}
}

// fly has one engine write slices. nil: the flight is over.
func (f *flights) fly(ctx context.Context, of *flight, by *engine) error {
	for {
		text, size := f.wanted(of)
		if size == 0 {
			return nil
		}
		done, err := by.ask(ctx, text, size)
		if err != nil {
			return err
		}
		f.grow(of, by, done)
	}
}

// wanted gives what the next slice goes on behind, and its size; 0: there is enough, it is over.
func (f *flights) wanted(of *flight) (text []byte, size int) {
	f.lock.Lock()
	defer f.lock.Unlock()
	size = min(of.want-len(of.text), f.slice)
	if size <= 0 {
		f.finish(of, nil)
		return nil, 0
	}
	return append([]byte(of.prompt), of.text...), size
}

func (f *flights) grow(of *flight, by *engine, done answer) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if len(of.text) == 0 {
		of.counts = done.counts
	}
	f.metrics.computed(by, done)
	of.engine = by.name
	of.text = append(of.text, done.text...)
	of.tell()
}

func (f *flights) end(of *flight, err error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.finish(of, err)
}

func (f *flights) finish(of *flight, err error) {
	f.forget(of)
	of.over, of.err = true, err
	of.tell()
}

func (f *flights) forget(of *flight) {
	if f.byPrompt[of.prompt] == of { // else another has taken its place
		delete(f.byPrompt, of.prompt)
	}
}

func (of *flight) tell() {
	close(of.changed)
	of.changed = make(chan struct{})
}
