package weft

// Options: what a call may be told beside what it needs. An Option is a value; several are laid
// over one op. Invariant: what a kind of op does not name is refused by the library, with words,
// and not silently left out here.

import (
	"math"
	"time"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

// Option is a word to one call.
type Option struct {
	flags, clears     uint32
	part, start, size int
	ttl               time.Duration
}

// Part names a rank's share of the block, from 0.
func Part(part int) Option { return Option{part: part} }

// Start is the first byte of the part, for a save, load or wait of less than all of it.
func Start(start int) Option { return Option{start: start} }

// Size is how many bytes from Start: of a load into memory of its own, or those that a followed
// block must have final.
func Size(size int) Option { return Option{size: size} }

// TTL is the time until the block expires, or a pin or claim ends, in whole seconds, rounded up;
// else the namespace's.
func TTL(ttl time.Duration) Option { return Option{ttl: ttl} }

// Replace writes a new generation of the block; until it is published readers have the old one.
func Replace() Option { return Option{flags: uint32(lowlevel.WEFT_REPLACE)} }

// WaitWriter waits for whoever writes the block instead of ErrHeld or a miss.
func WaitWriter() Option { return Option{flags: uint32(lowlevel.WEFT_WAIT_WRITER)} }

// Verify checks the checksum of whole parts.
func Verify() Option { return Option{flags: uint32(lowlevel.WEFT_VERIFY)} }

// Follow takes a block that is still being written, as soon as the bytes asked for are final; in
// Find: counts such blocks. If its writer gives up the answer is ErrMiss, Partial: drop what was
// read.
func Follow() Option { return Option{flags: uint32(lowlevel.WEFT_FOLLOW)} }

// FollowAs is Follow for one of several that may follow one block in this process at a time, each
// by a number of its own; bytes of two writers never reach one follower.
func FollowAs(number int) Option {
	return Option{flags: uint32(lowlevel.WEFT_FOLLOW), ttl: time.Duration(number) * time.Second}
}

// Pin makes Find keep what it counted loadable by every rank, until Release or TTL.
func Pin() Option { return Option{flags: uint32(lowlevel.WEFT_PIN)} }

// Unchained says that a list's keys are not one prompt's: a failed one does not end the rest.
func Unchained() Option { return Option{clears: uint32(lowlevel.WEFT_CHAIN)} }

// ReuseSoon hints that the chain returns at once (a tool call).
func ReuseSoon() Option { return Option{flags: uint32(lowlevel.WEFT_REUSE_SOON)} }

// ReuseNone hints that the chain does not return (closed).
func ReuseNone() Option { return Option{flags: uint32(lowlevel.WEFT_REUSE_NONE)} }

// ReuseMaybe hints that the chain may return (a turn ended).
func ReuseMaybe() Option { return Option{flags: uint32(lowlevel.WEFT_REUSE_MAYBE)} }

// lay writes options over op.
func lay(op *lowlevel.Op, options []Option) error {
	for _, o := range options {
		seconds := int64((o.ttl + time.Second - 1) / time.Second)
		switch {
		case o.part < 0 || o.part > math.MaxUint16:
			return invalid("part %d: parts are 0 to %d", o.part, math.MaxUint16)
		case o.start < 0 || int64(o.start) > math.MaxUint32:
			return invalid("start %d: a part has less than 4 GiB", o.start)
		case o.size < 0 || int64(o.size) > math.MaxUint32:
			return invalid("size %d: a part has less than 4 GiB", o.size)
		case o.ttl < 0 || seconds > math.MaxUint32:
			return invalid("ttl %v: it is 0 to %d seconds", o.ttl, uint32(math.MaxUint32))
		}
		op.Flags = (op.Flags | o.flags) &^ o.clears
		op.Part = max(op.Part, uint16(o.part))
		op.Start = max(op.Start, uint32(o.start))
		op.Size = max(op.Size, uint32(o.size))
		op.TTLSeconds = max(op.TTLSeconds, uint32(seconds))
	}
	return nil
}
