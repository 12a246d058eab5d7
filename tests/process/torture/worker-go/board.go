package main

// The board that driver and workers share (../slots.h), and what blocks hold (../../content.h).

import (
	"encoding/binary"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/weft-kv/weft/sdk-go"
)

const (
	keys, partBytes, most, heldMost = 400, 16384, 262144, 24
	boardWords                      = 16 + 16*16
)

var sizes = [...]int{256, 4096, 40000, 262144}

// Words of the board, and of a slot.
const (
	stop, floor, node, pause = 0, 1, 2, 3
	stamps, beat, starts     = 0, 1, 2
	hits, misses, saves      = 3, 4, 5
	refused, unreachable     = 6, 7
	fenced, odd, wrong       = 8, 9, 10
	copying                  = 11
)

type board struct {
	words *[boardWords]uint64
	slot  int
}

func openBoard(path string, slot int) (board, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return board{}, err
	}
	defer file.Close()
	memory, err := syscall.Mmap(int(file.Fd()), 0, boardWords*8,
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return board{}, err
	}
	return board{(*[boardWords]uint64)(unsafe.Pointer(&memory[0])), slot}, nil
}

func (b board) get(word int) uint64 { return atomic.LoadUint64(&b.words[word]) }

func (b board) count(what int, by uint64) uint64 {
	return atomic.AddUint64(&b.words[16+16*b.slot+what], by)
}

func (b board) set(what int, value uint64) {
	atomic.StoreUint64(&b.words[16+16*b.slot+what], value)
}

func (b board) stamp() uint64 { return uint64(b.slot+1)<<48 | b.count(stamps, 1) }

func mix(x uint64) uint64 {
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}

func keyOf(number uint64) weft.Key {
	return weft.Key{Hi: mix(number + 1), Lo: mix(number + 0x9e3779b97f4a7c15)}
}

func seedOf(number, version, part, stamp uint64) uint64 {
	return mix(stamp ^ mix(number^mix(version^mix(part+7))))
}

// fill writes the part's bytes from start on, as many as there is room for in to.
func fill(to []byte, number, version, part, stamp uint64, start int) {
	seed := seedOf(number, version, part, stamp)
	for at := 0; at < len(to); at += 8 {
		word := seed ^ uint64(start+at)*0x9e3779b97f4a7c15
		if start+at == 0 {
			word = stamp
		}
		binary.LittleEndian.PutUint64(to[at:], word)
	}
}

// stampOf is the stamp of a whole part whose bytes are all right, else 0.
func stampOf(from []byte, number, version, part uint64) uint64 {
	stamp := binary.LittleEndian.Uint64(from)
	seed := seedOf(number, version, part, stamp)
	for at := 8; at < len(from); at += 8 {
		if binary.LittleEndian.Uint64(from[at:]) != seed^uint64(at)*0x9e3779b97f4a7c15 {
			return 0
		}
	}
	return stamp
}
