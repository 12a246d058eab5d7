// The verbs that are calls of Weft.
package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weft-kv/weft/sdk-go"
	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

type place struct {
	store uint64
	space uint32
}

var (
	ctx    = context.Background()
	stores = map[uint64]*weft.Store{}
	spaces = map[place]*weft.Namespace{}
	queues = map[uint64]*weft.Queue{}
	views  = map[uint64]*weft.Views{}
)

func (r request) place() place { return place{r.number("store"), r.number32("space")} }

// coded is the answer of a raw call; more is what it gives out, where it does not fail.
func coded(code int32, failure *lowlevel.Failure, more string) string {
	message := ""
	if failure != nil {
		words, _, _ := strings.Cut(string(failure.Message[:]), "\x00")
		message = " message=" + hexed(words)
	}
	return fmt.Sprintf("code=%d%s%s", code, more, message)
}

func newFailure() *lowlevel.Failure { return &lowlevel.Failure{StructSize: lowlevel.FailureSize} }

func open(r request) string {
	store, err := weft.Open(r.text("options"))
	if err != nil {
		return told(err)
	}
	stores[store.Handle()] = store
	return fmt.Sprintf("code=0 store=%d", store.Handle())
}

func closeStore(r request) string {
	handle := r.number("store")
	delete(stores, handle)
	return coded(lowlevel.Close(handle), nil, "")
}

func query(r request) string {
	answer, failure := make([]byte, max(1, r.number("capacity"))), newFailure()
	code := lowlevel.Query(r.number("store"), r.number32("space"), r.text("text"), answer, failure)
	if code < 0 {
		return coded(code, failure, "")
	}
	text, _, _ := strings.Cut(string(answer), "\x00")
	return fmt.Sprintf("code=%d message=%s", code, hexed(text))
}

func namespaceOpen(r request) string {
	store := stores[r.number("store")]
	if store == nil {
		layout, failure := &lowlevel.Layout{StructSize: lowlevel.LayoutSize}, newFailure()
		code := lowlevel.Namespace_open(
			r.number("store"), r.text("name"), r.text("options"), layout, failure)
		return coded(code, failure, "")
	}
	n, err := store.Namespace(r.text("name"), r.text("options"))
	if err != nil {
		return told(err)
	}
	spaces[place{store.Handle(), n.Space}] = n
	return fmt.Sprintf("code=0 space=%d parts=%d block_tokens=%d layers=%d alignment=%d "+
		"part_bytes=%d version=%d floor=%d", n.Space, n.Parts, n.BlockTokens, n.Layers,
		n.Alignment, n.PartBytes, n.Version, n.Floor)
}

func namespaceClose(r request) string {
	delete(spaces, r.place())
	return coded(lowlevel.Namespace_close(r.number("store"), r.number32("space")), nil, "")
}

func regionMap(r request) string {
	region, address, failure := new(uint32), new(uint64), newFailure()
	code := lowlevel.Region_map(
		r.number("store"), r.number("size"), r.text("options"), region, address, failure)
	return coded(code, failure, fmt.Sprintf(" region=%d address=%d", *region, *address))
}

func regionAdopt(r request) string {
	region, failure := new(uint32), newFailure()
	code := lowlevel.Region_adopt(r.number("store"), r.number("address"), r.number("size"),
		int32(r.number("device")), region, failure)
	return coded(code, failure, fmt.Sprintf(" region=%d", *region))
}

func poolOpen(r request) string {
	region, failure, bases := new(uint32), newFailure(), []uint64{}
	for _, word := range r.list("bases") {
		base, _ := strconv.ParseUint(word, 10, 64)
		bases = append(bases, base)
	}
	code := lowlevel.Pool_open(r.number("store"), r.text("layout"), bases,
		int32(r.number("device")), region, failure)
	return coded(code, failure, fmt.Sprintf(" region=%d", *region))
}

func regionDrop(r request) string {
	return coded(lowlevel.Region_drop(r.number("store"), r.number32("region")), nil, "")
}

func queueOpen(r request) string {
	if store := stores[r.number("store")]; store != nil {
		queue, err := store.Queue(r.text("options"))
		if err != nil {
			return told(err)
		}
		queues[queue.Handle()] = queue
		return fmt.Sprintf("code=0 queue=%d", queue.Handle())
	}
	queue, failure := new(uint64), newFailure()
	code := lowlevel.Queue_open(r.number("store"), r.text("options"), queue, failure)
	return coded(code, failure, fmt.Sprintf(" queue=%d", *queue))
}

func queueClose(r request) string { return coded(lowlevel.Queue_close(r.number("queue")), nil, "") }

func submit(r request) string {
	queue := queues[r.number("queue")]
	if queue == nil {
		return coded(lowlevel.Submit(r.number("queue"), []lowlevel.Op{{}}), nil, "")
	}
	taken, err := queue.Submit(r.ops())
	if err != nil {
		return told(err)
	}
	return fmt.Sprintf("code=%d", taken)
}

func (r request) ops() []weft.Op {
	ops := make([]weft.Op, r.number("count"))
	for at := range ops {
		ops[at] = weft.Op{
			Tag: r.number("tag") + uint64(at), KeyHi: r.number("key_hi"), KeyLo: r.number("key_lo"),
			Offset: r.number("offset"), Size: r.number32("size"), Start: r.number32("start"),
			Space: r.number32("space"), Region: r.number32("region"),
			TimeoutMs: r.number32("timeout_ms"), TTLSeconds: r.number32("ttl_s"),
			Flags: r.number32("flags"), Kind: uint16(r.number("kind")),
			Part: uint16(r.number("part")),
		}
	}
	return ops
}

func reap(r request) string {
	queue := queues[r.number("queue")]
	if queue == nil {
		return coded(lowlevel.Reap(r.number("queue"), make([]lowlevel.Event, 1), 0), nil, "")
	}
	until, cancel := context.WithCancel(ctx)
	if wait := int32(r.number("timeout_ms")); wait >= 0 {
		until, cancel = context.WithTimeout(ctx, time.Duration(wait)*time.Millisecond)
	}
	defer cancel()
	events := make([]weft.Event, r.number("capacity"))
	count, err := queue.Reap(until, events)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return told(err)
	}
	rows := []string{}
	for _, event := range events[:count] {
		rows = append(rows, fmt.Sprintf("%d:%d:%d:%d:%d",
			event.Tag, event.Value, event.Handle, event.Status, event.Detail))
	}
	return fmt.Sprintf("code=%d events=%s", count, strings.Join(rows, ","))
}

func match(r request) string {
	n := spaces[r.place()]
	if n == nil {
		return coded(lowlevel.Match(r.number("store"), r.number32("space"), r.items()), nil, "")
	}
	count, err := n.Match(ctx, r.keys())
	if err != nil {
		return told(err)
	}
	return fmt.Sprintf("code=%d", count)
}

func view(r request) string {
	n := spaces[r.place()]
	if n == nil {
		p, part := r.place(), r.number32("part")
		return coded(lowlevel.View(p.store, p.space, part, r.items(), new(uint64)), nil, "")
	}
	found, err := n.ViewList(ctx, r.keys(), weft.Part(int(r.number("part"))))
	if err != nil {
		return told(err)
	}
	rows, handle := []string{}, uint64(0)
	for at := range found.Len() {
		address, size := addressOf(found.Bytes(at)), uint32(len(found.Bytes(at)))
		rows = append(rows, itemRow(lowlevel.Item{Offset: address, Size: size}))
	}
	if found.Len() > 0 {
		handle = 1<<63 + uint64(len(views)) // ours: a number that no handle of the library's has
		views[handle] = found
	}
	return fmt.Sprintf("code=%d handle=%d items=%s", found.Len(), handle, strings.Join(rows, ","))
}

func release(r request) string {
	code := int32(0)
	for _, word := range r.list("handles") {
		handle, _ := strconv.ParseUint(word, 10, 64)
		if found := views[handle]; found != nil {
			found.Release()
		} else {
			code = lowlevel.Release(r.number("store"), []uint64{handle})
		}
	}
	return coded(code, nil, "")
}

func keys(r request) string {
	tokens := []uint32{}
	for _, word := range r.list("tokens") {
		token, _ := strconv.ParseUint(word, 10, 32)
		tokens = append(tokens, uint32(token))
	}
	var chain weft.Chain
	made, err := []weft.Key(nil), error(nil)
	if _, given := r["chain"]; given {
		copy(chain[:], r.bytes("chain"))
		made, err = chain.Keys(tokens, int(r.number("block_tokens")), r.text("options"))
	} else {
		made, err = weft.Keys(tokens, int(r.number("block_tokens")), r.text("options"))
	}
	if err != nil {
		return told(err)
	}
	made = made[:min(len(made), int(r.number("capacity")))]
	rows := []string{}
	for _, key := range made {
		rows = append(rows, fmt.Sprintf("%d:%d", key.Hi, key.Lo))
	}
	return fmt.Sprintf("code=%d keys=%s chain=%x", len(made), strings.Join(rows, ","), chain[:])
}

func keyOf(r request) string {
	key := weft.KeyOf(r.bytes("bytes"))
	return fmt.Sprintf("code=0 key=%d:%d", key.Hi, key.Lo)
}

func about(r request) string {
	name := lowlevel.Code_name(int32(r.number("number")))
	return fmt.Sprintf("abi=%d version=%s name=%s",
		lowlevel.Abi(), hexed(lowlevel.Version()), hexed(name))
}

// queueFd polls: raw reads end when the descriptor is readable, as the netpoller says.
func queueFd(r request) string {
	fd := lowlevel.Queue_fd(r.number("queue"))
	if fd < 0 {
		return fmt.Sprintf("code=%d readable=0", fd)
	}
	wait := time.Duration(r.number("timeout_ms")) * time.Millisecond
	return fmt.Sprintf("code=0 readable=%d", readable(int(fd), wait))
}
