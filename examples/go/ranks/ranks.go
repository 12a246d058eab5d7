// ranks: a block of two parts, each saved by a process of its own, as the ranks of a
// tensor-parallel engine do. They name one writer, so that their parts join; nobody sees the block
// before both are in.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"

	"github.com/weft-kv/weft/examples/go/process"
	"github.com/weft-kv/weft/sdk-go"
)

const (
	partBytes = 512 << 10
	layout    = "parts=2,part_bytes=524288,writer=engine-0"
)

var (
	ctx = context.Background()
	key = weft.KeyOf([]byte("a block of two parts"))
)

func share(part int) []byte { return bytes.Repeat([]byte{byte(part + 1)}, partBytes) }

func partIsRight(space *weft.Namespace, part int) bool {
	view := process.Must(space.Fetch(ctx, key, weft.Part(part)))
	defer view.Release()
	return bytes.Equal(view.Bytes(), share(part))
}

func rank(address string, part int) {
	store := process.Must(weft.Open("connect=" + address))
	defer store.Close()
	space := process.Must(store.Namespace("demo/ranks", layout))
	published := process.Must(space.Save(ctx, key, share(part), weft.Part(part)))
	// A rank that ended here would take its part along: the block belongs to nobody until it is
	// whole.
	process.Expect(space.Wait(ctx, key) == nil, "the other part comes")
	process.Expect(partIsRight(space, 1-part), "the other rank's part")
	done := ""
	if published {
		done = ", which published the block"
	}
	fmt.Printf("part %d saved%s, the other's read\n", part, done)
}

func engine() {
	address := process.NewAddress()
	node := process.Must(weft.Open("memory=64MiB,listen=" + address))
	defer node.Close()
	space := process.Must(node.Namespace("demo/ranks", layout))
	rank0, rank1 := process.Start(address, "0"), process.Start(address, "1")
	rank0.Finish()
	rank1.Finish()
	process.Expect(partIsRight(space, 0) && partIsRight(space, 1), "both parts")
	fmt.Println("ranks: two processes saved one block together")
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("ranks: ")
	if len(os.Args) > 2 {
		rank(os.Args[1], int(os.Args[2][0]-'0'))
	} else {
		engine()
	}
}
