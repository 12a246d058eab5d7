// Package abi has the structs of weft.h that ops are made of, field by field as they lie in memory,
// so that slices of them cross into the library as they are. Package weft names them too; weft.h
// says what each field means to each kind of op. Invariant: they have the sizes of the ABI, or this
// does not compile.
package abi

import "unsafe"

// Op is weft_op: one operation, whose event returns its Tag.
type Op struct {
	Tag, KeyHi, KeyLo, Offset    uint64
	Size, Start, Space, Region   uint32
	TimeoutMs, TTLSeconds, Flags uint32
	Kind, Part                   uint16
}

// Item is weft_item: one block of a list.
type Item struct {
	KeyHi, KeyLo, Offset uint64
	Size                 uint32
	Status               int32
}

// Event is weft_event: how an op ended. Status is 0 or more, or a negated code.
type Event struct {
	Tag, Value, Handle uint64
	Status             int32
	Detail             uint32
}

var (
	_ = [1]struct{}{}[unsafe.Sizeof(Op{})-64]
	_ = [1]struct{}{}[unsafe.Sizeof(Item{})-32]
	_ = [1]struct{}{}[unsafe.Sizeof(Event{})-32]
)
