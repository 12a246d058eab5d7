package main

// An engine is a process that is started again when it dies, with longer and longer waits where it
// does not live long enough to answer. Any goroutine may ask.

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	firstWait   = 100 * time.Millisecond // before an engine that died is started again
	longestWait = 5 * time.Second
	longEnough  = 10 * time.Second // a life after which waits begin anew
	goodbye     = 5 * time.Second  // for an engine whose input was closed
)

type engine struct {
	name    string
	bit     int // its place in the router's table
	command string
	start   time.Duration // how long it may take to be ready
	silence time.Duration // how long it may say nothing while it computes
	version func() uint64 // of the namespace, now
	changed func(up bool)
	life    atomic.Pointer[process]
	gone    chan struct{} // closed when it is stopped for good
}

// open starts it for the first time, unless ctx ends; an engine that does not start then is a wrong
// command. It is kept running until living ends.
func (e *engine) open(ctx, living context.Context) error {
	life, err := e.begin(ctx)
	if err != nil {
		return err
	}
	e.gone = make(chan struct{})
	go e.keep(living, life)
	return nil
}

func (e *engine) begin(ctx context.Context) (*process, error) {
	version := strconv.FormatUint(e.version(), 10)
	command := strings.ReplaceAll(e.command, "{now}", version)
	life, err := startProcess(ctx, e.name, command, e.start, e.silence)
	if err != nil {
		return nil, err
	}
	slog.Info("engine is ready", "engine", e.name, "pid", life.cmd.Process.Pid)
	e.life.Store(life)
	e.changed(true)
	return life, nil
}

// keep starts it again whenever it ends, until ctx ends.
func (e *engine) keep(ctx context.Context, life *process) {
	defer close(e.gone)
	wait := firstWait
	for {
		began := time.Now()
		select {
		case <-ctx.Done():
			e.life.Store(nil)
			e.changed(false)
			life.stop(goodbye)
			return
		case <-life.ended:
		}
		e.life.Store(nil)
		e.changed(false)
		slog.Warn("engine ended", "engine", e.name, "status", life.status)
		if time.Since(began) > longEnough {
			wait = firstWait
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, longestWait)
			var err error
			if life, err = e.begin(ctx); err == nil {
				break
			}
			slog.Error("engine was not started again", "engine", e.name, "error", err)
		}
	}
}

func (e *engine) up() bool { return e.life.Load() != nil }

// ask has it go on behind text. Errors: errDown; the death of the process; ctx's.
func (e *engine) ask(ctx context.Context, text []byte, generate int) (answer, error) {
	if life := e.life.Load(); life != nil {
		return life.ask(ctx, text, generate)
	}
	return answer{}, errDown
}
