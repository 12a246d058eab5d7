package weft

// Where a view is held: in a `held`, which C writes into and which is used again and again, since a
// view must cost little more than the two calls that it is. An allocation with a finalizer for each
// would cost more than both, and sync.Pool a third of one.
//
// Invariants:
//   - A held is whose CompareAndSwap made its handle `taken`, then the view's whose handle it has,
//     then, at 0, nobody's. The library never gives a handle twice, so a View that was released
//     finds another handle, or none, and does nothing.
//   - places refers to a held while nobody has it, and at most until the next collection while
//     somebody does: so one that was forgotten is collected, and its finalizer reports it.
//   - After it is made Go writes a held by atomic operations alone. It has no Go pointers.

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

type held struct {
	look   lowlevel.Look
	placed bool      // else helds has it while nobody does
	_      [128]byte // no two of them share a cache line, nor the next one's prefetch
}

// taken is the handle of a held that is somebody's and has no view yet.
const taken = ^uint64(0)

// places has the next held of the goroutines whose stacks lie where its index says: each mostly
// finds its own. Where more views are held at a time helds gives the others.
var places [64]struct {
	next atomic.Pointer[held]
	_    [56]byte
}

var helds = sync.Pool{New: func() any { return newHeld(false) }}

func newHeld(placed bool) *held {
	h := &held{placed: placed}
	runtime.SetFinalizer(h, (*held).forgotten)
	return h
}

// near is the held that this goroutine has mostly to itself; nil where there is none yet.
func near() *held { return places[nearby()].next.Load() }

func nearby() uintptr {
	var here byte
	return uintptr(unsafe.Pointer(&here)) / 4096 % uintptr(len(places))
}

func (h *held) isFree() bool { return atomic.LoadUint64(&h.look.Handle) == 0 }

func (h *held) begin() bool { return atomic.CompareAndSwapUint64(&h.look.Handle, 0, taken) }

// takeAnother gives a held that is the caller's, where the near one is somebody's.
func takeAnother() *held {
	at := nearby()
	if places[at].next.Load() != nil {
		h := helds.Get().(*held)
		h.begin()
		return h
	}
	forgetting.Do(forgetAtCollection)
	h := newHeld(true)
	h.begin()
	places[at].next.CompareAndSwap(nil, h) // else it is used just once
	return h
}

// give ends the use of a held that has no view.
func (h *held) give() {
	atomic.StoreUint64(&h.look.Handle, 0)
	if !h.placed {
		helds.Put(h)
	}
}

func (h *held) place() uintptr { return uintptr(unsafe.Pointer(&h.look)) }

// release ends the view of this handle, unless that is over.
func (h *held) release(handle uint64) {
	store := atomic.LoadUint64(&h.look.Store)
	switch {
	case atomic.LoadUint64(&h.look.Handle) != handle:
	case h.placed:
		lowlevel.ReleaseLook(h.place(), store, handle)
	case atomic.CompareAndSwapUint64(&h.look.Handle, handle, taken):
		lowlevel.ReleaseOne(store, handle)
		h.give()
	}
	runtime.KeepAlive(h)
}

// forgotten runs when nothing refers to h any more.
func (h *held) forgotten() {
	if handle := h.look.Handle; handle != 0 && handle != taken {
		leaked("a view of %d bytes", h.look.Size)
		lowlevel.ReleaseOne(h.look.Store, handle)
	}
}

var forgetting sync.Once

// forgetAtCollection makes places forget, at each collection, what somebody has.
func forgetAtCollection() {
	runtime.SetFinalizer(new([4]uint64), func(*[4]uint64) {
		for at := range places {
			if h := places[at].next.Load(); h != nil && !h.isFree() {
				places[at].next.CompareAndSwap(h, nil)
			}
		}
		forgetAtCollection()
	})
}
