package weft

// The driver carries out ops: it submits them to one queue of the ABI and waits for their events in
// Go's netpoller.
//
// Invariants:
//   - No thread waits in C: reap is only called to look, when the queue's eventfd says that there
//     are events, or when an op may have ended within its submit. One goroutine waits for all ops
//     in flight, parked in the netpoller.
//   - Every op that was taken ends by exactly one event; run returns only after it. So what an op
//     names stays the op's for just as long as the caller waits, and a cancel waits too.
//   - A tag is a place in calls and its turn, so that a late CANCEL never finds another op.
//
// Memory. Ops name memory by address, in the region that is all of this process: Weft then reads
// and writes the caller's slices where they lie, and a load costs one copy. Staging through a
// mapped region would cost a second copy of every byte and a limit of its own. Cgo's rules forbid C
// to keep the address of Go memory after a call unless it is pinned: so it is, with runtime.Pinner,
// until the op's event has been reaped. Pinned memory is neither moved nor freed; and as Pin takes
// an interface, the compiler puts what is pinned on the heap, not on a stack that moves when it
// grows. Pinning costs some 50 ns a slice and is undone before the call returns.

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

const (
	queueDepth  = 4096 // ops in flight in one queue; the next ones open another queue
	cancelDepth = 64   // CANCELs in flight, which the ABI takes beyond the depth
	cancelTag   = math.MaxUint64
)

// call is one op in flight. Its op and event are memory of their own, without Go pointers, as cgo
// asks of what C is given.
type call struct {
	ops    []lowlevel.Op
	event  lowlevel.Event
	done   chan struct{} // takes one word: the event is here
	memory uint32        // the region of all memory
	bytes  int           // that the op moves
	pinner runtime.Pinner
}

var calls = sync.Pool{New: func() any {
	return &call{ops: make([]lowlevel.Op, 1), done: make(chan struct{}, 1)}
}}

// name pins memory and gives the address by which an op names it.
func name[T any](c *call, memory []T) uint64 {
	if len(memory) == 0 {
		return 0
	}
	c.pinner.Pin(unsafe.SliceData(memory))
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
}

// end gives the call back; it must not be used afterwards.
func (c *call) end() {
	c.pinner.Unpin()
	calls.Put(c)
}

// driver is one queue. Any goroutine may call run.
type driver struct {
	queue    uint64
	file     *os.File // the eventfd, ours by dup
	free     chan uint64
	inFlight []atomic.Pointer[call]
	canceled chan struct{} // room for CANCELs
	closed   atomic.Bool
	reaping  sync.Mutex // one at a time; guards events
	events   []lowlevel.Event
}

func openDriver(store uint64) (*driver, error) {
	d := &driver{
		free:     make(chan uint64, queueDepth),
		inFlight: make([]atomic.Pointer[call], queueDepth),
		canceled: make(chan struct{}, cancelDepth),
		events:   make([]lowlevel.Event, 64),
	}
	queue, failure := new(uint64), newFailure()
	depth := fmt.Sprintf("depth=%d", queueDepth+cancelDepth)
	if code := lowlevel.Queue_open(store, depth, queue, failure); code < 0 {
		return nil, failed(code, said(failure))
	}
	d.queue = *queue
	file, err := eventFile(d.queue)
	if err != nil {
		lowlevel.Queue_close(d.queue)
		return nil, err
	}
	d.file = file
	for place := range d.inFlight {
		d.free <- uint64(place)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		lowlevel.Queue_close(d.queue)
		return nil, err
	}
	// The netpoller wakes this goroutine when the eventfd turns readable; it ends when the queue is
	// gone or file is closed.
	go raw.Read(func(uintptr) bool {
		d.reaping.Lock()
		defer d.reaping.Unlock()
		return !d.collect()
	})
	return d, nil
}

// eventFile is a queue's eventfd under a descriptor of our own, which Go may close. It does not
// block, so that os.NewFile gives it to the netpoller.
func eventFile(queue uint64) (*os.File, error) {
	fd := lowlevel.Queue_fd(queue)
	if fd < 0 {
		return nil, failed(fd, "")
	}
	syscall.ForkLock.RLock()
	own, err := syscall.Dup(int(fd))
	if err == nil {
		syscall.CloseOnExec(own)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		words := "no descriptor left for a queue's events: " + err.Error()
		return nil, &Error{Code: ErrNoMemory, Words: words}
	}
	return os.NewFile(uintptr(own), "weft events"), nil
}

// collect hands out the events that are there; false: there will be no more. d.reaping is held.
func (d *driver) collect() bool {
	for {
		count := lowlevel.Reap(d.queue, d.events, 0)
		if count < 0 {
			return false
		}
		for _, event := range d.events[:count] {
			if event.Tag == cancelTag {
				<-d.canceled
				continue
			}
			c := d.inFlight[event.Tag%queueDepth].Swap(nil)
			c.event = event
			c.done <- struct{}{}
			d.free <- event.Tag + queueDepth // the place, in its next turn
		}
		if int(count) < len(d.events) {
			return true
		}
	}
}

// run carries out c's op with the tag, which is a free one, and returns when its event is in c. The
// error is of the submit; how the op ended is in the event.
func (d *driver) run(ctx context.Context, c *call, tag uint64) error {
	c.ops[0].Tag = tag
	d.inFlight[tag%queueDepth].Store(c)
	if taken := lowlevel.Submit(d.queue, c.ops); taken < 1 {
		d.inFlight[tag%queueDepth].Store(nil)
		d.free <- tag
		if d.closed.Load() {
			return errStoreClosed
		}
		return failed(taken, "")
	}
	if d.reaping.TryLock() { // a local op may have ended within its submit
		d.collect()
		d.reaping.Unlock()
	}
	select {
	case <-c.done:
		return nil
	default:
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		d.cancel(tag)
		<-c.done
	}
	return nil
}

// cancel ends the ops of a tag, each by its event.
func (d *driver) cancel(tag uint64) {
	d.canceled <- struct{}{}
	op := []lowlevel.Op{{Tag: cancelTag, Offset: tag, Kind: uint16(lowlevel.WEFT_OP_CANCEL)}}
	if lowlevel.Submit(d.queue, op) < 1 { // the queue is closing, which ends the op as well
		<-d.canceled
	}
}

// close ends the ops in flight, each by its event, and gives the queue back.
func (d *driver) close() {
	d.closed.Store(true)
	d.reaping.Lock()
	for lowlevel.Queue_close(d.queue) > 0 {
		d.collect()
		time.Sleep(100 * time.Microsecond) // an op that is being carried out ends first
	}
	d.reaping.Unlock()
	d.file.Close()
}

// drivers are a store's queues: one, and more where thousands of ops wait in the ones before, so
// that ops which wait for others (a claim's, a follower's) never keep out the op that they wait
// for.
type drivers struct {
	store  uint64
	lock   sync.Mutex // guards growth and closing
	opened atomic.Pointer[[]*driver]
	closed bool
	quicks quicks
}

const driversMost = 16 // then calls wait for room

func (ds *drivers) run(ctx context.Context, c *call) error {
	endAll()
	if err := ended(ctx); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := max((time.Until(deadline)+time.Millisecond-1)/time.Millisecond, 1)
		c.ops[0].TimeoutMs = uint32(min(left, math.MaxUint32))
	}
	if q := ds.quicks.take(ds.store, c); q != nil {
		return ds.quicks.run(ctx, c, q)
	}
	for {
		opened := *ds.opened.Load()
		for _, d := range opened {
			select {
			case tag := <-d.free:
				return d.run(ctx, c, tag)
			default:
			}
		}
		if len(opened) == driversMost {
			select {
			case tag := <-opened[0].free:
				return opened[0].run(ctx, c, tag)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := ds.grow(len(opened)); err != nil {
			return err
		}
	}
}

// grow opens one more queue, unless somebody else has done so since there were count.
func (ds *drivers) grow(count int) error {
	ds.lock.Lock()
	defer ds.lock.Unlock()
	opened := *ds.opened.Load()
	if ds.closed {
		return errStoreClosed
	}
	if len(opened) != count {
		return nil
	}
	d, err := openDriver(ds.store)
	if err == nil {
		more := append(append([]*driver{}, opened...), d)
		ds.opened.Store(&more)
	}
	return err
}

func (ds *drivers) close() {
	ds.lock.Lock()
	defer ds.lock.Unlock()
	if !ds.closed {
		ds.closed = true
		ds.quicks.close()
		for _, d := range *ds.opened.Load() {
			d.close()
		}
	}
}
