package weft

// Queue: the ABI's own way of work, for whom a call an op is too slow, or who needs what the calls
// do not say. Op, Item and Event are the ABI's structs, so that slices of them cross as they lie.

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/weft-kv/weft/sdk-go/abi"
	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

// Op is weft_op: weft.h says what each field means to each kind. Memory that it names (Offset in
// Region, a list's items) must be pinned (runtime.Pinner) until its event has been reaped.
type Op = abi.Op

// Item is weft_item: one block of a list.
type Item = abi.Item

// Event is weft_event: how an op ended. Status is 0 or more, or a negated Code.
type Event = abi.Event

// Kinds of ops, and flags: WEFT_OP_ and WEFT_ of weft.h.
const (
	OpLoad, OpSave    = uint16(lowlevel.WEFT_OP_LOAD), uint16(lowlevel.WEFT_OP_SAVE)
	OpMatch, OpView   = uint16(lowlevel.WEFT_OP_MATCH), uint16(lowlevel.WEFT_OP_VIEW)
	OpReserve         = uint16(lowlevel.WEFT_OP_RESERVE)
	OpCommit, OpAbort = uint16(lowlevel.WEFT_OP_COMMIT), uint16(lowlevel.WEFT_OP_ABORT)
	OpRemove, OpWait  = uint16(lowlevel.WEFT_OP_REMOVE), uint16(lowlevel.WEFT_OP_WAIT)
	OpTouch, OpCancel = uint16(lowlevel.WEFT_OP_TOUCH), uint16(lowlevel.WEFT_OP_CANCEL)
	OpAdvance         = uint16(lowlevel.WEFT_OP_ADVANCE)

	FlagList, FlagChain  = uint32(lowlevel.WEFT_LIST), uint32(lowlevel.WEFT_CHAIN)
	FlagParent, FlagEach = uint32(lowlevel.WEFT_PARENT), uint32(lowlevel.WEFT_EACH)
	FlagPin, FlagClaim   = uint32(lowlevel.WEFT_PIN), uint32(lowlevel.WEFT_CLAIM)
	FlagFollow, FlagMore = uint32(lowlevel.WEFT_FOLLOW), uint32(lowlevel.WEFT_MORE)
	FlagReplace          = uint32(lowlevel.WEFT_REPLACE)
	FlagVerify           = uint32(lowlevel.WEFT_VERIFY)
	FlagWaitWriter       = uint32(lowlevel.WEFT_WAIT_WRITER)
	FlagReuseSoon        = uint32(lowlevel.WEFT_REUSE_SOON)
	FlagReuseNone        = uint32(lowlevel.WEFT_REUSE_NONE)
	FlagReuseMaybe       = uint32(lowlevel.WEFT_REUSE_MAYBE)
)

// Memory is the region that is all of this process: offsets in it are addresses, and ops give a
// size.
func (s *Store) Memory() (uint32, error) { return s.all() }

// Queue takes ops and gives their events, thousands at a time.
type Queue struct {
	handle uint64
	lock   sync.Mutex // one reaps at a time
	file   *os.File   // the eventfd, once somebody waited
}

// Queue opens a queue of one's own. options: depth=, priority=low|normal|high, inline_bytes=. It
// must be closed before its store.
func (s *Store) Queue(options string) (*Queue, error) {
	handle, failure := new(uint64), newFailure()
	if code := lowlevel.Queue_open(s.handle, options, handle, failure); code < 0 {
		return nil, s.failed(code, said(failure))
	}
	return &Queue{handle: *handle}, nil
}

// Handle is the ABI's weft_queue *, as Store.Handle is.
func (q *Queue) Handle() uint64 { return q.handle }

// Submit takes ops in order and says how many, none of them with ErrAgain where the queue is full.
// A malformed op is taken and fails alone. Any goroutine; never waits.
func (q *Queue) Submit(ops []Op) (int, error) {
	endAll()
	taken := lowlevel.Submit(q.handle, ops)
	if taken < 0 {
		return 0, failed(taken, "")
	}
	return int(taken), nil
}

// Reap gives the events that are there, and waits in the netpoller while there are none; a context
// that has ended looks once. Errors: the context's; ErrClosed, when none will come.
func (q *Queue) Reap(ctx context.Context, events []Event) (int, error) {
	if ctx == nil {
		return 0, ended(ctx)
	}
	q.lock.Lock()
	defer q.lock.Unlock()
	var count int32
	look := func(uintptr) bool {
		count = lowlevel.Reap(q.handle, events, 0)
		return count != 0
	}
	for look(0); count == 0 && ctx.Err() == nil; {
		if err := q.wait(ctx, look); err != nil {
			return 0, err
		}
	}
	if count < 0 {
		return 0, failed(count, "")
	}
	if count == 0 {
		return 0, ctx.Err()
	}
	return int(count), nil
}

// wait parks the goroutine until look is content or the context ends.
func (q *Queue) wait(ctx context.Context, look func(uintptr) bool) error {
	if q.file == nil {
		file, err := eventFile(q.handle)
		if err != nil {
			return err
		}
		q.file = file
	}
	raw, err := q.file.SyscallConn()
	if err != nil {
		return err
	}
	_ = q.file.SetReadDeadline(time.Time{}) // a context before this one may have ended
	stop := context.AfterFunc(ctx, func() { _ = q.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err = raw.Read(look); errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// Close takes no more ops, ends those in flight and forgets their events.
func (q *Queue) Close() error {
	q.lock.Lock()
	defer q.lock.Unlock()
	events := make([]lowlevel.Event, 64)
	for {
		left := lowlevel.Queue_close(q.handle)
		if left < 0 && Code(-left) != ErrClosed {
			return failed(left, "")
		}
		if left <= 0 {
			break
		}
		if lowlevel.Reap(q.handle, events, 0) == 0 {
			time.Sleep(100 * time.Microsecond) // an op that is being carried out ends first
		}
		runtime.Gosched()
	}
	if q.file != nil {
		q.file.Close()
	}
	return nil
}
