// stream: a reader follows a writer layer by layer, so that decode can start on the first layers
// while prefill still writes the last. Here they go in step, which proves that nothing waits for
// the end: each layer is written only after the reader has read the one before.
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
	layers     = 8
	layerBytes = 128 << 10
	layout     = "parts=1,layers=8,part_bytes=1048576"
)

var (
	ctx = context.Background()
	key = weft.KeyOf([]byte("a prompt's block"))
)

func content(layer int) []byte { return bytes.Repeat([]byte{byte(layer + 1)}, layerBytes) }

// decode opens a view of what is still being written, then waits for each layer to be final.
func decode(address string) {
	store := process.Must(weft.Open("connect=" + address))
	defer store.Close()
	space := process.Must(store.Namespace("demo/stream", layout))
	view := process.Must(space.Fetch(ctx, key, weft.Follow()))
	defer view.Release()
	for layer := range layers {
		at := layer * layerBytes
		err := space.Wait(ctx, key, weft.Follow(), weft.Start(at), weft.Size(layerBytes))
		process.Expect(err == nil, "the layer comes")
		read := view.Bytes()[at : at+layerBytes]
		process.Expect(bytes.Equal(read, content(layer)), "the layer's bytes")
		fmt.Printf("layer %d read\n", layer)
	}
	// What was read counts only if the block was published: had the writer given up, this would say
	// so.
	process.Expect(space.Wait(ctx, key) == nil, "the block is published")
}

func prefill() {
	address := process.NewAddress()
	node := process.Must(weft.Open("memory=64MiB,listen=" + address))
	defer node.Close()
	space := process.Must(node.Namespace("demo/stream", layout))
	block := process.Must(space.Reserve(ctx, key, 0))
	defer block.Abort(ctx) // does nothing after the commit
	memory := block.Bytes(0)
	process.Expect(len(memory) == layers*layerBytes, "memory to write in place")
	reader := process.Start(address)
	for layer := range layers {
		copy(memory[layer*layerBytes:], content(layer))
		process.Expect(block.Final(ctx, (layer+1)*layerBytes) == nil, "the layer is final")
		process.Expect(reader.Line(), "the reader reads it")
	}
	process.Expect(process.Must(block.Commit(ctx)), "it is published")
	reader.Finish()
	fmt.Println("stream: every layer was read before the next was written")
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("stream: ")
	if len(os.Args) > 1 {
		decode(os.Args[1])
	} else {
		prefill()
	}
}
