// hello: a private cache in this process. The blocks of a prompt are named by its tokens, saved in
// one op, matched, and read in place.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/weft-kv/weft/examples/go/process"
	"github.com/weft-kv/weft/sdk-go"
)

const blockBytes = 64 << 10 // what 16 tokens leave behind in some model

func main() {
	log.SetFlags(0)
	log.SetPrefix("hello: ")
	ctx := context.Background()
	store := process.Must(weft.Open("memory=64MiB"))
	defer store.Close()
	layout := fmt.Sprintf("block_tokens=16,parts=1,part_bytes=%d", blockBytes)
	space := process.Must(store.Namespace("demo/hello", layout))

	// A prompt of 70 tokens has 4 full blocks; each key stands for all tokens up to its block's
	// end.
	tokens := make([]uint32, 70)
	for at := range tokens {
		tokens[at] = uint32(1000 + at)
	}
	blocks := process.Must(weft.Keys(tokens, 16, ""))
	process.Expect(len(blocks) == 4, "4 full blocks")
	process.Expect(process.Must(space.Match(ctx, blocks)) == 0, "an empty cache matches nothing")

	// The engine computes them (here: a byte each) and saves all four.
	computed := make([][]byte, len(blocks))
	for at := range computed {
		computed[at] = bytes.Repeat([]byte{byte(at + 1)}, blockBytes)
	}
	process.Expect(process.Must(space.SaveList(ctx, blocks, computed)) == 4, "4 blocks are saved")

	// The next prompt begins alike: its lead blocks are there, and are read where they lie.
	tokens[40] = 7
	next := process.Must(weft.Keys(tokens, 16, ""))
	hit := process.Must(space.Match(ctx, next))
	process.Expect(hit == 2, "the first 2 blocks are the same")
	views := process.Must(space.ViewList(ctx, next[:hit]))
	defer views.Release()
	process.Expect(views.Len() == 2, "2 views")
	for at := range hit {
		process.Expect(bytes.Equal(views.Bytes(at), computed[at]), "a view has the saved bytes")
	}

	// What is not there is a miss, with its reason.
	_, err := space.Load(ctx, next[3], nil)
	var miss *weft.Error
	process.Expect(errors.Is(err, weft.ErrMiss) && errors.As(err, &miss), "a miss")
	process.Expect(miss.Reason == weft.Absent, "with its reason: absent")
	fmt.Printf("hello: %d of %d blocks reused, read in place; block 3: %v\n",
		hit, len(next), miss.Reason)
}
