package main

// The router's table alone: what it remembers, what it forgets, whom it prefers.

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

// table is a router of engines that run, as far as it can see.
func table(engines, blocks, spill int) *router {
	var all []*engine
	for bit := range engines {
		e := &engine{name: string(rune('a' + bit)), bit: bit}
		e.life.Store(&process{})
		all = append(all, e)
	}
	return newRouter(all, blocks, spill)
}

// chain is keys number `from` to `to` of a prompt.
func chain(prompt, size int) (keys []weft.Key) {
	for at := range size {
		keys = append(keys, weft.Key{Hi: uint64(prompt), Lo: uint64(at)})
	}
	return keys
}

func (r *router) ask(t *testing.T, keys []weft.Key) choice {
	t.Helper()
	chosen, err := r.assign(context.Background(), keys)
	if err != nil {
		t.Fatal(err)
	}
	return chosen
}

func TestAChainIsForgottenFromItsEnd(t *testing.T) {
	r := table(2, 10, 100)
	r.ask(t, chain(1, 8)) // a
	r.ask(t, chain(2, 8)) // b; six of the first are forgotten
	for prompt, want := range map[int]choice{1: {r.engines[0], 2}, 2: {r.engines[1], 8}} {
		if got, _ := r.look(chain(prompt, 8)); got != want {
			t.Errorf("prompt %d: %s has %d blocks", prompt, got.engine.name, got.own)
		}
	}
	if len(r.table) != 10 || r.order.Len() != 10 {
		t.Errorf("%d and %d blocks are remembered, and not 10", len(r.table), r.order.Len())
	}
	r.ask(t, chain(3, 30)) // more than there is room for
	if got, _ := r.look(chain(3, 30)); got.own != 10 {
		t.Errorf("%d blocks of the last prompt are remembered, and not 10", got.own)
	}
}

func TestTheLongerPrefixWins(t *testing.T) {
	r := table(2, 100, 100)
	r.ask(t, chain(1, 4)) // a
	both := append(chain(1, 4), chain(2, 4)...)
	r.load[0] = 100 // so that b is chosen
	if got := r.ask(t, both); got.engine.name != "b" {
		t.Fatalf("%s was chosen", got.engine.name)
	}
	r.load[0], r.load[1] = 0, 5
	if got, _ := r.look(both); got.engine.name != "b" || got.own != 8 {
		t.Errorf("%s has %d blocks", got.engine.name, got.own)
	}
	if got, _ := r.look(chain(1, 4)); got.engine.name != "a" || got.own != 4 {
		t.Errorf("of two that have it %s is chosen, which has more to do", got.engine.name)
	}
}

func TestAnEngineThatEndedHasNothing(t *testing.T) {
	r := table(2, 100, 100)
	r.ask(t, chain(1, 8)) // a
	gone := r.engines[0]
	life := gone.life.Swap(nil)
	if got, _ := r.look(chain(1, 8)); got.engine.name != "b" || got.own != 0 {
		t.Errorf("%s with %d blocks is chosen for one that has ended", got.engine.name, got.own)
	}
	r.came(gone, false)
	gone.life.Store(life)
	r.came(gone, true)
	if got, _ := r.look(chain(1, 8)); got.own != 0 || len(r.table) != 0 {
		t.Errorf("it has %d blocks of its life before", got.own)
	}
}

func TestWithoutEnginesAPromptWaitsForOne(t *testing.T) {
	r := table(1, 100, 1)
	life := r.engines[0].life.Swap(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.assign(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	go func() {
		r.engines[0].life.Store(life)
		r.came(r.engines[0], true)
	}()
	if got := r.ask(t, nil); got.engine != r.engines[0] {
		t.Error("no engine was chosen")
	}
}
