package weft

// How a call on blocks becomes an op, and what its event's status means.

import (
	"context"
	"errors"
	"math"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

// start takes a call for an op of this kind with these flags and options. It must be ended.
func (n *Namespace) start(kind, flags int, options []Option) (*call, *lowlevel.Op, error) {
	memory, err := n.store.all()
	if err != nil {
		return nil, nil, err
	}
	c := calls.Get().(*call)
	c.memory, c.bytes = memory, 0
	op := &c.ops[0]
	*op = lowlevel.Op{Kind: uint16(kind), Flags: uint32(flags), Space: n.Space}
	if err := lay(op, options); err != nil {
		c.end()
		return nil, nil, err
	}
	return c, op, nil
}

// ofKey makes c's op one on a block.
func (c *call) ofKey(key Key) { c.ops[0].KeyHi, c.ops[0].KeyLo = key.Hi, key.Lo }

// ofItems makes c's op a list.
func (c *call) ofItems(items []lowlevel.Item) {
	op := &c.ops[0]
	op.Flags |= uint32(lowlevel.WEFT_LIST)
	op.KeyHi, op.KeyLo, op.Offset = uint64(len(items)), uint64(c.memory), name(c, items)
}

// onMemory makes c's op move bytes of memory.
func (c *call) onMemory(memory []byte) error {
	if int64(len(memory)) > math.MaxUint32 {
		return invalid("memory of %d bytes: a part has less than 4 GiB", len(memory))
	}
	c.ops[0].Region, c.ops[0].Offset = c.memory, name(c, memory)
	c.bytes = len(memory)
	return nil
}

// place sets where in memory each item's bytes are, and pins it.
func (c *call) place(items []lowlevel.Item, memory [][]byte) error {
	if len(items) != len(memory) {
		return invalid("%d places in memory for %d keys", len(memory), len(items))
	}
	for at, row := range memory {
		if int64(len(row)) > math.MaxUint32 {
			return invalid("memory of %d bytes: a part has less than 4 GiB", len(row))
		}
		items[at].Offset, items[at].Size = name(c, row), uint32(len(row))
		c.bytes += len(row)
	}
	c.ops[0].Region = c.memory
	return nil
}

// run carries out c's op and gives its event. The error is that of a failed op, but for the codes
// in answers.
func (n *Namespace) run(
	ctx context.Context, c *call, what string, answers ...Code,
) (lowlevel.Event, error) {
	if err := n.store.drivers.run(ctx, c); err != nil {
		return lowlevel.Event{}, err
	}
	return c.event, n.check(ctx, c.event, what, answers...)
}

func (n *Namespace) check(
	ctx context.Context, event lowlevel.Event, what string, answers ...Code,
) error {
	code := Code(-event.Status)
	if code <= 0 {
		return nil
	}
	if code == ErrInvalid && n.isClosed() {
		return n.failed(event.Status)
	}
	for _, answer := range answers {
		if code == answer {
			return nil
		}
	}
	var words string
	switch {
	case code == ErrMiss:
		return miss(event.Detail)
	case (code == ErrCanceled || code == ErrClosed) && n.store.isClosing():
		words = errStoreClosed.Words
	case code == ErrRange:
		words = invalid("it would take %d bytes", event.Handle).(*Error).Words
	case event.Handle != 0:
		words = n.store.story(event.Handle)
	}
	if words == "" {
		words = code.Error()
	}
	err := error(&Error{Code: code, Words: what + " in " + n.Name + ": " + words})
	if ended := ctx.Err(); ended != nil && (code == ErrCanceled || code == ErrTimeout) {
		err = errors.Join(err, ended)
	}
	return err
}
