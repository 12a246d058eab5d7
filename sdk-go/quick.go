package weft

// The quick way: most ops on this host's memory end within their submit, in the caller's own
// thread. On a queue whose eventfd nobody asked for that takes two short calls, wakes nobody and
// makes no system call; on the shared one each such op would write the eventfd and wake the
// netpoller, which measured five times as long.
//
// Invariants:
//   - A quick queue is one call's while the op runs: one op in flight, one who reaps.
//   - An op that is not done when its submit returns is waited for in the netpoller, like all
//     others, by an eventfd made only then; after it that queue is closed. Ops of that kind go the
//     shared way for a while, so that this is rare.
//   - Ops that wait for others' deeds, or move more than the library copies in a submit, never come
//     here.

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

const (
	quickBytes = 4 << 20 // an op's, and what the library then copies in its submit
	quickAgain = 1000    // ops of a kind that go the shared way after one was late
	quickWaits = lowlevel.WEFT_FOLLOW | lowlevel.WEFT_WAIT_WRITER | lowlevel.WEFT_CLAIM
)

type quick struct {
	queue  uint64
	events []lowlevel.Event
}

// quicks are a store's quick queues, as many as threads run Go. Any goroutine.
type quicks struct {
	idle   chan *quick
	count  atomic.Int32     // of those that are open
	late   [16]atomic.Int32 // by kind: how many more ops go the shared way
	wait   sync.Map         // those whose op was late
	closed atomic.Bool
}

// take gives a quick queue for the op, or nil where it goes the shared way.
func (qs *quicks) take(store uint64, c *call) *quick {
	op := &c.ops[0]
	kind := &qs.late[op.Kind%16]
	if c.bytes > quickBytes || op.Flags&uint32(quickWaits) != 0 ||
		op.Kind == uint16(lowlevel.WEFT_OP_WAIT) || qs.closed.Load() {
		return nil
	}
	if kind.Load() > 0 {
		kind.Add(-1)
		return nil
	}
	select {
	case q := <-qs.idle:
		return q
	default:
	}
	if qs.count.Add(1) > int32(min(runtime.GOMAXPROCS(0), cap(qs.idle))) {
		qs.count.Add(-1)
		return nil
	}
	queue := new(uint64)
	options := fmt.Sprintf("depth=1,inline_bytes=%d", quickBytes)
	if lowlevel.Queue_open(store, options, queue, nil) < 0 {
		qs.count.Add(-1)
		return nil // the shared way says why
	}
	return &quick{*queue, make([]lowlevel.Event, 2)}
}

// run carries out c's op on q, which goes back.
func (qs *quicks) run(ctx context.Context, c *call, q *quick) error {
	c.ops[0].Tag = 0
	if taken := lowlevel.Submit(q.queue, c.ops); taken < 1 {
		qs.put(q)
		if qs.closed.Load() {
			return errStoreClosed
		}
		return failed(taken, "")
	}
	if lowlevel.Reap(q.queue, q.events, 0) == 1 {
		c.event = q.events[0]
		qs.put(q)
		return nil
	}
	qs.late[c.ops[0].Kind%16].Store(quickAgain)
	c.event = lowlevel.Event{Status: -int32(ErrClosed)}
	qs.wait.Store(q, nil)
	q.wait(ctx, c)
	qs.wait.Delete(q)
	qs.end(q)
	return nil
}

// wait parks this goroutine in the netpoller until c's event is there.
func (q *quick) wait(ctx context.Context, c *call) {
	stop := context.AfterFunc(ctx, func() {
		cancel := lowlevel.Op{Tag: cancelTag, Kind: uint16(lowlevel.WEFT_OP_CANCEL)}
		lowlevel.Submit(q.queue, []lowlevel.Op{cancel}) // it names tag 0
	})
	defer stop()
	done := func(uintptr) bool {
		count := lowlevel.Reap(q.queue, q.events, 0)
		ended := count < 0
		for _, event := range q.events[:max(count, 0)] {
			if event.Tag != cancelTag {
				c.event, ended = event, true
			}
		}
		return ended
	}
	if file, err := eventFile(q.queue); err == nil {
		defer file.Close()
		if raw, err := file.SyscallConn(); err == nil && raw.Read(done) == nil {
			return
		}
	}
	for !done(0) { // no descriptor is left: looked for by the clock
		time.Sleep(time.Millisecond)
	}
}

// put gives q back for the next call.
func (qs *quicks) put(q *quick) {
	if !qs.closed.Load() {
		select {
		case qs.idle <- q:
			return
		default:
		}
	}
	qs.end(q)
}

// end closes q, on which no op of a caller's is in flight any more.
func (qs *quicks) end(q *quick) {
	for lowlevel.Queue_close(q.queue) > 0 { // a CANCEL's event
		lowlevel.Reap(q.queue, q.events, 0)
		runtime.Gosched()
	}
	qs.count.Add(-1)
}

// close ends the ops in flight, and every queue.
func (qs *quicks) close() {
	qs.closed.Store(true)
	for qs.count.Load() > 0 {
		select {
		case q := <-qs.idle:
			qs.end(q)
		default:
			qs.wait.Range(func(q, _ any) bool {
				lowlevel.Queue_close(q.(*quick).queue) // ends its op; who waits ends the queue
				return true
			})
			time.Sleep(100 * time.Microsecond)
		}
	}
}
