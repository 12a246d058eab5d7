package weft_test

// Reservations, followers, claims and pins: what is held, and that it is let go.

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

func TestAReservationIsWrittenInPlace(t *testing.T) {
	space := openSpace(t)
	r := must[*weft.Reservation](t)(space.Reserve(ctx, key("k"), 5000))
	copy(r.Bytes(0), content(5000, 7))
	_, err := space.View(ctx, key("k"))
	is(t, err, weft.ErrMiss) // not there before its end
	_, err = space.Reserve(ctx, key("k"), 5000)
	is(t, err, weft.ErrHeld)
	equal(t, must[bool](t)(r.Commit(ctx, weft.TTL(time.Hour))), true)
	equal(t, must[bool](t)(r.Commit(ctx)), false)
	equal(t, r.Abort(ctx), nil)
	if r.Bytes(0) != nil {
		t.Fatal("memory of the store's after the commit")
	}
	same(t, must[[]byte](t)(space.Load(ctx, key("k"), nil)), content(5000, 7))
	_, err = space.Reserve(ctx, key("k"), 5000)
	is(t, err, weft.ErrExists)
}

func TestAnAbortGivesTheKeyFree(t *testing.T) {
	space := openSpace(t)
	r := must[*weft.Reservation](t)(space.Reserve(ctx, key("k"), 300))
	equal(t, r.Abort(ctx), nil)
	save(t, space, key("k"), content(300, 1))
}

func TestAListIsReservedButForWhatIsThere(t *testing.T) {
	space := openSpace(t)
	keys := chainOf(t, 4)
	save(t, space, keys[1], content(512, 9))
	r := must[*weft.Reservation](t)(space.ReserveList(ctx, keys, 512))
	equal(t, r.Len(), 4)
	for at := range keys {
		equal(t, r.Bytes(at) == nil, at == 1)
		copy(r.Bytes(at), content(512, byte(at)))
	}
	equal(t, must[bool](t)(r.Commit(ctx)), true)
	views := must[*weft.Views](t)(space.ViewList(ctx, keys))
	defer views.Release()
	equal(t, views.Len(), 4)
	for at, first := range []byte{0, 9, 2, 3} {
		equal(t, views.Bytes(at)[0], first)
	}
	empty := must[*weft.Reservation](t)(space.ReserveList(ctx, nil, 512))
	equal(t, must[bool](t)(empty.Commit(ctx)), false)
}

func TestAFollowerReadsWhatIsFinal(t *testing.T) {
	space := openSpace(t)
	r := must[*weft.Reservation](t)(space.Reserve(ctx, key("k"), 4096))
	view := must[weft.View](t)(space.Fetch(ctx, key("k"), weft.Follow()))
	defer view.Release()
	copy(r.Bytes(0), content(1024, 3))
	equal(t, r.Final(ctx, 1024), nil)
	equal(t, space.Wait(ctx, key("k"), weft.Follow(), weft.Size(1024)), nil)
	same(t, view.Bytes()[:1024], content(1024, 3))
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	err := space.Wait(short, key("k"), weft.Follow(), weft.Start(1024), weft.Size(1024))
	is(t, err, context.DeadlineExceeded)
	equal(t, r.Abort(ctx), nil)
	missed(t, space.Wait(ctx, key("k"), weft.Follow(), weft.Size(4096)), weft.Partial)
}

func TestOneOfManyComputes(t *testing.T) {
	space := openSpace(t)
	keys := chainOf(t, 4)
	var group sync.WaitGroup
	computed := make(chan int, 100)
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			claim, err := space.Claim(ctx, keys)
			if err != nil {
				t.Error(err)
				return
			}
			defer claim.Release()
			rest := keys[claim.First:]
			for at := range rest {
				computed <- claim.First + at
			}
			rows := weft.Rows(make([]byte, 256*len(rest)), len(rest))
			if _, err := space.SaveList(ctx, rest, rows); err != nil {
				t.Error(err)
			}
		}()
	}
	group.Wait()
	equal(t, len(computed), 4)
	equal(t, must[weft.Claim](t)(space.Claim(ctx, keys)).First, 4)
	equal(t, space.WaitList(ctx, keys), nil)
}

func TestAReleasedClaimGoesToTheNext(t *testing.T) {
	space := openSpace(t)
	keys := chainOf(t, 2)
	save(t, space, keys[0], content(256, 0))
	first := must[weft.Claim](t)(space.Claim(ctx, keys))
	equal(t, first.First, 1)
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	_, err := space.Claim(short, keys)
	is(t, err, context.DeadlineExceeded)
	first.Release()
	first.Release()
	second := must[weft.Claim](t)(space.Claim(ctx, keys))
	equal(t, second.First, 1)
	second.Release()
	missed(t, space.Wait(ctx, keys[1]), weft.Absent)
}

func TestAPinKeepsBlocksUntilItIsReleased(t *testing.T) {
	store := openStore(t, "memory=64MiB")
	space := must[*weft.Namespace](t)(store.Namespace("tests/pins", "part_bytes=0"))
	keys := chainOf(t, 4)
	rows := weft.Rows(make([]byte, 4<<20), 4)
	must[int](t)(space.SaveList(ctx, keys, rows))
	pinned := must[weft.Found](t)(space.Find(ctx, keys, weft.Pin(), weft.TTL(10*time.Minute)))
	for at := range 150 {
		save(t, space, weft.Key{Hi: 7, Lo: uint64(at)}, rows[0])
	}
	equal(t, must[int](t)(space.LoadList(ctx, keys, rows)), 4)
	pinned.Release()
}

func TestUnfinishedSavesAreDropped(t *testing.T) {
	store := openStore(t, "memory=64MiB")
	space := must[*weft.Namespace](t)(store.Namespace("tests/half", "parts=2,part_bytes=512"))
	equal(t, must[bool](t)(space.Save(ctx, key("k"), content(512, 0))), false)
	equal(t, must[weft.Found](t)(space.Find(ctx, []weft.Key{key("k")})).Reason, weft.Partial)
	equal(t, must[int](t)(space.DropUnfinished(ctx, []weft.Key{key("k")})), 1)
	equal(t, must[bool](t)(space.Save(ctx, key("k"), content(512, 1))), false)
	save(t, space, key("k"), content(512, 2), weft.Part(1))
	same(t, must[[]byte](t)(space.Load(ctx, key("k"), nil, weft.Part(1))), content(512, 2))
}
