// embeddings: objects of any size by content. An image is encoded once; whoever has the same image
// again finds its embedding by the image's own bytes, with its type and shape.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"slices"

	"github.com/weft-kv/weft/examples/go/process"
	"github.com/weft-kv/weft/sdk-go"
)

const width = 256 // numbers per patch

var (
	ctx     = context.Background()
	encoded = 0
)

// encode stands for a vision encoder: 1 row of width numbers for each 1,024 bytes of image.
func encode(image []byte) weft.Array[float32] {
	rows := (len(image) + 1023) / 1024
	numbers := make([]float32, rows*width)
	for at := range numbers {
		numbers[at] = float32(math.Sin(float64(at) + float64(image[0])))
	}
	return weft.Array[float32]{Shape: []int{rows, width}, Data: numbers}
}

// embedding is that of an image; encoded counts how many were not in the cache.
func embedding(space *weft.Namespace, image []byte) weft.Array[float32] {
	key := weft.KeyOf(image)
	found, err := weft.LoadArray[float32](ctx, space, key)
	if err == nil {
		return found
	}
	process.Expect(errors.Is(err, weft.ErrMiss), "found, or a miss")
	encoded++
	rows := encode(image)
	process.Must(weft.SaveArray(ctx, space, key, rows))
	return rows
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("embeddings: ")
	store := process.Must(weft.Open("memory=64MiB"))
	defer store.Close()
	space := process.Must(store.Namespace("demo/vision", "parts=1,part_bytes=0"))
	large := bytes.Repeat([]byte("a"), 300000)
	for _, image := range [][]byte{large, bytes.Repeat([]byte("b"), 5000), large} {
		rows, own := embedding(space, image), encode(image)
		process.Expect(slices.Equal(rows.Data, own.Data), "the embedding is the image's own")
		process.Expect(slices.Equal(rows.Shape, own.Shape), "with its shape")
		fmt.Printf("image of %d bytes: %d x %d float32\n", len(image), rows.Shape[0], rows.Shape[1])
	}
	process.Expect(encoded == 2, "the third image is the first one again")
	fmt.Println("embeddings: 3 images, 2 encoded")
}
