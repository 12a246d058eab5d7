package weft_test

// What a newcomer did wrong and lost something by: a reservation whose context had ended, and calls
// on a namespace that was closed.

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/weft-kv/weft/sdk-go"
)

func TestAContextThatHasEndedLosesNoReservation(t *testing.T) {
	store := must[*weft.Store](t)(weft.Open("memory=16MiB"))
	defer store.Close()
	space := must[*weft.Namespace](t)(store.Namespace("tests/ended", "part_bytes=1048576"))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for range 40 { // more than the memory holds at once
		r := must[*weft.Reservation](t)(space.Reserve(context.Background(), weft.Key{Lo: 1}, 0))
		if _, err := r.Commit(ended); !errors.Is(err, context.Canceled) {
			t.Fatalf("a commit with an ended context: %v", err)
		}
		if r.Bytes(0) == nil {
			t.Fatal("it was not committed, and its memory is gone")
		}
		if err := r.Abort(ended); err != nil {
			t.Fatalf("an abort with an ended context: %v", err)
		}
	}
	r := must[*weft.Reservation](t)(space.Reserve(context.Background(), weft.Key{Lo: 1}, 0))
	if published, err := r.Commit(context.Background()); err != nil || !published {
		t.Fatalf("the key is free and the memory there: %v %v", published, err)
	}
}

func TestCallsOnAClosedNamespaceSayThatItIsClosed(t *testing.T) {
	store := must[*weft.Store](t)(weft.Open("memory=16MiB"))
	defer store.Close()
	space := must[*weft.Namespace](t)(store.Namespace("tests/closed", "part_bytes=0"))
	if err := space.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, key := context.Background(), weft.Key{Lo: 1}
	_, matched := space.Match(ctx, []weft.Key{key})
	_, viewed := space.View(ctx, key)
	_, loaded := space.Load(ctx, key, nil)
	_, listed := space.ViewList(ctx, []weft.Key{key})
	for _, err := range []error{matched, viewed, loaded, listed} {
		if !errors.Is(err, weft.ErrClosed) || !strings.Contains(err.Error(), "tests/closed") {
			t.Errorf("%v is not ErrClosed, or does not name the namespace", err)
		}
	}
}
