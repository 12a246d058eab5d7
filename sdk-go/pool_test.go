package weft_test

// An engine's paged memory: a page becomes a block and comes back in another page.

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/weft-kv/weft/sdk-go"
)

func TestPagesOfAPoolAreSavedAndLoaded(t *testing.T) {
	store := openStore(t, "memory=64MiB")
	space := must[*weft.Namespace](t)(store.Namespace("tests/pool", "part_bytes=128"))
	queue := must[*weft.Queue](t)(store.Queue(""))
	memory := make([]byte, 4*128) // two layers of four pages of 64 bytes each
	copy(memory[64:], content(64, 1))
	copy(memory[4*64+64:], content(64, 2))
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&memory[0])
	base := uint64(uintptr(unsafe.Pointer(&memory[0])))
	pool := must[*weft.Pool](t)(store.Pool("pages=4,bytes=64", []uint64{base, base + 4*64}))
	run := func(kind uint16, page uint64) weft.Event {
		op := weft.Op{
			Kind: kind, Space: space.Space, Region: pool.Region(), Offset: page,
			KeyHi: key("k").Hi, KeyLo: key("k").Lo,
		}
		equal(t, must[int](t)(queue.Submit([]weft.Op{op})), 1)
		events := make([]weft.Event, 1)
		equal(t, must[int](t)(queue.Reap(ctx, events)), 1)
		return events[0]
	}
	equal(t, run(weft.OpSave, 1).Value, 128)
	equal(t, run(weft.OpLoad, 3).Value, 128)
	same(t, memory[3*64:4*64], content(64, 1))
	same(t, memory[7*64:8*64], content(64, 2))
	same(t, memory[2*64:3*64], make([]byte, 64))
	equal(t, queue.Close(), nil)
	equal(t, pool.Close(), nil)
	equal(t, pool.Close(), nil)
	_, err := store.Pool("pages=4,bytes=64,colour=red", []uint64{base})
	says(t, err, "colour=red")
}
