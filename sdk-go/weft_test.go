package weft_test

// What the tests share: a private store of 64 MiB, a namespace of blocks of any size, and short
// words for what must hold.

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/weft-kv/weft/sdk-go"
)

var ctx = context.Background()

func must[T any](t *testing.T) func(value T, err error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func openStore(t *testing.T, options string) *weft.Store {
	t.Helper()
	store := must[*weft.Store](t)(weft.Open(options + ",timeout_ms=20000"))
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("the store does not close: %v", err)
		}
	})
	return store
}

func openSpace(t *testing.T) *weft.Namespace {
	t.Helper()
	store := openStore(t, "memory=64MiB")
	return must[*weft.Namespace](t)(store.Namespace("tests/any", "part_bytes=0"))
}

func key(name string) weft.Key { return weft.KeyOf([]byte(name)) }

func chainOf(t *testing.T, blocks int) []weft.Key {
	t.Helper()
	return must[[]weft.Key](t)(weft.Keys(make([]uint32, blocks*16), 16, ""))
}

func content(size int, first byte) []byte {
	made := make([]byte, size)
	for at := range made {
		made[at] = first + byte(at)
	}
	return made
}

func save(t *testing.T, space *weft.Namespace, key weft.Key, data []byte, options ...weft.Option) {
	t.Helper()
	if !must[bool](t)(space.Save(ctx, key, data, options...)) {
		t.Fatal("the save did not publish the block")
	}
}

func equal[T comparable](t *testing.T, got, expected T) {
	t.Helper()
	if got != expected {
		t.Fatalf("got %v, expected %v", got, expected)
	}
}

func same(t *testing.T, got, expected []byte) {
	t.Helper()
	if !bytes.Equal(got, expected) {
		t.Fatalf("%d bytes, or others than the %d expected", len(got), len(expected))
	}
}

func is(t *testing.T, err error, expected ...error) {
	t.Helper()
	for _, one := range expected {
		if !errors.Is(err, one) {
			t.Fatalf("got %v, expected %v", err, one)
		}
	}
}

func missed(t *testing.T, err error, reason weft.Reason) {
	t.Helper()
	is(t, err, weft.ErrMiss)
	var failure *weft.Error
	if !errors.As(err, &failure) || failure.Reason != reason {
		t.Fatalf("got %v, expected a miss: %v", err, reason)
	}
}
