package weft_test

// The examples that pkg.go.dev shows beside the calls; each runs as a test.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/weft-kv/weft/sdk-go"
)

// open is what the examples begin with: a private store, and a namespace for parts of any size.
func open() (*weft.Store, *weft.Namespace) {
	store, err := weft.Open("memory=64MiB")
	if err != nil {
		log.Fatal(err)
	}
	space, err := store.Namespace("me/model", "part_bytes=0")
	if err != nil {
		log.Fatal(err)
	}
	return store, space
}

func Example() {
	ctx := context.Background()
	store, err := weft.Open("memory=64MiB") // or "connect=unix:/run/weft.sock"
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	space, err := store.Namespace("me/model", "part_bytes=0")
	if err != nil {
		log.Fatal(err)
	}
	keys, _ := weft.Keys(make([]uint32, 64), 16, "") // four chained keys, as vLLM makes them
	saved, _ := space.SaveList(ctx, keys, weft.Rows(make([]byte, 4*256), 4))
	found, _ := space.Match(ctx, keys)
	view, err := space.View(ctx, keys[2]) // the cache's own memory, read-only, no copy
	if err != nil {
		log.Fatal(err)
	}
	defer view.Release()
	_, err = space.Load(ctx, weft.KeyOf([]byte("nobody saved this")), nil)
	fmt.Println(saved, found, len(view.Bytes()), errors.Is(err, weft.ErrMiss))
	// Output: 4 4 256 true
}

func ExampleNamespace_Load() {
	store, space := open()
	defer store.Close()
	_, err := space.Load(context.Background(), weft.KeyOf([]byte("a name")), nil)
	var failure *weft.Error
	if errors.As(err, &failure) && failure.Code == weft.ErrMiss {
		fmt.Println("a miss:", failure.Reason)
	}
	// Output: a miss: absent
}

func ExampleNamespace_Claim() {
	ctx := context.Background()
	store, space := open()
	defer store.Close()
	keys, _ := weft.Keys(make([]uint32, 64), 16, "")
	claim, err := space.Claim(ctx, keys) // waits while others compute them
	if err != nil {
		log.Fatal(err)
	}
	defer claim.Release()
	for _, key := range keys[claim.First:] { // compute what is not there, in order
		if _, err := space.Save(ctx, key, make([]byte, 256)); err != nil {
			log.Fatal(err)
		}
	}
	found, _ := space.Match(ctx, keys)
	fmt.Println(claim.First, found)
	// Output: 0 4
}

func ExampleNamespace_Reserve() {
	ctx := context.Background()
	store, space := open()
	defer store.Close()
	part, err := space.Reserve(ctx, weft.KeyOf([]byte("a name")), 5)
	if err != nil {
		log.Fatal(err)
	}
	defer part.Abort(ctx) // after the commit it does nothing
	copy(part.Bytes(0), "hello")
	published, err := part.Commit(ctx)
	fmt.Println(published, err)
	// Output: true <nil>
}

func ExampleView_ReadAt() {
	ctx := context.Background()
	store, space := open()
	defer store.Close()
	key := weft.KeyOf([]byte("a name"))
	if _, err := space.Save(ctx, key, []byte("read as a stream")); err != nil {
		log.Fatal(err)
	}
	view, err := space.Fetch(ctx, key)
	if err != nil {
		log.Fatal(err)
	}
	defer view.Release()
	io.Copy(os.Stdout, io.NewSectionReader(view, 0, int64(view.Len())))
	// Output: read as a stream
}

func ExampleSaveArray() {
	ctx := context.Background()
	store, space := open()
	defer store.Close()
	key := weft.KeyOf([]byte("an image"))
	rows := weft.Array[float32]{Shape: []int{2, 2}, Data: []float32{1, 2, 3, 4}}
	if _, err := weft.SaveArray(ctx, space, key, rows); err != nil {
		log.Fatal(err)
	}
	found, err := weft.LoadArray[float32](ctx, space, key) // saved by this or any language
	fmt.Println(found.Shape, found.Data, err)
	// Output: [2 2] [1 2 3 4] <nil>
}
