package weft

// Arrays with their type and shape, as NumPy's .npy parts, so that every language reads what
// another saved. For namespaces with part_bytes=0. Invariant: what is read is checked to be what T
// says, and of C order, before its bytes are looked at as T.

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unsafe"
)

// Number is an element of an array.
type Number interface {
	~int8 | ~uint8 | ~int16 | ~uint16 | ~int32 | ~uint32 | ~int64 | ~uint64 | ~float32 | ~float64
}

// Array is numbers in C order, of the shape: the last index moves fastest.
type Array[T Number] struct {
	Shape []int
	Data  []T
}

const npyMagic = "\x93NUMPY\x01\x00"

// kindOf is T's name in .npy headers, of this machine's byte order.
func kindOf[T Number]() string {
	var one T
	kind := "i"
	switch {
	case T(1)/2 != 0: // floats keep a half
		kind = "f"
	case one-1 > 0:
		kind = "u"
	}
	if size := unsafe.Sizeof(one); size > 1 {
		return fmt.Sprintf("<%s%d", kind, size)
	}
	return "|" + kind + "1"
}

// SaveArray saves an array as a .npy part. True: this call published it. Options: as Save's.
// Errors: ErrInvalid where the shape does not count the data.
func SaveArray[T Number](
	ctx context.Context, n *Namespace, key Key, array Array[T], options ...Option,
) (bool, error) {
	count, shape := 1, ""
	for _, size := range array.Shape {
		count, shape = count*size, shape+strconv.Itoa(size)+", "
	}
	if count != len(array.Data) {
		return false, invalid("an array of shape %v with %d numbers", array.Shape, len(array.Data))
	}
	shape = strings.TrimSuffix(shape, " ")
	if len(array.Shape) > 1 { // as Python writes tuples
		shape = strings.TrimSuffix(shape, ",")
	}
	kind := kindOf[T]()
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", kind, shape)
	head += strings.Repeat(" ", 63-(len(npyMagic)+2+len(head))%64) + "\n"
	part := append([]byte(npyMagic), byte(len(head)), byte(len(head)>>8))
	part = append(part, head...)
	return n.Save(ctx, key, append(part, cast[byte](array.Data)...), options...)
}

// LoadArray is a copy of what SaveArray saved, in this or any language. Options: as Load's. Errors:
// ErrMiss; ErrInvalid where the part is no .npy of T in C order.
func LoadArray[T Number](
	ctx context.Context, n *Namespace, key Key, options ...Option,
) (Array[T], error) {
	part, err := n.Load(ctx, key, nil, options...)
	if err != nil {
		return Array[T]{}, err
	}
	return ArrayOf[T](part)
}

var npyHead = regexp.MustCompile(
	`^\{'descr': '([^']+)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), *\} *\n$`)

// ArrayOf is the array in a part, over the same memory: of a View's bytes it is the cache's own,
// and valid as long. Errors: as LoadArray's.
func ArrayOf[T Number](part []byte) (Array[T], error) {
	if len(part) < len(npyMagic)+2 || string(part[:len(npyMagic)]) != npyMagic {
		return Array[T]{}, invalid("a part of %d bytes is no .npy of version 1", len(part))
	}
	head, data := part[len(npyMagic)+2:], []byte(nil)
	size := int(binary.LittleEndian.Uint16(part[len(npyMagic):]))
	if size <= len(head) {
		head, data = head[:size], head[size:]
	}
	found := npyHead.FindSubmatch(head)
	if found == nil || string(found[1]) != kindOf[T]() || string(found[2]) != "False" {
		return Array[T]{}, invalid("not a .npy of %s in C order: %q", kindOf[T](), head)
	}
	array, count := Array[T]{Shape: []int{}}, 1
	for _, word := range regexp.MustCompile(`[0-9]+`).FindAllString(string(found[3]), -1) {
		size, _ := strconv.ParseUint(word, 10, 32) // too large a number is the largest
		array.Shape, count = append(array.Shape, int(size)), min(count*int(size), math.MaxUint32)
	}
	var one T
	if count*int(unsafe.Sizeof(one)) > len(data) {
		return Array[T]{}, invalid("%d bytes of numbers are less than %q says", len(data), head)
	}
	array.Data = cast[T](data)[:count]
	return array, nil
}

// cast is the same memory as numbers of another type, copied where it is not aligned for them.
func cast[To, From Number](memory []From) []To {
	var from From
	var to To
	bytes := len(memory) * int(unsafe.Sizeof(from))
	if bytes < int(unsafe.Sizeof(to)) {
		return []To{}
	}
	first := unsafe.Pointer(unsafe.SliceData(memory))
	if uintptr(first)%unsafe.Alignof(to) != 0 {
		copied := make([]To, bytes/int(unsafe.Sizeof(to)))
		copy(cast[byte](copied), cast[byte](memory))
		return copied
	}
	return unsafe.Slice((*To)(first), bytes/int(unsafe.Sizeof(to)))
}
