package weft

// Views: what reads blocks in the cache's own memory, until it is released.

import (
	"context"
	"fmt"
	"io"
	"log"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

// View is a read-only look at a part in the cache's own memory: it stays as it is, whatever becomes
// of the block, until Release. It is a value, and its copies are one view. The zero View is
// released.
type View struct {
	held   *held
	handle uint64
}

// Bytes is the part. It must not be written, nor used after Release: keep the View for as long. nil
// after Release.
func (v View) Bytes() []byte {
	if v.held == nil {
		return nil
	}
	look := &v.held.look
	address, size := atomic.LoadUint64(&look.Offset), atomic.LoadUint32(&look.Size)
	if atomic.LoadUint64(&look.Handle) != v.handle {
		return nil
	}
	return bytesAt(address, size)
}

// Len is the part's size in bytes, 0 after Release.
func (v View) Len() int { return len(v.Bytes()) }

// ReadAt copies from the part, as io.ReaderAt has it: io.NewSectionReader(view, 0,
// int64(view.Len())) reads it as a stream. Errors: io.EOF at the end, ErrClosed after Release.
func (v View) ReadAt(into []byte, at int64) (int, error) {
	part := v.Bytes()
	if part == nil {
		return 0, &Error{Code: ErrClosed, Words: "the view is released"}
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

// Release lets the block go; twice is once. Any goroutine; never waits. The block's memory is the
// store's again with this process's next view, op, query or close, and within some milliseconds.
func (v View) Release() {
	if v.held != nil {
		v.held.release(v.handle)
	}
}

// hold makes the View of what an op has viewed.
func (n *Namespace) hold(event lowlevel.Event) View {
	h := takeAnother(nearby())
	atomic.StoreUint64(&h.look.Offset, event.Value)
	atomic.StoreUint32(&h.look.Size, event.Detail)
	atomic.StoreUint64(&h.look.Store, n.store.handle)
	atomic.StoreUint64(&h.look.Handle, event.Handle)
	return View{h, event.Handle}
}

// View looks at a block in this host's memory. Never waits. Options: Part. Errors: ErrMiss, whose
// Reason is always Far, for it looks nowhere else (Fetch, Load and Find tell why); ErrFenced;
// ErrQuota at the limit of views.
func (n *Namespace) View(ctx context.Context, key Key, options ...Option) (View, error) {
	part := uint32(0)
	if len(options) > 0 {
		var err error
		if part, err = n.partOf(options); err != nil {
			return View{}, err
		}
	}
	if ctx == nil {
		return View{}, ended(ctx)
	}
	if err := ctx.Err(); err != nil {
		return View{}, err
	}
	at, lingered, ours := nearby(), uint64(0), false
	h := places[at].next.Load()
	if h != nil {
		lingered, ours = h.begin()
	}
	if !ours {
		h, lingered = takeAnother(at), 0
	}
	lowlevel.LookAt(h.place(), lingered, n.store.handle, n.Space, part, key.Hi, key.Lo)
	if h.look.Viewed != 1 && h.look.Status == -int32(ErrQuota) { // of them some may linger
		endAll()
		lowlevel.LookAt(h.place(), 0, n.store.handle, n.Space, part, key.Hi, key.Lo)
	}
	if h.look.Viewed != 1 {
		return View{}, h.refused(n)
	}
	return View{h, h.word()}, nil
}

// partOf is the part that options of a look name.
func (n *Namespace) partOf(options []Option) (uint32, error) {
	var op lowlevel.Op
	if err := lay(&op, options); err != nil {
		return 0, err
	}
	if op != (lowlevel.Op{Part: op.Part}) {
		return 0, invalid("view in %s: it takes no option but Part", n.Name)
	}
	if int(op.Part) >= n.Parts {
		return 0, invalid("view in %s: part=%d: the namespace has %d parts, counted from 0",
			n.Name, op.Part, n.Parts)
	}
	return uint32(op.Part), nil
}

// refused is why h holds nothing; h goes back.
func (h *held) refused(n *Namespace) error {
	viewed, status, size := h.look.Viewed, h.look.Status, h.look.Size
	h.give()
	switch {
	case viewed < 0:
		return n.failed(viewed)
	case status < 0 && Code(-status) != ErrMiss:
		return n.failed(status)
	}
	return miss(size)
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
		lowlevel.ReleaseOne(v.store, v.handle)
	}
}

// ViewList looks at the lead blocks that this host's memory holds; fewer, or none, where it has not
// all of them, and at the limit of views. Never waits.
func (n *Namespace) ViewList(ctx context.Context, keys []Key, options ...Option) (*Views, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	part, err := n.partOf(options)
	if err != nil {
		return nil, err
	}
	endAll()
	items, handle := itemsOf(keys), new(uint64)
	count := lowlevel.View(n.store.handle, n.Space, part, items, handle)
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
// claim that was not let go before it was collected, and which is let go then. Without it, or with
// nil, they are logged by package log.
func ReportLeaks(report func(what string)) { reporter.Store(&report) }

func leaked(format string, values ...any) {
	what := "weft: not let go: " + fmt.Sprintf(format, values...)
	if report := reporter.Load(); report != nil && *report != nil {
		(*report)(what)
		return
	}
	log.Print(what)
}
