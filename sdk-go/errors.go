package weft

// Errors: a Code is the sentinel of each code of the ABI, an Error has it and the library's words.
// Invariant: nothing here is kept per thread; words are fetched by the id that the failed event
// carries.

import (
	"bytes"
	"context"
	"fmt"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

// Code is a code of the ABI, positive, and the error that errors.Is compares with.
type Code int32

// The codes. See weft.h for what each means.
const (
	ErrInvalid      = Code(lowlevel.WEFT_EINVAL)    // what is wrong is named
	ErrMiss         = Code(lowlevel.WEFT_EMISS)     // not to be had, a normal answer: Error.Reason
	ErrExists       = Code(lowlevel.WEFT_EEXISTS)   // it is there: nothing was written
	ErrFenced       = Code(lowlevel.WEFT_EFENCED)   // the namespace has advanced: open it anew
	ErrAgain        = Code(lowlevel.WEFT_EAGAIN)    // the queue is full
	ErrTimeout      = Code(lowlevel.WEFT_ETIMEOUT)  // the op's time is over
	ErrPeer         = Code(lowlevel.WEFT_EPEER)     // no node: the store reconnects by itself
	ErrDenied       = Code(lowlevel.WEFT_EDENIED)   // the token does not allow this
	ErrQuota        = Code(lowlevel.WEFT_EQUOTA)    // a quota or a named limit
	ErrNoMemory     = Code(lowlevel.WEFT_ENOMEM)    // the machine gives no memory
	ErrBusy         = Code(lowlevel.WEFT_EBUSY)     // views or ops in flight still name it
	ErrClosed       = Code(lowlevel.WEFT_ECLOSED)   // store, namespace or reservation
	ErrForked       = Code(lowlevel.WEFT_EFORKED)   // opened before a fork, in the parent
	ErrCorrupt      = Code(lowlevel.WEFT_ECORRUPT)  // a checksum did not match: dropped
	ErrRange        = Code(lowlevel.WEFT_ERANGE)    // beyond the end of part or memory
	ErrInternal     = Code(lowlevel.WEFT_EINTERNAL) // a fault of the library
	ErrCanceled     = Code(lowlevel.WEFT_ECANCELED) // the op was canceled
	ErrHeld         = Code(lowlevel.WEFT_EHELD)     // it is being written
	ErrNotSupported = Code(lowlevel.WEFT_ENOTSUP)   // not in this build, machine or kind of store
)

// Error is the code's name, for instance "EQUOTA".
func (c Code) Error() string { return lowlevel.Code_name(int32(c)) }

// Reason says why a block is a miss, or why a count ended before it.
type Reason uint32

// The reasons.
const (
	Absent      = Reason(lowlevel.WEFT_MISS_ABSENT)
	Evicted     = Reason(lowlevel.WEFT_MISS_EVICTED)
	Expired     = Reason(lowlevel.WEFT_MISS_EXPIRED)
	Fenced      = Reason(lowlevel.WEFT_MISS_FENCED)      // only older versions of it are known
	Partial     = Reason(lowlevel.WEFT_MISS_PARTIAL)     // its writer gave up
	Unreachable = Reason(lowlevel.WEFT_MISS_UNREACHABLE) // the node that has it
	Far         = Reason(lowlevel.WEFT_MISS_FAR)         // not on this host: Fetch may bring it
)

var reasons = [...]string{
	"none", "absent", "evicted", "expired", "fenced", "partial", "unreachable", "far",
}

// String is the reason's word, "none" where there is none.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return fmt.Sprintf("reason %d", uint32(r))
}

// Error is why a call failed. Unwrap gives its Code, so that errors.Is(err, weft.ErrQuota) holds.
type Error struct {
	Code   Code
	Reason Reason // of ErrMiss
	Words  string // the library's
}

// Error is the words.
func (e *Error) Error() string { return "weft: " + e.Words }

// Unwrap gives the code.
func (e *Error) Unwrap() error { return e.Code }

// Timeout is true of ErrTimeout, as package net has it.
func (e *Error) Timeout() bool { return e.Code == ErrTimeout }

// Is makes a timeout also context.DeadlineExceeded.
func (e *Error) Is(target error) bool {
	return e.Code == ErrTimeout && target == context.DeadlineExceeded
}

// A miss is often the usual answer, so its errors are made once.
var misses = func() (made [len(reasons)]*Error) {
	for reason := range made {
		made[reason] = &Error{ErrMiss, Reason(reason), "a miss: " + reasons[reason]}
	}
	return made
}()

func miss(reason uint32) error {
	if int(reason) < len(misses) {
		return misses[reason]
	}
	return &Error{ErrMiss, Reason(reason), "a miss: " + Reason(reason).String()}
}

// plain are the words of codes that come without any.
var plain = map[Code]string{
	ErrFenced: "the namespace has advanced beyond this version: open it anew",
	ErrClosed: "it is closed",
	ErrForked: "the store was opened before a fork, in the parent",
	ErrQuota:  "a limit is reached",
	ErrPeer:   "the node cannot be reached",
}

// failed makes the error of a negated code that a call returned, with the words it gave, if any.
func failed(returned int32, words string) error {
	if words == "" {
		words = wordsOf(Code(-returned))
	}
	return &Error{Code: Code(-returned), Words: words}
}

func wordsOf(code Code) string {
	if said, ok := plain[code]; ok {
		return code.Error() + ": " + said
	}
	return code.Error()
}

// A closed store's calls say so, whatever the library has to say of its handle.
var errStoreClosed = &Error{Code: ErrClosed, Words: "the store is closed"}

// failed is the same of a call on s.
func (s *Store) failed(returned int32, words string) error {
	if Code(-returned) == ErrClosed && s.isClosing() {
		return errStoreClosed
	}
	return failed(returned, words)
}

// failed is the same of a call on n; what is closed the library no longer knows.
func (n *Namespace) failed(returned int32) error {
	if Code(-returned) == ErrInvalid && n.isClosed() {
		return &Error{Code: ErrClosed, Words: "namespace " + n.Name + " is closed"}
	}
	return n.store.failed(returned, "namespace "+n.Name+": "+wordsOf(Code(-returned)))
}

// newFailure is what calls of the ABI write their words into.
func newFailure() *lowlevel.Failure { return &lowlevel.Failure{StructSize: lowlevel.FailureSize} }

// said gives the words in f.
func said(f *lowlevel.Failure) string {
	words, _, _ := bytes.Cut(f.Message[:], []byte{0})
	return string(words)
}

// ended is why a call with this context is not begun, nil where it is.
func ended(ctx context.Context) error {
	if ctx == nil {
		return invalid("the context is nil: give context.Background(), which never ends")
	}
	return ctx.Err()
}

func invalid(format string, values ...any) error {
	return &Error{Code: ErrInvalid, Words: fmt.Sprintf(format, values...)}
}
