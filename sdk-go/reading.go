package weft

// Reading: counts and copies of blocks, and views brought here first.

import (
	"context"
	"runtime"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

const firstGuess = 1 << 16 // bytes first tried for a part of unknown size

// Match counts how many of these lead blocks this host's memory holds, whole. Never waits.
func (n *Namespace) Match(ctx context.Context, keys []Key) (int, error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	look := looks.Get().(*look)
	defer looks.Put(look)
	count := lowlevel.Match(n.store.handle, n.Space, fill(look.room(len(keys)), keys))
	if count < 0 {
		return 0, n.failed(count)
	}
	return int(count), nil
}

// Load copies a part: into `into`, up to its size, and gives what was filled of it; or, where into
// is nil, into memory of its own, as much as there is or Size says. Options: Part, Start, Size,
// Verify, Follow, WaitWriter, ReuseSoon... Errors: ErrMiss, ErrCorrupt, ErrRange.
func (n *Namespace) Load(
	ctx context.Context, key Key, into []byte, options ...Option,
) ([]byte, error) {
	room := firstGuess
	if n.PartBytes > 0 {
		room = int(n.PartBytes)
	}
	for {
		c, op, err := n.start(lowlevel.WEFT_OP_LOAD, 0, options)
		if err != nil {
			return nil, err
		}
		asked, to := op.Size, into
		if into == nil && asked > 0 {
			room = int(asked)
		}
		if into == nil {
			to = make([]byte, room)
		}
		c.ofKey(key)
		if err = c.onMemory(to); err != nil {
			c.end()
			return nil, err
		}
		op.Size = uint32(len(to))
		begin := uint64(op.Start)
		event, err := n.run(ctx, c, "load")
		c.end()
		if err != nil {
			return nil, err
		}
		if into != nil || asked > 0 || begin+event.Value >= event.Handle {
			return to[:event.Value], nil
		}
		room = int(event.Handle - begin)
	}
}

// LoadList copies many parts, each to its place, at most as much as fits; it gives how many lead
// blocks were loaded. Options: as Load's, and Unchained.
func (n *Namespace) LoadList(
	ctx context.Context, keys []Key, into [][]byte, options ...Option,
) (int, error) {
	return n.moveList(ctx, lowlevel.WEFT_OP_LOAD, "load", keys, into, options)
}

// moveList loads or saves a list of blocks.
func (n *Namespace) moveList(
	ctx context.Context, kind int, what string, keys []Key, memory [][]byte, options []Option,
) (int, error) {
	c, _, err := n.start(kind, lowlevel.WEFT_CHAIN, options)
	if err != nil {
		return 0, err
	}
	defer c.end()
	items := itemsOf(keys)
	if err := c.place(items, memory); err != nil || len(keys) == 0 {
		return 0, err
	}
	c.ofItems(items)
	event, err := n.run(ctx, c, what, ErrMiss)
	return int(event.Value), err
}

// onKeys carries out an op on a list of keys that are only read; none at all for an empty one.
func (n *Namespace) onKeys(
	ctx context.Context, kind, flags int, what string, keys []Key, options []Option,
	answers ...Code,
) (lowlevel.Event, error) {
	c, _, err := n.start(kind, flags, options)
	if err != nil {
		return lowlevel.Event{}, err
	}
	defer c.end()
	if len(keys) == 0 {
		return lowlevel.Event{}, nil
	}
	c.ofItems(itemsOf(keys))
	return n.run(ctx, c, what, answers...)
}

// Fetch is a View, of a block that is brought to this host first if need be. Options: Part, Verify,
// Follow (read then only bytes for which Wait with Follow has returned), WaitWriter. Errors:
// ErrMiss.
func (n *Namespace) Fetch(ctx context.Context, key Key, options ...Option) (View, error) {
	c, _, err := n.start(lowlevel.WEFT_OP_VIEW, 0, options)
	if err != nil {
		return View{}, err
	}
	defer c.end()
	c.ofKey(key)
	event, err := n.run(ctx, c, "fetch")
	if err != nil {
		return View{}, err
	}
	return n.hold(event), nil
}

// FetchList views a chain's lead blocks, brought to this host first if need be. Options: as
// Fetch's.
func (n *Namespace) FetchList(ctx context.Context, keys []Key, options ...Option) (*Views, error) {
	c, _, err := n.start(lowlevel.WEFT_OP_VIEW, lowlevel.WEFT_CHAIN, options)
	if err != nil {
		return nil, err
	}
	defer c.end()
	items := itemsOf(keys)
	if len(keys) == 0 {
		return n.holdAll(nil, 0), nil
	}
	c.ofItems(items)
	event, err := n.run(ctx, c, "fetch", ErrMiss)
	if event.Value > 0 {
		return n.holdAll(items[:event.Value], event.Handle), nil
	}
	if err != nil {
		return nil, err
	}
	return n.holdAll(nil, 0), nil
}

// Found is what Find counted.
type Found struct {
	Blocks int    // lead blocks that are whole and in reach
	Reason Reason // why the next one does not count; 0: there is no next one
	pin    *hold
}

// Release lets a pin go before its time; twice is once.
func (f Found) Release() { f.pin.release() }

// Find counts the lead blocks that are whole and in reach, over all tiers and nodes, and tells why
// the next one is not. Options: Pin, TTL, Follow, Unchained.
func (n *Namespace) Find(ctx context.Context, keys []Key, options ...Option) (Found, error) {
	event, err := n.onKeys(ctx, lowlevel.WEFT_OP_MATCH, lowlevel.WEFT_CHAIN, "find", keys, options)
	if err != nil {
		return Found{}, err
	}
	found := Found{Blocks: int(event.Value), pin: n.newHold("a pin", event.Handle)}
	if found.Blocks < len(keys) {
		found.Reason = Reason(event.Detail)
	}
	return found, nil
}

// hold is a pin or a claim until it is let go.
type hold struct{ store, handle uint64 }

func (n *Namespace) newHold(what string, handle uint64) *hold {
	if handle == 0 {
		return nil
	}
	h := &hold{n.store.handle, handle}
	runtime.SetFinalizer(h, func(h *hold) {
		leaked("%s in %s", what, n.Name)
		lowlevel.ReleaseOne(h.store, h.handle)
	})
	return h
}

func (h *hold) release() {
	if h != nil {
		runtime.SetFinalizer(h, nil)
		lowlevel.ReleaseOne(h.store, h.handle) // a second time it is no handle any more
	}
}
