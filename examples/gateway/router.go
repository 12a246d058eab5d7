package main

// The router chooses an engine for a prompt: the one that has most of it in its own process, or
// else the one with the least to do.
//
// What an engine has is what was routed to it: a table of block keys, each with a bit for every
// engine that has computed or read the block, at most `blocks` of them, the longest unused
// forgotten first. An engine that ends has nothing any more. Invariant: an engine of a key is one
// of all keys before it in the chain, and these were used as lately: so a chain's keys in the table
// are its lead keys, found by halving, and the engines of the last one are those that have most.
//
// Weft has the blocks for every engine of the host, so the wrong choice costs little: an engine
// that has the prompt is passed over when it has `spill` requests more to do than another.

import (
	"container/list"
	"context"
	"errors"
	"math/bits"
	"sort"
	"sync"

	"github.com/weft-kv/weft/sdk-go"
)

const enginesMax = 64 // bits of a word

type router struct {
	engines []*engine
	blocks  int // limit of the table
	spill   int

	lock    sync.Mutex // guards what follows
	table   map[weft.Key]*list.Element
	order   *list.List // of *holders, the longest unused first
	load    []int      // flights by engine
	turn    []int      // when each was last chosen, so that equals take turns
	turns   int
	changed chan struct{} // closed and made anew when an engine comes or goes
}

type holders struct {
	key     weft.Key
	engines uint64
}

func newRouter(engines []*engine, blocks, spill int) *router {
	return &router{
		engines: engines, blocks: blocks, spill: spill,
		table: map[weft.Key]*list.Element{}, order: list.New(),
		load: make([]int, len(engines)), turn: make([]int, len(engines)),
		changed: make(chan struct{}),
	}
}

// choice is an engine and how many lead blocks of the prompt it has in its own process.
type choice struct {
	engine *engine
	own    int
}

// look tells what assign would choose now; nothing changes.
func (r *router) look(keys []weft.Key) (choice, bool) {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.choose(keys)
}

// assign chooses an engine and counts the prompt as its work until release; it waits while no
// engine runs. Errors: ctx's.
func (r *router) assign(ctx context.Context, keys []weft.Key) (choice, error) {
	for {
		r.lock.Lock()
		chosen, ok := r.choose(keys)
		if ok {
			r.load[chosen.engine.bit]++
			r.turns++
			r.turn[chosen.engine.bit] = r.turns
			r.note(keys, chosen.engine.bit)
			r.lock.Unlock()
			return chosen, nil
		}
		changed := r.changed
		r.lock.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return choice{}, errors.Join(errors.New("no engine is running"), ctx.Err())
		}
	}
}

func (r *router) release(e *engine) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.load[e.bit]--
}

// came is called when an engine is ready, or has ended and lost what it had.
func (r *router) came(e *engine, up bool) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if !up {
		for at := r.order.Front(); at != nil; {
			next, block := at.Next(), at.Value.(*holders)
			if block.engines &^= 1 << e.bit; block.engines == 0 {
				r.forget(at)
			}
			at = next
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *router) choose(keys []weft.Key) (choice, bool) {
	var running uint64
	for _, e := range r.engines {
		if e.up() {
			running |= 1 << e.bit
		}
	}
	if running == 0 {
		return choice{}, false
	}
	least := r.least(running)
	own := sort.Search(len(keys), func(at int) bool { return r.table[keys[at]] == nil })
	if own > 0 {
		have := running & r.table[keys[own-1]].Value.(*holders).engines
		if have == 0 { // it has ended just now
			return choice{r.engines[least], 0}, true
		}
		if best := r.least(have); r.load[best]-r.load[least] < r.spill {
			return choice{r.engines[best], own}, true
		}
	}
	return choice{r.engines[least], 0}, true
}

// least gives the engine, among those of a mask, with the least to do; of equals the one that was
// chosen longest ago.
func (r *router) least(mask uint64) int {
	best := bits.TrailingZeros64(mask)
	for at := range r.engines {
		if mask&(1<<at) == 0 {
			continue
		}
		if r.load[at] < r.load[best] || r.load[at] == r.load[best] && r.turn[at] < r.turn[best] {
			best = at
		}
	}
	return best
}

// note keeps that an engine has these blocks; the last key first, so that a chain is forgotten from
// its end.
func (r *router) note(keys []weft.Key, bit int) {
	for at := len(keys) - 1; at >= 0; at-- {
		if known := r.table[keys[at]]; known != nil {
			known.Value.(*holders).engines |= 1 << bit
			r.order.MoveToBack(known)
			continue
		}
		r.table[keys[at]] = r.order.PushBack(&holders{keys[at], 1 << bit})
	}
	for len(r.table) > r.blocks {
		r.forget(r.order.Front())
	}
}

func (r *router) forget(at *list.Element) {
	delete(r.table, at.Value.(*holders).key)
	r.order.Remove(at)
}
