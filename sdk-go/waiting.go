package weft

// Waiting for others, single flight, and what is done to blocks that are there.

import (
	"context"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

// Wait returns when the block is published. With Follow: when the part's bytes from Start, Size of
// them, are final. Options: Part, Start, Size, Follow. Errors: ErrMiss, Partial where its writer
// gives up; at once where nobody writes or claims it yet.
func (n *Namespace) Wait(ctx context.Context, key Key, options ...Option) error {
	c, _, err := n.start(lowlevel.WEFT_OP_WAIT, 0, options)
	if err != nil {
		return err
	}
	defer c.end()
	c.ofKey(key)
	_, err = n.run(ctx, c, "wait")
	return err
}

// WaitList returns when all these blocks are published. Options: Part, Unchained. Errors: as
// Wait's.
func (n *Namespace) WaitList(ctx context.Context, keys []Key, options ...Option) error {
	_, err := n.onKeys(ctx, lowlevel.WEFT_OP_WAIT, lowlevel.WEFT_CHAIN, "wait", keys, options)
	return err
}

// Claim is the right, and the duty towards those who wait, to compute the keys from First on.
type Claim struct {
	First int // the number of keys where all are there: there is nothing to compute
	held  *hold
}

// Release gives it to one of those who wait, as far as its blocks are not published; twice is once.
func (c Claim) Release() { c.held.release() }

// Claim waits while others compute these blocks (single flight), until all are there or the rest is
// this caller's to compute. A claim ends block by block as they are published, and wholly by
// Release, death or TTL (else the namespace's write_s). Options: TTL, Unchained.
func (n *Namespace) Claim(ctx context.Context, keys []Key, options ...Option) (Claim, error) {
	flags := lowlevel.WEFT_CHAIN | lowlevel.WEFT_CLAIM
	event, err := n.onKeys(ctx, lowlevel.WEFT_OP_WAIT, flags, "claim", keys, options, ErrMiss)
	if err != nil {
		return Claim{}, err
	}
	if Code(-event.Status) != ErrMiss {
		return Claim{First: len(keys)}, nil
	}
	return Claim{int(event.Value), n.newHold("a claim", event.Handle)}, nil
}

// Touch says that a request used the blocks; TTL sets their expiry anew. It gives how many lead
// ones are there. Options: TTL, ReuseSoon..., Unchained.
func (n *Namespace) Touch(ctx context.Context, keys []Key, options ...Option) (int, error) {
	flags := lowlevel.WEFT_CHAIN
	event, err := n.onKeys(ctx, lowlevel.WEFT_OP_TOUCH, flags, "touch", keys, options, ErrMiss)
	return int(event.Value), err
}

// Remove removes blocks: gets that start afterwards miss. It gives how many lead ones were there.
func (n *Namespace) Remove(ctx context.Context, keys []Key) (int, error) {
	event, err := n.onKeys(ctx, lowlevel.WEFT_OP_REMOVE, 0, "remove", keys, nil, ErrMiss)
	return int(event.Value), err
}

// Advance fences the namespace below version: once it returns nobody can read older blocks. It
// gives the floor that holds now.
func (n *Namespace) Advance(ctx context.Context, version uint64) (uint64, error) {
	c, op, err := n.start(lowlevel.WEFT_OP_ADVANCE, 0, nil)
	if err != nil {
		return 0, err
	}
	defer c.end()
	op.Offset = version
	event, err := n.run(ctx, c, "advance")
	return event.Value, err
}
