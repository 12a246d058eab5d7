package weft_test

// Views: the cache's own memory, until it is released; once and not twice; and not forgotten.

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/weft-kv/weft/sdk-go"
	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

func TestAViewIsTheCachesOwnMemory(t *testing.T) {
	space := openSpace(t)
	save(t, space, key("k"), content(4096, 5))
	first := must[weft.View](t)(space.View(ctx, key("k")))
	second := must[weft.View](t)(space.Fetch(ctx, key("k")))
	same(t, first.Bytes(), content(4096, 5))
	if &first.Bytes()[0] != &second.Bytes()[0] {
		t.Fatal("two views are one memory")
	}
	must[int](t)(space.Remove(ctx, []weft.Key{key("k")}))
	same(t, first.Bytes(), content(4096, 5)) // whatever becomes of the block
	first.Release()
	second.Release()
	equal(t, first.Len(), 0)
	_, err := space.View(ctx, key("k"))
	is(t, err, weft.ErrMiss)
}

func TestASecondReleaseLetsNobodyElsesViewGo(t *testing.T) {
	space := openSpace(t)
	save(t, space, key("k"), content(64, 1))
	for range 100 {
		first := must[weft.View](t)(space.View(ctx, key("k")))
		first.Release()
		next := must[weft.View](t)(space.View(ctx, key("k"))) // in the same holder, most likely
		first.Release()
		if first.Bytes() != nil {
			t.Fatal("a released view shows bytes")
		}
		same(t, next.Bytes(), content(64, 1))
		next.Release()
	}
	weft.View{}.Release()
}

// withEight has a block of 64 bytes for each of eight goroutines, under its number.
func withEight(t *testing.T) (*weft.Store, *weft.Namespace) {
	store := openStore(t, "memory=64MiB")
	space := must[*weft.Namespace](t)(store.Namespace("tests/eight", "part_bytes=0"))
	for at := range 8 {
		save(t, space, weft.Key{Lo: uint64(at)}, content(64, byte(at)))
	}
	return store, space
}

func TestViewsThatManyReleaseAtOnceAreReleasedOnce(t *testing.T) {
	store, space := withEight(t)
	var group sync.WaitGroup
	for at := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 300 {
				var held [3]weft.View // one in this goroutine's own place, and others
				for place := range held {
					held[place] = must[weft.View](t)(space.View(ctx, weft.Key{Lo: uint64(at)}))
				}
				var releasing sync.WaitGroup
				for _, view := range []weft.View{held[0], held[0], held[1], held[1]} {
					releasing.Add(1)
					go func() {
						defer releasing.Done()
						view.Release()
					}()
				}
				releasing.Wait()
				if held[0].Bytes() != nil || !bytes.Equal(held[2].Bytes(), content(64, byte(at))) {
					t.Error("a release let another view go")
				}
				held[2].Release()
			}
		}()
	}
	group.Wait()
	equal(t, store.Close(), nil) // no view is left
}

func TestAViewIsRead(t *testing.T) {
	space := openSpace(t)
	save(t, space, key("k"), content(3000, 9))
	view := must[weft.View](t)(space.View(ctx, key("k")))
	reader := io.NewSectionReader(view, 0, int64(view.Len()))
	if err := iotest.TestReader(reader, content(3000, 9)); err != nil {
		t.Fatal(err)
	}
	_, err := view.ReadAt(make([]byte, 1), -1)
	is(t, err, weft.ErrInvalid)
	count, err := view.ReadAt(make([]byte, 10), 2995)
	equal(t, count, 5)
	is(t, err, io.EOF)
	view.Release()
	_, err = view.ReadAt(make([]byte, 1), 0)
	is(t, err, weft.ErrClosed)
	equal(t, err.Error(), "weft: the view is released")
}

func TestViewsOfALeadOfAList(t *testing.T) {
	space := openSpace(t)
	keys := chainOf(t, 4)
	must[int](t)(space.SaveList(ctx, keys[:3], weft.Rows(content(3*256, 0), 3)))
	views := must[*weft.Views](t)(space.ViewList(ctx, keys))
	equal(t, views.Len(), 3)
	same(t, views.Bytes(2), content(256, 0))
	views.Release()
	views.Release()
	if views.Bytes(2) != nil {
		t.Fatal("released views show bytes")
	}
	none := must[*weft.Views](t)(space.ViewList(ctx, keys[3:]))
	equal(t, none.Len(), 0)
	none.Release()
}

func TestAStoreWithViewsIsBusyUntilTheyAreReleased(t *testing.T) {
	space := openSpace(t)
	store := openStore(t, "memory=64MiB")
	other := must[*weft.Namespace](t)(store.Namespace("tests/busy", "part_bytes=0"))
	save(t, other, key("k"), content(64, 1))
	view := must[weft.View](t)(other.View(ctx, key("k")))
	is(t, other.Close(), weft.ErrBusy)
	is(t, store.Close(), weft.ErrBusy)
	same(t, view.Bytes(), content(64, 1))
	view.Release()
	equal(t, store.Close(), nil)
	equal(t, store.Close(), nil)
	_, err := other.View(ctx, key("k"))
	is(t, err, weft.ErrClosed)
	save(t, space, key("k"), content(64, 1)) // another store's goes on
}

// collect runs the collector until something was reported.
func collect(t *testing.T, said chan string) string {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); {
		runtime.GC()
		select {
		case what := <-said:
			return what
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal("nothing was reported")
	return ""
}

func TestWhatIsForgottenIsReportedAndLetGo(t *testing.T) {
	space := openSpace(t)
	said := make(chan string, 100)
	weft.ReportLeaks(func(what string) { said <- what })
	defer weft.ReportLeaks(nil)
	keys := chainOf(t, 2)
	must[int](t)(space.SaveList(ctx, keys, weft.Rows(make([]byte, 512), 2)))
	fresh, short, other := []weft.Key{key("c")}, key("5"), key("7")
	save(t, space, short, content(5, 0))
	save(t, space, other, content(7, 0))
	var views []weft.View // so that the one that is forgotten is in a place, or is not
	defer func() {
		for _, view := range views {
			view.Release()
		}
	}()
	for words, forget := range map[string]func() (any, error){
		"a view of 256 bytes": func() (any, error) { return space.View(ctx, keys[0]) },
		"a view of 5 bytes": func() (any, error) {
			for range 3 {
				views = append(views, must[weft.View](t)(space.View(ctx, keys[0])))
			}
			return space.View(ctx, short)
		},
		"a view of 7 bytes":    func() (any, error) { return space.Fetch(ctx, other) },
		"views of 2 blocks":    func() (any, error) { return space.ViewList(ctx, keys) },
		"a pin in tests/any":   func() (any, error) { return space.Find(ctx, keys, weft.Pin()) },
		"a claim in tests/any": func() (any, error) { return space.Claim(ctx, fresh) },
		"a reservation":        func() (any, error) { return space.Reserve(ctx, key("r"), 9) },
	} {
		must[any](t)(forget())
		if what := collect(t, said); !strings.Contains(what, words) {
			t.Fatalf("%q was reported, not %q", what, words)
		}
	}
	until := time.Now().Add(20 * time.Second)
	for { // the reservation is aborted in the background
		published, err := space.Save(ctx, key("r"), content(9, 0))
		if err == nil {
			equal(t, published, true)
			break
		}
		is(t, err, weft.ErrHeld)
		if time.Now().After(until) {
			t.Fatal("the reservation is not let go")
		}
		time.Sleep(time.Millisecond)
	}
}

// nearLimit holds all views that a process may have of a namespace but one.
func nearLimit(t *testing.T) (*weft.Store, *weft.Namespace) {
	store := openStore(t, "memory=64MiB")
	space := must[*weft.Namespace](t)(store.Namespace("tests/limit", "part_bytes=0"))
	keys := make([]weft.Key, 4031)
	for at := range keys {
		keys[at] = weft.Key{Lo: uint64(at)}
	}
	must[int](t)(space.SaveList(ctx, keys, weft.Rows(make([]byte, 8*len(keys)), len(keys))))
	views := must[*weft.Views](t)(space.ViewList(ctx, keys))
	equal(t, views.Len(), len(keys))
	t.Cleanup(views.Release)
	return store, space
}

func TestTheLimitOfViewsIsAnErrorAndCountsNoneThatIsReleased(t *testing.T) {
	_, space := nearLimit(t)
	last := must[weft.View](t)(space.View(ctx, weft.Key{Lo: 1}))
	for range 2 { // the second time in memory that a miss has used before
		_, err := space.View(ctx, weft.Key{Lo: 2})
		is(t, err, weft.ErrQuota)
		_, err = space.View(ctx, weft.Key{Lo: 5000})
		is(t, err, weft.ErrQuota)
	}
	last.Release()
	for range 100 { // goroutines, of which each has a place of its own for views
		done := make(chan error)
		go func() {
			view, err := space.View(ctx, weft.Key{Lo: 2})
			view.Release()
			done <- err
		}()
		equal(t, <-done, nil)
	}
	views := must[*weft.Views](t)(space.ViewList(ctx, []weft.Key{{Lo: 3}}))
	equal(t, views.Len(), 1)
	views.Release()
}

func TestAReleasedViewIsLetGoWhereNothingFollows(t *testing.T) {
	store, space := nearLimit(t)
	must[weft.View](t)(space.View(ctx, weft.Key{Lo: 1})).Release()
	items, handle := []weft.Item{{KeyLo: 2}}, new(uint64)
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		// The ABI itself: it ends nothing that lingers.
		if lowlevel.View(store.Handle(), space.Space, 0, items, handle) == 1 {
			break
		}
		if time.Now().After(until) {
			t.Fatal("a released view is not let go")
		}
	}
	lowlevel.ReleaseOne(store.Handle(), *handle)
}

func TestViewsAreLetGoOnceBesideTheCollector(t *testing.T) {
	store, space := withEight(t)
	var group sync.WaitGroup
	for at := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for round := range 2000 {
				view := must[weft.View](t)(space.View(ctx, weft.Key{Lo: uint64(at)}))
				if round%100 == at {
					runtime.GC()
				}
				if !bytes.Equal(view.Bytes(), content(64, byte(at))) {
					t.Error("a view has other bytes than its block")
				}
				view.Release()
				if round%3 == 0 {
					must[weft.Found](t)(space.Find(ctx, []weft.Key{{Lo: uint64(at)}}))
				}
			}
		}()
	}
	group.Wait()
	equal(t, store.Close(), nil) // no view is left
}

//go:noinline
func deeper(frames int, act func()) byte {
	var frame [48]byte
	if frames == 0 {
		act()
		return 0
	}
	frame[frames%48] = 1
	return frame[(frames+1)%48] + deeper(frames-1, act)
}

func TestAViewAndItsReleaseAreOneCallIntoCWhereverTheStackIs(t *testing.T) {
	space := openSpace(t)
	one := key("k") // which C makes
	save(t, space, one, content(64, 1))
	for frames := range 100 { // over a page of the stack
		deeper(frames, func() {
			before := runtime.NumCgoCall()
			for range 200 {
				must[weft.View](t)(space.View(ctx, one)).Release()
			}
			// What lingers is let go by a timer, and a collection gives a place to another.
			if calls := runtime.NumCgoCall() - before; calls > 300 {
				t.Errorf("%d calls for 200 views at a depth of %d frames", calls, frames)
			}
		})
	}
}
