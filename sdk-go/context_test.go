package weft_test

// Contexts, and thousands of goroutines on one queue.

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

// writing opens a reservation for the key, so that others can wait for it.
func writing(t *testing.T, space *weft.Namespace, key weft.Key) *weft.Reservation {
	t.Helper()
	return must[*weft.Reservation](t)(space.Reserve(ctx, key, 64))
}

func TestACancelEndsTheOp(t *testing.T) {
	space := openSpace(t)
	r := writing(t, space, key("k"))
	defer r.Abort(ctx)
	short, cancel := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, cancel)
	is(t, space.Wait(short, key("k")), context.Canceled, weft.ErrCanceled)
	is(t, space.Wait(short, key("k")), context.Canceled) // not even begun
	_, err := space.Match(short, []weft.Key{key("k")})
	is(t, err, context.Canceled)
	_, err = space.View(short, key("k"))
	is(t, err, context.Canceled)
}

func TestADeadlineIsTheOpsTimeout(t *testing.T) {
	space := openSpace(t)
	r := writing(t, space, key("k"))
	defer r.Abort(ctx)
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := space.Wait(short, key("k"))
	is(t, err, context.DeadlineExceeded)
	if took := time.Since(begin); took > 10*time.Second {
		t.Fatalf("it took %v", took)
	}
	if !errors.Is(err, weft.ErrTimeout) && !errors.Is(err, weft.ErrCanceled) {
		t.Fatal(err)
	}
}

func TestThousandsOfGoroutinesShareAQueue(t *testing.T) {
	space := openSpace(t)
	const count = 3000
	var group sync.WaitGroup
	for at := range count {
		group.Add(1)
		go func() {
			defer group.Done()
			data := content(300, byte(at))
			name := weft.Key{Hi: 1, Lo: uint64(at)}
			if published, err := space.Save(ctx, name, data); err != nil || !published {
				t.Errorf("save %d: %v", at, err)
				return
			}
			loaded, err := space.Load(ctx, name, make([]byte, 300))
			if err != nil || string(loaded) != string(data) {
				t.Errorf("load %d: %v", at, err)
			}
		}()
	}
	group.Wait()
	threads, _ := runtime.ThreadCreateProfile(nil)
	if threads > 200 {
		t.Errorf("%d threads: goroutines wait in C", threads)
	}
}

func TestWaitersDoNotKeepOutWhomTheyWaitFor(t *testing.T) {
	space := openSpace(t)
	r := writing(t, space, key("k"))
	const count = 6000 // more than one queue takes
	var group sync.WaitGroup
	errs := make(chan error, count)
	for range count {
		group.Add(1)
		go func() {
			defer group.Done()
			errs <- space.Wait(ctx, key("k"))
		}()
	}
	save(t, space, key("another"), content(10, 1))
	equal(t, must[bool](t)(r.Commit(ctx)), true)
	group.Wait()
	close(errs)
	for err := range errs {
		if err != nil && !errors.Is(err, weft.ErrQuota) {
			t.Fatal(err)
		}
	}
}

func TestThousandsOfCancelsAtOnce(t *testing.T) {
	space := openSpace(t)
	r := writing(t, space, key("k"))
	defer r.Abort(ctx)
	short, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	for range 1000 {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := space.Wait(short, key("k")); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}()
	}
	time.Sleep(50 * time.Millisecond)
	cancel()
	group.Wait()
	save(t, space, key("another"), content(10, 1))
}

func TestACloseEndsCallsInFlight(t *testing.T) {
	store := openStore(t, "memory=16MiB")
	space := must[*weft.Namespace](t)(store.Namespace("tests/close", "part_bytes=0"))
	r := writing(t, space, key("k"))
	ended := make(chan error)
	for range 100 {
		go func() { ended <- space.Wait(ctx, key("k")) }()
	}
	time.Sleep(20 * time.Millisecond)
	closed := make(chan error)
	go func() { closed <- store.Close() }()
	for range 100 {
		err := <-ended
		if !errors.Is(err, weft.ErrClosed) && !errors.Is(err, weft.ErrCanceled) ||
			!strings.HasSuffix(err.Error(), "the store is closed") {
			t.Errorf("a call in flight ended with %v", err)
		}
	}
	is(t, <-closed, weft.ErrBusy) // somebody may still write
	same(t, r.Bytes(0), make([]byte, len(r.Bytes(0))))
	_, err := r.Commit(ctx)
	is(t, err, weft.ErrClosed)
	equal(t, store.Close(), nil)
	equal(t, r.Abort(ctx), nil)
}

func TestAnAbortGoesWhereAStoreIsClosing(t *testing.T) {
	store := openStore(t, "memory=16MiB")
	space := must[*weft.Namespace](t)(store.Namespace("tests/close", "part_bytes=0"))
	r := must[*weft.Reservation](t)(space.Reserve(ctx, key("k"), 100))
	is(t, space.Close(), weft.ErrBusy)
	is(t, store.Close(), weft.ErrBusy)
	equal(t, r.Abort(ctx), nil)
	equal(t, store.Close(), nil)
}
