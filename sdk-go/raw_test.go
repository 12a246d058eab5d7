package weft_test

// The queue of one's own: ops and events as the ABI has them.

import (
	"context"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/weft-kv/weft/sdk-go"
)

func TestOpsAndEventsAsTheyAre(t *testing.T) {
	store := openStore(t, "memory=64MiB")
	space := must[*weft.Namespace](t)(store.Namespace("tests/raw", "part_bytes=0"))
	save(t, space, key("k"), content(64, 3))
	queue := must[*weft.Queue](t)(store.Queue("depth=16"))
	into := weft.Rows(make([]byte, 8*64), 8)
	var pin runtime.Pinner
	defer pin.Unpin()
	ops := make([]weft.Op, 8)
	for at := range ops {
		pin.Pin(&into[at][0])
		ops[at] = weft.Op{
			Tag: 100 + uint64(at), Kind: weft.OpLoad, Space: space.Space, Size: 64,
			Region: must[uint32](t)(store.Memory()), KeyHi: key("k").Hi, KeyLo: key("k").Lo,
			Offset: uint64(uintptr(unsafe.Pointer(&into[at][0]))),
		}
	}
	equal(t, must[int](t)(queue.Submit(ops)), 8)
	seen := map[uint64]bool{}
	for events := make([]weft.Event, 3); len(seen) < 8; {
		for _, event := range events[:must[int](t)(queue.Reap(ctx, events))] {
			equal(t, event.Value, 64)
			seen[event.Tag] = true
		}
	}
	for _, row := range into {
		same(t, row, content(64, 3))
	}
	equal(t, queue.Close(), nil)
	_, err := queue.Submit(ops)
	is(t, err, weft.ErrClosed)
	_, err = queue.Reap(ctx, make([]weft.Event, 1))
	is(t, err, weft.ErrClosed)
}

func TestAReapEndsWithItsContextAndGoesOn(t *testing.T) {
	store := openStore(t, "memory=64MiB")
	space := must[*weft.Namespace](t)(store.Namespace("tests/raw", "part_bytes=0"))
	r := writing(t, space, key("k"))
	queue := must[*weft.Queue](t)(store.Queue(""))
	events := make([]weft.Event, 4)
	wait := weft.Op{
		Tag: 7, Kind: weft.OpWait, Space: space.Space, KeyHi: key("k").Hi, KeyLo: key("k").Lo,
	}
	equal(t, must[int](t)(queue.Submit([]weft.Op{wait})), 1)
	for range 3 {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		_, err := queue.Reap(short, events)
		is(t, err, context.DeadlineExceeded)
		cancel()
	}
	go func() { _, _ = r.Commit(ctx) }()
	equal(t, must[int](t)(queue.Reap(ctx, events)), 1)
	equal(t, events[0].Tag, 7)
	is(t, store.Close(), weft.ErrBusy) // a queue is open
	equal(t, queue.Close(), nil)
}
