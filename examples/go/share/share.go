// share: two processes of a host, one cache. The first is the node: it owns the memory and listens.
// The second connects, reads a block of the first in place, and saves one that the first then
// reads.
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
	blockBytes = 1 << 20
	layout     = "parts=1,part_bytes=1048576"
)

var ctx = context.Background()

func block(value byte) []byte { return bytes.Repeat([]byte{value}, blockBytes) }

func second(address string) {
	store := process.Must(weft.Open("connect=" + address))
	defer store.Close()
	space := process.Must(store.Namespace("demo/share", layout))
	key := weft.KeyOf([]byte("from the first"))
	view := process.Must(space.View(ctx, key)) // no copy, no system call
	defer view.Release()
	process.Expect(bytes.Equal(view.Bytes(), block(1)), "the first one's block, in place")
	key = weft.KeyOf([]byte("from the second"))
	process.Expect(process.Must(space.Save(ctx, key, block(2))), "it is published")
	fmt.Println("read the first one's block in place, saved another")
}

func first() {
	address := process.NewAddress()
	node := process.Must(weft.Open("memory=64MiB,listen=" + address))
	defer node.Close()
	space := process.Must(node.Namespace("demo/share", layout))
	key := weft.KeyOf([]byte("from the first"))
	process.Expect(process.Must(space.Save(ctx, key, block(1))), "it is published")
	process.Start(address).Finish()
	// Its saver has ended; the block stays.
	view := process.Must(space.View(ctx, weft.KeyOf([]byte("from the second"))))
	defer view.Release()
	process.Expect(bytes.Equal(view.Bytes(), block(2)), "the second one's block")
	fmt.Println("share: each process read what the other saved")
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("share: ")
	if len(os.Args) > 1 {
		second(os.Args[1])
	} else {
		first()
	}
}
