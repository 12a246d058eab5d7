package weft

// Keys: 128 bits that name a block, a value.

import (
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

// Key names a block in its namespace.
type Key struct{ Hi, Lo uint64 }

// String is 32 hexadecimal digits.
func (k Key) String() string { return fmt.Sprintf("%016x%016x", k.Hi, k.Lo) }

// ParseKey reads what String writes.
func ParseKey(digits string) (Key, error) {
	if len(digits) == 32 {
		hi, first := strconv.ParseUint(digits[:16], 16, 64)
		lo, second := strconv.ParseUint(digits[16:], 16, 64)
		if first == nil && second == nil {
			return Key{hi, lo}, nil
		}
	}
	return Key{}, invalid("key %q: expected 32 hexadecimal digits", digits)
}

// KeyOf is the key of any bytes (a name, a file's content): of their SHA-256.
func KeyOf(content []byte) Key {
	item := new(lowlevel.Item)
	if len(content) == 0 {
		content = make([]byte, 0, 1)
	}
	lowlevel.Key_of(content, item)
	return Key{item.KeyHi, item.KeyLo}
}

// Chain is the digest at the end of a prompt's full blocks, from which the keys of what follows go
// on. The zero Chain is a prompt's begin.
type Chain [32]byte

// Keys gives the keys of a prompt's full blocks of blockTokens, in order, as the engine of scheme=
// makes them; len(tokens) / blockTokens of them. options: scheme=vllm-sha256-cbor (the default) or
// sglang, seed=, lora=, salt=, start=, mm=WHERE+LENGTH:ID; "" for none. Never waits.
func Keys(tokens []uint32, blockTokens int, options string) ([]Key, error) {
	return keys(nil, tokens, blockTokens, options)
}

// Keys is the function Keys for tokens that follow c, and moves c to their end. With options start=
// where tokens[0] is.
func (c *Chain) Keys(tokens []uint32, blockTokens int, options string) ([]Key, error) {
	return keys(&c[0], tokens, blockTokens, options)
}

func keys(chain *byte, tokens []uint32, blockTokens int, options string) ([]Key, error) {
	if blockTokens <= 0 {
		return nil, invalid("blocks of %d tokens", blockTokens)
	}
	if options == "" {
		options = "scheme=vllm-sha256-cbor"
	}
	look := looks.Get().(*look)
	defer looks.Put(look)
	made := look.room(max(len(tokens)/blockTokens, 1))
	look.failure.StructSize = lowlevel.FailureSize
	count := lowlevel.Keys(options, chain, tokens, uint32(blockTokens), made, look.failure)
	if count < 0 {
		return nil, failed(count, said(look.failure))
	}
	out := make([]Key, count)
	for at := range out {
		out[at] = Key{made[at].KeyHi, made[at].KeyLo}
	}
	return out, nil
}

// look is the memory of one call on a list that only looks, and leaves nothing in it.
type look struct {
	items   []lowlevel.Item
	failure *lowlevel.Failure // apart: C is given no memory with Go pointers in it
}

var looks = sync.Pool{New: func() any { return &look{failure: newFailure()} }}

const lookMost = 1 << 16 // items that are kept for the next call

// room gives count items of any content.
func (l *look) room(count int) []lowlevel.Item {
	if count > lookMost {
		return make([]lowlevel.Item, count)
	}
	l.items = slices.Grow(l.items[:0], count)
	return l.items[:count]
}

// itemsOf gives the items of keys, for lists.
func itemsOf(keys []Key) []lowlevel.Item {
	return fill(make([]lowlevel.Item, len(keys)), keys)
}

func fill(items []lowlevel.Item, keys []Key) []lowlevel.Item {
	for at, key := range keys {
		items[at] = lowlevel.Item{KeyHi: key.Hi, KeyLo: key.Lo}
	}
	return items
}
