package main

// Look-ups: what is counted as cached, and what one costs without its network.
//
//	go test -bench Prefix -run '^$' -cpuprofile /tmp/prefix.out

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/weft-kv/weft/sdk-go"
)

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,;:()[]=+-"

func randomText(draw *rand.Rand, size int) string {
	text := make([]byte, size)
	for at := range text {
		text[at] = letters[draw.Intn(len(letters))]
	}
	return string(text)
}

// lookups is a server without engines on a store of its own, with the blocks of these texts.
func lookups(t testing.TB, block int, texts ...string) *server {
	store, err := weft.Open("memory=64MiB")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	layout := fmt.Sprintf("version=1,part_bytes=64,block_tokens=%d", block)
	space, err := store.Namespace("gateway/test", layout)
	if err != nil {
		t.Fatal(err)
	}
	cache := &prefixes{store: store, name: "gateway/test", version: 1}
	if err := cache.open(); err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		keys, err := cache.keys([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		rows := weft.Rows(make([]byte, 64*len(keys)), len(keys))
		if _, err := space.SaveList(context.Background(), keys, rows); err != nil {
			t.Fatal(err)
		}
	}
	return &server{
		model: "none", context: 4096, bytesMax: 1 << 20, cache: cache,
		router: newRouter(nil, 1<<16, 4), metrics: newMetrics(),
	}
}

func BenchmarkPrefix(b *testing.B) {
	draw := rand.New(rand.NewSource(1))
	base := randomText(draw, 4096)
	handler := lookups(b, 16, base).handler()
	var bodies [][]byte
	for range 512 {
		cut := draw.Intn(4096)
		prompt := base[:cut] + randomText(draw, 4096-cut)
		body, _ := json.Marshal(map[string]string{"prompt": prompt})
		bodies = append(bodies, body)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for at := range b.N {
		r := httptest.NewRequest(http.MethodPost, "/v1/prefix", bytes.NewReader(bodies[at%512]))
		w := httptest.NewRecorder()
		if handler.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}
