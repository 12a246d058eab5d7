// The verbs on the player's own memory, and the answers of a forked child.
package main

/*
#cgo pkg-config: weft
#include "fork.h"
*/
import "C"

import (
	"fmt"
	"hash/crc32"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

var kept runtime.Pinner // scenarios make regions of it: pinned until the player ends

// at is memory of any kind by its address.
func at[T any](address uint64, count int) []T {
	return unsafe.Slice(*(**T)(unsafe.Pointer(&address)), count)
}

func addressOf[T any](memory []T) uint64 {
	if len(memory) == 0 {
		return 0
	}
	return uint64(uintptr(unsafe.Pointer(&memory[0])))
}

func memory(r request) string {
	made := make([]byte, r.number("size"))
	kept.Pin(&made[0])
	return fmt.Sprintf("address=%d", addressOf(made))
}

func (r request) memory() []byte { return at[byte](r.number("address"), int(r.number("size"))) }

func paint(r request) string {
	painted := r.memory()
	for i := range painted {
		painted[i] = byte(r.number("byte"))
	}
	return "code=0"
}

// fill writes the content of scenarios: see content() in world.py.
func fill(r request) string {
	more := r.number("key")*131 + r.number("part")*61 + r.number("generation")*29
	start, filled := r.number("start"), r.memory()
	for i := range filled {
		place := start + uint64(i)
		filled[i] = byte(place*7 + (place>>8)*31 + more)
	}
	return "code=0"
}

func crc(r request) string { return fmt.Sprintf("crc=%d", crc32.ChecksumIEEE(r.memory())) }

func items(r request) string {
	written := r.items()
	copy(at[lowlevel.Item](r.number("address"), len(written)), written)
	return "code=0"
}

func itemsBack(r request) string {
	rows := []string{}
	for _, item := range at[lowlevel.Item](r.number("address"), int(r.number("count"))) {
		rows = append(rows, itemRow(item))
	}
	return "code=0 items=" + strings.Join(rows, ",")
}

// readable polls as the loops of other programs do.
func readable(fd int, wait time.Duration) int {
	polled := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: 1} // POLLIN
	address := uintptr(unsafe.Pointer(&polled))
	count, _, _ := syscall.Syscall(syscall.SYS_POLL, address, 1, uintptr(wait.Milliseconds()))
	return int(count)
}

// inChild makes a call in a forked child. Go cannot run there, so fork.h makes it and brings back
// its code; these are the calls that scenarios make so.
func inChild(verb string, r request) string {
	store := C.uint64_t(r.number("store"))
	var code C.int32_t
	switch verb {
	case "match":
		found := append(r.items(), lowlevel.Item{})
		count := C.uint32_t(len(found) - 1)
		first := (*C.weft_item)(unsafe.Pointer(&found[0]))
		code = C.fork_match(store, C.uint32_t(r.number("space")), first, count)
	case "release":
		handle, _ := strconv.ParseUint(append(r.list("handles"), "")[0], 10, 64)
		code = C.fork_release(store, C.uint64_t(handle))
	case "namespace_open":
		name, options := C.CString(r.text("name")), C.CString(r.text("options"))
		code = C.fork_namespace_open(store, name, options)
	case "submit":
		ops := r.ops()
		first := (*C.weft_op)(unsafe.Pointer(&ops[0]))
		code = C.fork_submit(C.uint64_t(r.number("queue")), first, C.uint32_t(len(ops)))
	default:
		os.Exit(2)
	}
	return fmt.Sprintf("code=%d", code)
}

var verbs = map[string]func(request) string{
	"open": open, "close": closeStore, "query": query, "namespace_open": namespaceOpen,
	"namespace_close": namespaceClose, "region_map": regionMap, "region_adopt": regionAdopt,
	"pool_open": poolOpen, "region_drop": regionDrop,
	"queue_open": queueOpen, "queue_close": queueClose,
	"queue_fd": queueFd, "submit": submit, "reap": reap, "match": match, "view": view,
	"release": release, "keys": keys, "key_of": keyOf, "about": about, "memory": memory,
	"paint": paint, "fill": fill, "crc": crc, "items": items, "items_back": itemsBack,
}
