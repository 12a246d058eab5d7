// Weft from Go beside the same calls of the same store in C, taken in turns: views, loads of a
// batch, one small load. The blocks are another process's.
//
//	bench PROGRAMS [--quick]      PROGRAMS: the folder of weft_bench_node
package main

/*
#cgo pkg-config: weft
#include "calls.h"
*/
import "C"

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/weft-kv/weft/sdk-go"
)

const (
	run        = 64 // calls between two readings of the clock
	smallBytes = 256
	largeBytes = 1 << 20
	batch      = 32
)

var ctx = context.Background()

func mixed(value uint64) uint64 {
	value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9
	value = (value ^ (value >> 27)) * 0x94D049BB133111EB
	return value ^ (value >> 31)
}

const step = uint64(0x9E3779B97F4A7C15)

// keyOf is the key that client.cpp gives block index.
func keyOf(index int) weft.Key {
	return weft.Key{Hi: mixed(uint64(index)*2 + step), Lo: mixed(uint64(index)*2 + step + 1)}
}

// isBlock says whether these are the bytes that client.cpp gives block index.
func isBlock(bytes []byte, index int) bool {
	for at := 0; at+8 <= len(bytes); at += 8 {
		word := binary.LittleEndian.Uint64(bytes[at:])
		if word != uint64(at)+(uint64(index)+1)*step {
			return false
		}
	}
	return true
}

// node is another process that owns blocks, and a client of it.
type node struct {
	command *exec.Cmd
	input   io.WriteCloser
	store   *weft.Store
	space   *weft.Namespace
	handle  C.uint64_t
	number  C.uint32_t
	queue   *C.weft_queue
	memory  C.uint32_t
}

func startNode(programs, memory string, blocks, size int) *node {
	address := fmt.Sprintf("unix:%s/weft-bench-go-%d.sock", os.TempDir(), os.Getpid())
	n := &node{command: exec.Command(filepath.Join(programs, "weft_bench_node"), address, memory,
		fmt.Sprint(blocks), fmt.Sprint(size))}
	n.command.Stderr = os.Stderr
	n.input = must(n.command.StdinPipe())
	output := must(n.command.StdoutPipe())
	require(n.command.Start() == nil, "a node starts")
	ready, _ := bufio.NewReader(output).ReadString('\n')
	require(strings.HasPrefix(ready, "ready"), "the node is ready")
	n.store = must(weft.Open("connect=" + address))
	layout := fmt.Sprintf("parts=1,block_tokens=16,part_bytes=%d", size)
	n.space = must(n.store.Namespace("bench/model", layout))
	n.handle, n.number = C.uint64_t(n.store.Handle()), C.uint32_t(n.space.Space)
	n.queue, n.memory = C.queue_of(n.handle), C.all_memory(n.handle)
	return n
}

func (n *node) end() {
	C.end_calls(n.handle, n.queue, n.memory)
	must(0, n.store.Close())
	n.input.Close()
	require(n.command.Wait() == nil, "the node ends well")
}

// items are the ABI's, of these keys and places in memory, pinned until the program ends.
func items(keys []weft.Key, rows [][]byte, pin *runtime.Pinner) []C.weft_item {
	made := make([]C.weft_item, len(keys))
	for at, key := range keys {
		made[at].key_hi, made[at].key_lo = C.uint64_t(key.Hi), C.uint64_t(key.Lo)
		if rows != nil {
			pin.Pin(&rows[at][0])
			made[at].offset = C.uint64_t(uintptr(unsafe.Pointer(&rows[at][0])))
			made[at].size = C.uint32_t(len(rows[at]))
		}
	}
	pin.Pin(&made[0])
	return made
}

// views: the reference is what C takes for it, and two calls from Go into C that do nothing.
func (n *node) views(rounds int) {
	for _, index := range []int{0, 499, 999} {
		view := must(n.space.View(ctx, keyOf(index)))
		require(isBlock(view.Bytes(), index), "a view has the block's bytes")
		view.Release()
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	keys := make([]weft.Key, run)
	var inC, bare []float64
	reference := func() float64 {
		for at := range keys {
			keys[at] = keyOf(rand.IntN(1000))
		}
		list := items(keys, nil, &pin)
		inC = append(inC, timed(func() {
			require(C.views(n.handle, n.number, &list[0], run) == run, "C's views")
		})/run)
		bare = append(bare, timed(func() {
			for range run {
				C.nothing()
			}
		})/run)
		return inC[len(inC)-1] + 2*bare[len(bare)-1]
	}
	p := inTurns(rounds, reference, func() float64 {
		return timed(func() {
			for _, key := range keys {
				view, err := n.space.View(ctx, key)
				require(err == nil, "a view")
				view.Release()
			}
		}) / run
	})
	against := fmt.Sprintf("C (%.0f ns) + 2 cgo calls (%.0f ns each)",
		quantile(inC, 0.5), quantile(bare, 0.5))
	figure{name: "view + release, 1,000 blocks, Go", unit: "ns", target: "ratio <= 1",
		against: against, met: func(ratio float64) bool { return ratio <= 1 }}.print(p)
}

// batches loads 32 blocks of 1 MiB at a time, ours and C's never the same ones after each other.
func (n *node) batches(rounds int) {
	const blocks = 512
	rows := weft.Rows(make([]byte, batch*largeBytes), batch)
	next := 0
	keys, indices := make([]weft.Key, batch), make([]int, batch)
	draw := func() {
		for at := range keys {
			indices[at] = next * 37 % blocks
			keys[at] = keyOf(indices[at])
			next++
		}
	}
	inC := func() float64 {
		draw()
		var pin runtime.Pinner
		defer pin.Unpin()
		list := items(keys, rows, &pin)
		return timed(func() {
			require(C.load(n.queue, n.number, n.memory, &list[0], batch) == batch, "C's load")
		})
	}
	ours := func() float64 {
		draw()
		return timed(func() {
			require(must(n.space.LoadList(ctx, keys, rows)) == batch, "a load of 32 blocks")
		})
	}
	for range 2 * blocks / batch { // a mapping's first use is a fault, for either side
		inC()
	}
	p := inTurns(rounds, inC, ours)
	require(isBlock(rows[0], indices[0]) && isBlock(rows[31], indices[31]), "the blocks' bytes")
	figure{name: "load 1 MiB, batch of 32, node, Go", unit: "GB/s", bytes: batch * largeBytes,
		target: "ratio >= 0.97", against: "the same load from C",
		met: func(ratio float64) bool { return ratio >= 0.97 }}.print(p)
}

// small loads one block of 256 B, from submit to event: as such a load goes, which ends within its
// submit, and on the queue that waits in the netpoller.
func (n *node) small(rounds int, how string, options ...weft.Option) {
	into := make([]byte, smallBytes)
	rows := make([][]byte, run)
	for at := range rows {
		rows[at] = into
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	keys := make([]weft.Key, run)
	inC := func() float64 {
		for at := range keys {
			keys[at] = keyOf(rand.IntN(1000))
		}
		list := items(keys, rows, &pin)
		return timed(func() {
			for at := range list {
				done := C.load(n.queue, n.number, n.memory, &list[at], 0)
				require(done == smallBytes, "C's load")
			}
		}) / run
	}
	ours := func() float64 {
		return timed(func() {
			for _, key := range keys {
				_, err := n.space.Load(ctx, key, into, options...)
				require(err == nil, "a load")
			}
		}) / run
	}
	p := inTurns(rounds, inC, ours)
	figure{name: "load 256 B, submit to event, Go" + how, unit: "us",
		against: "the same load from C, submit and reap by cgo"}.print(p)
}

func main() {
	log.SetFlags(0)
	require(len(os.Args) > 1, "usage: bench PROGRAMS [--quick]")
	rounds := 2000
	if slices.Contains(os.Args, "--quick") {
		rounds = 300
	}
	n := startNode(os.Args[1], "256MiB", 1000, smallBytes)
	n.views(rounds)
	n.small(rounds/4, "")
	n.small(rounds/4, ", netpoller", weft.WaitWriter()) // what may wait goes there
	n.end()
	n = startNode(os.Args[1], "1GiB,prefault=yes", 512, largeBytes)
	n.batches(max(rounds/15, 60)) // some 8 ms a round
	n.end()
}
