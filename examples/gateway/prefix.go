package main

// What the gateway asks of Weft: the keys of a prompt, made as the engines make them, and how many
// of its lead blocks this host's memory holds. Both only look: no lock, no system call, no wait.
//
// Invariant: the namespace is opened as the engines have made it, never created here; when it
// advances it is opened anew at its floor, which is then the engines' version too.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

type prefixes struct {
	store   *weft.Store
	name    string
	version uint64 // the lowest that is asked for
	options string // of weft.Keys
	space   atomic.Pointer[weft.Namespace]
	opening sync.Mutex
	told    atomic.Int64 // when a failure was last logged, ns
}

// open opens the namespace at `version`, or at its floor where that is higher. Errors: weft.ErrMiss
// where no engine has made it yet.
func (p *prefixes) open() error {
	p.opening.Lock()
	defer p.opening.Unlock()
	options := fmt.Sprintf("create=no,version=%d", p.version)
	space, err := p.store.Namespace(p.name, options)
	if errors.Is(err, weft.ErrFenced) {
		space, err = p.store.Namespace(p.name, "create=no")
	}
	if err != nil {
		return err
	}
	if before := p.space.Swap(space); before != nil && before.Space != space.Space {
		_ = before.Close() // a look-up in it right now asks again
	}
	return nil
}

// now is the version that engines are to have.
func (p *prefixes) now() uint64 {
	if p.open() != nil {
		return p.version
	}
	return p.space.Load().Version
}

// keys gives the keys of a prompt's full blocks without its last token, which is always computed:
// Weft keeps keys and values, not logits.
func (p *prefixes) keys(text []byte) ([]weft.Key, error) {
	tokens := tokenBuffers.Get().(*[]uint32)
	defer tokenBuffers.Put(tokens)
	made := slices.Grow((*tokens)[:0], len(text))[:len(text)]
	for at, value := range text {
		made[at] = uint32(value)
	}
	*tokens = made
	block := p.space.Load().BlockTokens
	full := max(len(text)-1, 0) / block
	return weft.Keys(made[:full*block], block, p.options)
}

var tokenBuffers = sync.Pool{New: func() any { return new([]uint32) }}

// cached counts the tokens of the lead blocks that are in this host's memory; 0 where the node
// can't be asked: then the engines find out.
func (p *prefixes) cached(ctx context.Context, keys []weft.Key) int {
	space := p.space.Load()
	found, err := space.Match(ctx, keys)
	if (errors.Is(err, weft.ErrFenced) || errors.Is(err, weft.ErrClosed)) && p.open() == nil {
		space = p.space.Load()
		found, err = space.Match(ctx, keys)
	}
	if err != nil && ctx.Err() == nil {
		now := time.Now().UnixNano()
		if before := p.told.Load(); now-before > int64(time.Second) &&
			p.told.CompareAndSwap(before, now) {
			slog.Warn("no look-up in Weft", "namespace", p.name, "error", err)
		}
	}
	if err != nil {
		return 0
	}
	return found * space.BlockTokens
}
