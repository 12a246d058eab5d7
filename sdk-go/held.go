package weft

// Where a view is held: in a `held`, which C writes into and which is used again and again, since a
// view must cost little more than the calls into C that it is. An allocation with a finalizer for
// each would cost more than those, and sync.Pool a third of one.
//
// Such a call costs as much again as what the library does to let a view go. So a view that is
// released, and whose held its goroutine's next view will use, is let go by that view's call:
// until then it lingers. Nobody else finds it, its bytes are gone for its holder, and it keeps its
// block's memory for a few milliseconds at most: the next call of this process that may need the
// room, and failing that a timer, ends it.
//
// Invariants:
//   - A held is whose CompareAndSwap made its handle `taken`, then the view's whose handle it has,
//     then nobody's: at 0, or lingering, at the handle's complement. The library never gives a
//     handle twice, so a View that was released finds another word and does nothing.
//   - A held lingers only while places refers to it and `lingering` is set, for else nothing would
//     end it, or until release, which let it linger, has seen to that.
//   - places refers to a held while nobody has it, and at most until the next collection while
//     somebody does: so one that was forgotten is collected, and its finalizer reports it.
//   - After it is made Go writes a held by atomic operations alone. It has no Go pointers.

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

type held struct {
	look lowlevel.Look
	at   int       // the place that refers to it, or pooled: helds has it while nobody does
	_    [128]byte // no two of them share a cache line, nor the next one's prefetch
}

// pooled is the place of a held that has none.
const pooled = -1

// taken is the handle of a held that is somebody's and has no view yet.
const taken = ^uint64(0)

// lingers tells whether a held with this word for a handle has a view that is released. Handles
// have their kind, a small number, in their top bits.
func lingers(word uint64) bool { return word>>63 != 0 && word != taken }

// places has the next held of the goroutines whose stacks lie where its index says: each mostly
// finds its own. Where more views are held at a time helds gives the others.
var places [64]struct {
	next atomic.Pointer[held]
	_    [56]byte
}

var helds = sync.Pool{New: func() any { return newHeld(pooled) }}

func newHeld(at int) *held {
	h := &held{at: at}
	runtime.SetFinalizer(h, (*held).forgotten)
	return h
}

// nearby is the place that this goroutine has mostly to itself. It may be another one in a function
// that is called, so it is asked once.
func nearby() int {
	var here byte
	return int(uintptr(unsafe.Pointer(&here)) / 4096 % uintptr(len(places)))
}

// isPlaced tells whether a place refers to h, so that the next view there will find it.
func (h *held) isPlaced() bool { return h.at != pooled && places[h.at].next.Load() == h }

func (h *held) word() uint64 { return atomic.LoadUint64(&h.look.Handle) }

// begin makes h the caller's, unless it is somebody's. ended is the view that lingered in it, or 0,
// which the caller lets go.
func (h *held) begin() (ended uint64, ours bool) {
	word := h.word()
	if word != 0 {
		if !lingers(word) {
			return 0, false
		}
		ended = ^word
	}
	return ended, atomic.CompareAndSwapUint64(&h.look.Handle, word, taken)
}

// takeAnother gives a held that is the caller's, where the place's is somebody's or not made yet.
func takeAnother(at int) *held {
	if places[at].next.Load() != nil {
		h := helds.Get().(*held)
		h.begin()
		return h
	}
	forgetting.Do(forgetAtCollection)
	h := newHeld(at)
	h.begin()
	places[at].next.CompareAndSwap(nil, h) // else it is used just once
	return h
}

// give ends the use of a held that has no view.
func (h *held) give() {
	atomic.StoreUint64(&h.look.Handle, 0)
	if h.at == pooled {
		helds.Put(h)
	}
}

func (h *held) place() uintptr { return uintptr(unsafe.Pointer(&h.look)) }

// release ends the view of this handle, unless that is over: at once, or soon where h has a place.
// Which goroutine lets go, and from which depth of its stack, is all the same.
func (h *held) release(handle uint64) {
	if h.at != pooled {
		if atomic.CompareAndSwapUint64(&h.look.Handle, handle, ^handle) {
			if !lingering.Load() {
				endSoon()
			}
			if !h.isPlaced() { // forgotten, or never found there
				h.endLingering()
			}
		}
	} else if h.word() == handle && atomic.CompareAndSwapUint64(&h.look.Handle, handle, taken) {
		lowlevel.ReleaseOne(atomic.LoadUint64(&h.look.Store), handle)
		h.give()
	}
	runtime.KeepAlive(h)
}

// lingering is set while a held may linger. Who clears it looks at every place afterwards, and who
// lets one linger looks at it afterwards: so one that is missed by the former sets it anew.
var lingering atomic.Bool

// ending is set while somebody ends what lingered: another waits until that is over.
var ending struct {
	sync.Mutex
	atomic.Bool
}

// endSoon sees to it that what lingers is ended, in some milliseconds.
func endSoon() {
	if !lingering.Swap(true) {
		time.AfterFunc(5*time.Millisecond, endAll)
	}
}

// endAll ends the views that linger: called before what may need their memory, or tells of views.
func endAll() {
	if lingering.Load() || ending.Load() {
		endEach(func(int, *held) {})
	}
}

// endEach ends what lingers in each place, and does what is to be done with it then.
func endEach(then func(at int, h *held)) {
	ending.Lock()
	defer ending.Unlock()
	ending.Store(true)
	lingering.Store(false)
	for at := range places {
		if h := places[at].next.Load(); h != nil {
			h.endLingering()
			then(at, h)
		}
	}
	ending.Store(false)
}

func (h *held) endLingering() {
	if !lingers(h.word()) {
		return
	}
	if ended, ours := h.begin(); ours {
		if ended != 0 {
			lowlevel.ReleaseOne(atomic.LoadUint64(&h.look.Store), ended)
		}
		h.give()
	}
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
		endEach(func(at int, h *held) {
			if h.word() != 0 && places[at].next.CompareAndSwap(h, nil) {
				h.endLingering() // released meanwhile, by who still found it here
			}
		})
		forgetAtCollection()
	})
}
