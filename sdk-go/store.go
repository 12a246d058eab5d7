package weft

// Store and Namespace: what is opened, asked in words, and closed.

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

// Store is a node, or a connection to one. Any goroutine may use it.
type Store struct {
	handle  uint64
	memory  atomic.Uint32 // the region that is all of this process, from the first op on
	drivers drivers
	lock    sync.Mutex // guards spaces and closing
	spaces  map[uint32]bool
	closed  bool
}

// Open opens what options say, key=value separated by commas: "memory=64MiB" a private store, with
// "listen=unix:PATH" a node, "connect=unix:PATH" a client of one. It waits for a node at most for
// timeout_ms=. Errors: ErrInvalid names an unknown option; ErrPeer, ErrBusy, ErrNotSupported (the
// library is too old).
func Open(options string) (*Store, error) {
	if abi := lowlevel.Abi(); abi < uint32(lowlevel.WEFT_ABI) {
		return nil, &Error{Code: ErrNotSupported, Words: fmt.Sprintf(
			"libweft %s has ABI %d and this program needs ABI %d: install a newer libweft",
			lowlevel.Version(), abi, lowlevel.WEFT_ABI)}
	}
	handle, failure := new(uint64), newFailure()
	if code := lowlevel.Open(options, handle, failure); code < 0 {
		return nil, failed(code, said(failure))
	}
	s := &Store{handle: *handle, spaces: map[uint32]bool{}}
	s.drivers.store = s.handle
	s.drivers.quicks.idle = make(chan *quick, 64)
	s.drivers.opened.Store(&[]*driver{})
	return s, nil
}

// Handle is the ABI's weft_store *, for programs that also call weft.h by cgo of their own.
func (s *Store) Handle() uint64 { return s.handle }

// all gives the region that is all of this process: offsets in it are addresses.
func (s *Store) all() (uint32, error) {
	if memory := s.memory.Load(); memory != 0 {
		return memory, nil
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if memory := s.memory.Load(); memory != 0 {
		return memory, nil
	}
	region, failure := new(uint32), newFailure()
	if code := lowlevel.Region_adopt(s.handle, 0, 0, -1, region, failure); code < 0 {
		return 0, s.failed(code, said(failure))
	}
	s.memory.Store(*region)
	return *region, nil
}

// Close ends the calls in flight (ErrClosed, ErrCanceled) and closes the store with its namespaces;
// twice is once. While views or reservations are held it returns ErrBusy and their memory stays:
// release and abort them and call it again; calls that may wait give ErrClosed already.
func (s *Store) Close() error {
	s.drivers.close()
	endAll()
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.closed {
		return nil
	}
	for space := range s.spaces {
		if code := lowlevel.Namespace_close(s.handle, space); code < 0 && Code(-code) != ErrClosed {
			return failed(code, "the store's views or reservations are not let go yet")
		}
		delete(s.spaces, space)
	}
	if memory := s.memory.Swap(0); memory != 0 {
		lowlevel.Region_drop(s.handle, memory)
	}
	if code := lowlevel.Close(s.handle); code < 0 {
		return failed(code, "")
	}
	s.closed = true
	return nil
}

// isClosing tells whether Close was called.
func (s *Store) isClosing() bool { return s.drivers.quicks.closed.Load() }

// Query asks in words, as weft_query has them ("about", "stats", "namespaces", "explain key=..."),
// and answers in JSON.
func (s *Store) Query(words string) (json.RawMessage, error) { return s.query(0, words) }

// About tells versions, kinds, options, devices and limits.
func (s *Store) About() (json.RawMessage, error) { return s.query(0, "about") }

// Stats are the store's counters, hits and misses by reason among them.
func (s *Store) Stats() (json.RawMessage, error) { return s.query(0, "stats") }

// Namespaces are those that this store may see.
func (s *Store) Namespaces() (json.RawMessage, error) { return s.query(0, "namespaces") }

func (s *Store) query(space uint32, words string) (json.RawMessage, error) {
	endAll()
	answer, failure := make([]byte, 1<<14), newFailure()
	for {
		size := lowlevel.Query(s.handle, space, words, answer, failure)
		if size < 0 {
			return nil, s.failed(size, said(failure))
		}
		if int(size) < len(answer) {
			return answer[:size:size], nil
		}
		answer = make([]byte, int(size)+4096)
	}
}

// story gives the words of an op that failed.
func (s *Store) story(id uint64) string {
	var told struct{ Message string }
	answer, err := s.query(0, fmt.Sprintf("error id=%d", id))
	if err == nil && json.Unmarshal(answer, &told) == nil {
		return told.Message
	}
	return ""
}

// Namespace is an open namespace: what its blocks are, as stored, and the calls on them. Any
// goroutine may use it.
type Namespace struct {
	Name        string
	Parts       int    // of a block, one a rank
	PartBytes   uint64 // the largest part's; 0: parts have any size
	BlockTokens int
	Layers      int
	Alignment   int    // of the addresses that views and reservations give
	Version     uint64 // that its calls read and write; Advance does not move it
	Floor       uint64 // the lowest version that could be read when it was opened
	Space       uint32 // the id that ops name
	store       *Store
}

// Namespace opens `tenant/model`, and creates it where there is none. options: create=no (then
// ErrMiss), version= (else the floor), parts=, part_bytes= (0: any size), block_tokens=, layers=,
// dtype=, layout=, quota=, policy=, ttl_s=, pin_s=, write_s=, writer=; what is given must agree
// with what is stored. Errors: ErrInvalid (the words name both values), ErrDenied, ErrFenced.
func (s *Store) Namespace(name, options string) (*Namespace, error) {
	layout, failure := &lowlevel.Layout{StructSize: lowlevel.LayoutSize}, newFailure()
	s.lock.Lock()
	defer s.lock.Unlock()
	if code := lowlevel.Namespace_open(s.handle, name, options, layout, failure); code < 0 {
		return nil, s.failed(code, said(failure))
	}
	s.spaces[layout.Space] = true
	return &Namespace{
		Name: name, Parts: int(layout.Parts), PartBytes: layout.PartBytes,
		BlockTokens: int(layout.BlockTokens), Layers: int(layout.Layers),
		Alignment: int(layout.Alignment), Version: layout.Version, Floor: layout.Floor,
		Space: layout.Space, store: s,
	}, nil
}

// Query is Store.Query of this namespace: "layout", "blocks after=KEY,limit=N", "explain key=KEY",
// "drop", "flush version=N".
func (n *Namespace) Query(words string) (json.RawMessage, error) {
	return n.store.query(n.Space, words)
}

// Explain tells what is known of a block: where it is, or why it is not to be had.
func (n *Namespace) Explain(key Key) (json.RawMessage, error) {
	return n.Query("explain key=" + key.String())
}

func (n *Namespace) isClosed() bool {
	n.store.lock.Lock()
	defer n.store.lock.Unlock()
	return !n.store.spaces[n.Space]
}

// Close closes it; twice is once. Errors: ErrBusy while views or reservations are held or
// calls are in flight.
func (n *Namespace) Close() error {
	n.store.lock.Lock()
	defer n.store.lock.Unlock()
	if !n.store.spaces[n.Space] {
		return nil
	}
	endAll()
	code := lowlevel.Namespace_close(n.store.handle, n.Space)
	if code < 0 && Code(-code) != ErrClosed {
		return failed(code, n.Name+": views or reservations are held, or calls are in flight")
	}
	delete(n.store.spaces, n.Space)
	return nil
}
