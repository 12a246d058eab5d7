package weft

// Writing: saves, and reservations for writing in place.

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

// Save copies a part's bytes, or those from Start, into the cache. True: this call published the
// block; false: it was there already, or other parts, or other bytes of this one, lack. Options:
// Part, Start, TTL, Replace, WaitWriter, ReuseSoon... Errors: ErrHeld (it is being written),
// ErrRange (larger than the part), ErrFenced, ErrQuota.
func (n *Namespace) Save(
	ctx context.Context, key Key, data []byte, options ...Option,
) (bool, error) {
	c, op, err := n.start(lowlevel.WEFT_OP_SAVE, 0, options)
	if err != nil {
		return false, err
	}
	defer c.end()
	c.ofKey(key)
	if err := c.onMemory(data); err != nil {
		return false, err
	}
	op.Size = uint32(len(data))
	event, err := n.run(ctx, c, "save", ErrExists)
	return event.Status >= 0 && event.Detail == 1, err
}

// SaveList saves many parts; it gives how many lead blocks are done, those that were there already
// among them. Options: as Save's, and Unchained.
func (n *Namespace) SaveList(
	ctx context.Context, keys []Key, data [][]byte, options ...Option,
) (int, error) {
	return n.moveList(ctx, lowlevel.WEFT_OP_SAVE, "save", keys, data, options)
}

// Rows cuts memory into count equal rows, as lists take it; bytes that do not fill them are left
// out.
func Rows(memory []byte, count int) [][]byte {
	rows := make([][]byte, count)
	for at := range rows {
		size := len(memory) / count
		rows[at] = memory[at*size : (at+1)*size : (at+1)*size]
	}
	return rows
}

// Reservation is parts opened for writing in place. One goroutine at a time uses it.
type Reservation struct {
	namespace *Namespace
	lock      sync.Mutex // guards handle and items
	handle    uint64
	items     []lowlevel.Item
}

// Reserve opens a part of size bytes (0: the namespace's) for writing in place. Options: Part,
// Replace, WaitWriter. Errors: ErrExists, ErrHeld, ErrQuota.
func (n *Namespace) Reserve(
	ctx context.Context, key Key, size int, options ...Option,
) (*Reservation, error) {
	options = append(options[:len(options):len(options)], Size(size))
	c, _, err := n.start(lowlevel.WEFT_OP_RESERVE, 0, options)
	if err != nil {
		return nil, err
	}
	defer c.end()
	c.ofKey(key)
	event, err := n.run(ctx, c, "reserve")
	if err != nil {
		return nil, err
	}
	return n.reserved(event.Handle, []lowlevel.Item{{Offset: event.Value, Size: event.Detail}}), nil
}

// ReserveList opens the parts of many blocks under one reservation; those that are there already
// have no bytes in it. Options: as Reserve's, and Unchained.
func (n *Namespace) ReserveList(
	ctx context.Context, keys []Key, size int, options ...Option,
) (*Reservation, error) {
	options = append(options[:len(options):len(options)], Size(size))
	c, _, err := n.start(lowlevel.WEFT_OP_RESERVE, lowlevel.WEFT_CHAIN, options)
	if err != nil {
		return nil, err
	}
	defer c.end()
	if len(keys) == 0 {
		return n.reserved(0, nil), nil
	}
	items := itemsOf(keys)
	for at := range items {
		items[at].Status = -int32(ErrCanceled) // of those that a failure left out
	}
	c.ofItems(items)
	event, err := n.run(ctx, c, "reserve", ErrExists)
	opened := event.Status >= 0
	for at := range items {
		opened = opened || items[at].Status >= 0
	}
	if !opened {
		event.Handle = 0 // it is a story's
	}
	r := n.reserved(event.Handle, items)
	if err != nil {
		r.Abort(context.WithoutCancel(ctx))
		return nil, err
	}
	return r, nil
}

func (n *Namespace) reserved(handle uint64, items []lowlevel.Item) *Reservation {
	r := &Reservation{namespace: n, handle: handle, items: items}
	if handle != 0 {
		runtime.SetFinalizer(r, func(r *Reservation) {
			leaked("a reservation of %d parts in %s", len(r.items), n.Name)
			lowlevel.ReleaseOne(n.store.handle, r.handle)
		})
	}
	return r
}

// Len is how many parts were asked for, 0 after the end.
func (r *Reservation) Len() int { return len(r.items) }

// Bytes is part at's memory to write, nil where the block was there already and after Commit or
// Abort, from which on the memory is the store's again.
func (r *Reservation) Bytes(at int) []byte {
	if at >= len(r.items) || r.items[at].Status < 0 {
		return nil
	}
	return bytesAt(r.items[at].Offset, r.items[at].Size)
}

// Final makes the bytes before size of each part final, for those who follow; more are to come.
// Errors: ErrInvalid where no part has as many.
func (r *Reservation) Final(ctx context.Context, size int) error {
	most := 0
	for at := range r.items {
		most = max(most, len(r.Bytes(at)))
	}
	if size > most && r.handle != 0 {
		return invalid("final: %d bytes of a part of %d", size, most)
	}
	options := []Option{Size(size)}
	c, op, err := r.namespace.start(lowlevel.WEFT_OP_COMMIT, lowlevel.WEFT_MORE, options)
	if err != nil {
		return err
	}
	defer c.end()
	op.Offset = r.handle
	_, err = r.namespace.run(ctx, c, "final")
	return err
}

// Commit publishes the parts; with a ctx that has ended it does nothing. True: this published the
// last of the blocks; false: other parts lack, or nothing was open. Options: TTL, ReuseSoon...
func (r *Reservation) Commit(ctx context.Context, options ...Option) (bool, error) {
	event, err := r.finish(ctx, lowlevel.WEFT_OP_COMMIT, "commit", options)
	return err == nil && event.Detail == 1, err
}

// Abort drops what was written and gives the keys free. After Commit or Abort it does nothing, so
// that it can be deferred. A ctx that has ended does not keep it from aborting: else the memory
// would be lost; nor does a store that is closing.
func (r *Reservation) Abort(ctx context.Context) error {
	if ctx == nil {
		return ended(ctx)
	}
	_, err := r.finish(context.WithoutCancel(ctx), lowlevel.WEFT_OP_ABORT, "abort", nil)
	if errors.Is(err, ErrClosed) {
		return nil // finish has let it go
	}
	return err
}

func (r *Reservation) finish(
	ctx context.Context, kind int, what string, options []Option,
) (lowlevel.Event, error) {
	if err := ended(ctx); err != nil {
		return lowlevel.Event{}, err // nothing was done: the reservation is as it was
	}
	r.lock.Lock()
	handle := r.handle
	r.handle, r.items = 0, nil
	r.lock.Unlock()
	if handle == 0 {
		return lowlevel.Event{}, nil
	}
	runtime.SetFinalizer(r, nil)
	event, err := r.end(ctx, kind, what, handle, options)
	if err != nil { // a store that is closing takes no op
		lowlevel.ReleaseOne(r.namespace.store.handle, handle)
	}
	return event, err
}

func (r *Reservation) end(
	ctx context.Context, kind int, what string, handle uint64, options []Option,
) (lowlevel.Event, error) {
	c, op, err := r.namespace.start(kind, 0, options)
	if err != nil {
		return lowlevel.Event{}, err
	}
	defer c.end()
	op.Offset = handle
	return r.namespace.run(ctx, c, what)
}

// DropUnfinished drops what this namespace's writer has saved of these blocks and not published; it
// gives how many lead ones.
func (n *Namespace) DropUnfinished(ctx context.Context, keys []Key) (int, error) {
	const what = "drop unfinished"
	event, err := n.onKeys(ctx, lowlevel.WEFT_OP_ABORT, 0, what, keys, nil, ErrMiss)
	return int(event.Value), err
}
