package weft

// Views: what reads blocks in the cache's own memory, until it is released.
//
// A View must cost little more than the two calls that it is, so it is a value, and what it holds
// comes from a pool, where `held` keeps its finalizer through all its uses. Each use has its turn,
// which Release ends: so a second release, or a look after it, finds another turn and does nothing.
// held has no Go pointers: C writes into it.

import (
	"context"
	"fmt"
	"io"
	"log"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

type held struct {
	look  lowlevel.Look // its Handle is 0 while nothing is held
	store uint64
	turn  atomic.Uint64
}

var helds = sync.Pool{New: func() any {
	h := new(held)
	runtime.SetFinalizer(h, (*held).forgotten)
	return h
}}

// forgotten runs when neither the pool nor a View refers to h any more.
func (h *held) forgotten() {
	if h.look.Handle != 0 {
		leaked("a view of %d bytes", h.look.Size)
		lowlevel.Release_one(h.store, h.look.Handle)
	}
}

// View is a read-only look at a part in the cache's own memory: it stays as it is, whatever becomes
// of the block, until Release. It is a value, and its copies are one view. The zero View is
// released.
type View struct {
	held *held
	turn uint64
}

// Bytes is the part. It must not be written, nor used after Release: keep the View for as long. nil
// after Release.
func (v View) Bytes() []byte {
	if v.held == nil || v.held.turn.Load() != v.turn {
		return nil
	}
	return bytesAt(v.held.look.Offset, v.held.look.Size)
}

// Len is the part's size in bytes, 0 after Release.
func (v View) Len() int { return len(v.Bytes()) }

// ReadAt copies from the part, as io.ReaderAt has it: io.NewSectionReader(view, 0,
// int64(view.Len())) reads it as a stream. Errors: io.EOF at the end, ErrClosed after Release.
func (v View) ReadAt(into []byte, at int64) (int, error) {
	part := v.Bytes()
	if part == nil {
		return 0, ErrClosed
	}
	if at < 0 {
		return 0, invalid("offset %d", at)
	}
	n := copy(into, part[min(at, int64(len(part))):])
	runtime.KeepAlive(v.held)
	if n < len(into) {
		return n, io.EOF
	}
	return n, nil
}

// Release lets the block go; twice is once. Any goroutine; never waits.
func (v View) Release() {
	if h := v.held; h != nil && h.turn.CompareAndSwap(v.turn, v.turn+1) {
		handle := h.look.Handle
		h.look.Handle = 0
		lowlevel.Release_one(h.store, handle)
		helds.Put(h)
	}
}

// hold makes the View of h, whose look is filled.
func (n *Namespace) hold(h *held) View {
	h.store = n.store.handle
	return View{h, h.turn.Load()}
}

// View looks at a block in this host's memory. Never waits. Errors: ErrMiss, whose Reason is always
// Far, for it looks nowhere else (Fetch, Load and Find tell why); ErrFenced; ErrQuota at the limit
// of views.
func (n *Namespace) View(ctx context.Context, key Key, options ...Option) (View, error) {
	var op lowlevel.Op
	if err := ctx.Err(); err != nil {
		return View{}, err
	}
	if len(options) > 0 {
		if err := lay(&op, options); err != nil {
			return View{}, err
		}
	}
	h := helds.Get().(*held)
	h.look.Item = lowlevel.Item{KeyHi: key.Hi, KeyLo: key.Lo}
	place := uintptr(unsafe.Pointer(&h.look)) // on the heap, which does not move
	lowlevel.View_one(n.store.handle, n.Space, uint32(op.Part), place)
	if h.look.Viewed != 1 {
		return View{}, h.refused(n)
	}
	return n.hold(h), nil
}

// refused is why h holds nothing; h goes back.
func (h *held) refused(n *Namespace) error {
	look := h.look
	helds.Put(h)
	switch {
	case look.Viewed < 0:
		return n.failed(look.Viewed)
	case look.Status < 0 && Code(-look.Status) != ErrMiss:
		return n.failed(look.Status)
	}
	return miss(look.Size)
}

// Views are read-only looks at a list's lead blocks, under one handle.
type Views struct {
	items  []lowlevel.Item
	handle uint64
	store  uint64
	ended  atomic.Bool
}

func (n *Namespace) holdAll(items []lowlevel.Item, handle uint64) *Views {
	v := &Views{items: items, handle: handle, store: n.store.handle}
	if handle == 0 {
		v.ended.Store(true)
		return v
	}
	runtime.SetFinalizer(v, func(v *Views) {
		if !v.ended.Load() {
			leaked("views of %d blocks", len(v.items))
			v.Release()
		}
	})
	return v
}

// Len is how many blocks are viewed.
func (v *Views) Len() int { return len(v.items) }

// Bytes is block at's part, as View.Bytes has it.
func (v *Views) Bytes(at int) []byte {
	if v.ended.Load() {
		return nil
	}
	return bytesAt(v.items[at].Offset, v.items[at].Size)
}

// Release lets all the blocks go; twice is once. Any goroutine; never waits.
func (v *Views) Release() {
	if !v.ended.Swap(true) {
		runtime.SetFinalizer(v, nil)
		lowlevel.Release_one(v.store, v.handle)
	}
}

// ViewList looks at the lead blocks that this host's memory holds; fewer, or none, where it has not
// all of them, and at the limit of views. Never waits.
func (n *Namespace) ViewList(ctx context.Context, keys []Key, options ...Option) (*Views, error) {
	var op lowlevel.Op
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := lay(&op, options); err != nil {
		return nil, err
	}
	items, handle := itemsOf(keys), new(uint64)
	count := lowlevel.View(n.store.handle, n.Space, uint32(op.Part), items, handle)
	if count < 0 {
		return nil, n.failed(count)
	}
	return n.holdAll(items[:count], *handle), nil
}

// bytesAt is the memory at an address that the library gave.
func bytesAt(address uint64, size uint32) []byte {
	if size == 0 {
		return []byte{}
	}
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), size)
}

var reporter atomic.Pointer[func(what string)]

// ReportLeaks calls report, on a goroutine of the runtime, for each view, reservation, pin and
// claim that was not let go before it was collected, and which is let go then. Without it they are
// logged by package log.
func ReportLeaks(report func(what string)) { reporter.Store(&report) }

func leaked(format string, values ...any) {
	what := "weft: not let go: " + fmt.Sprintf(format, values...)
	if report := reporter.Load(); report != nil {
		(*report)(what)
		return
	}
	log.Print(what)
}
