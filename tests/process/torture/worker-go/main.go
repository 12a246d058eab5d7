// A reader or a writer in Go of a torture run: worker-go ROLE SOCKET BOARD SLOT SEED. The steps of
// ../worker.cpp, by the SDK; invariants as there.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

var ctx = context.Background()

// asked is a part of a block, and what its reader may hold Weft to.
type asked struct {
	number, version, floor, part uint64
	size                         int
}

type held struct {
	view  weft.View
	of    asked
	stamp uint64
}

type worker struct {
	board
	dice       *rand.Rand
	store      *weft.Store
	any, parts *weft.Namespace
	memory     []byte
	held       []held
}

func is(err error, codes ...weft.Code) bool {
	for _, code := range codes {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

func (w *worker) odd(what string, err error) {
	if w.count(odd, 1) <= 20 {
		fmt.Fprintf(os.Stderr, "go %d: ODD: %s: %v\n", w.slot, what, err)
	}
}

func (w *worker) wrong(what string, of asked, seen string) {
	w.count(wrong, 1)
	fmt.Fprintf(os.Stderr, "go %d: WRONG: %s: key %d part %d version %d floor %d: %s\n",
		w.slot, what, of.number, of.part, of.version, of.floor, seen)
	os.Exit(3)
}

// patiently makes what a fault may keep from being made for a while.
func patiently[T any](w *worker, make func() (T, error)) T {
	for {
		w.count(beat, 1)
		made, err := make()
		if err == nil {
			return made
		}
		if w.get(stop) != 0 {
			os.Exit(0)
		}
		if !is(err, weft.ErrPeer, weft.ErrTimeout, weft.ErrFenced, weft.ErrNoMemory,
			weft.ErrClosed) {
			w.odd("open", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *worker) open(anyOptions, partsOptions string) {
	w.any = patiently(w, func() (*weft.Namespace, error) {
		return w.store.Namespace("torture/any", anyOptions)
	})
	w.parts = patiently(w, func() (*weft.Namespace, error) {
		return w.store.Namespace("torture/parts", partsOptions)
	})
}

func (w *worker) reopen() {
	w.letGo(0)
	for _, space := range []*weft.Namespace{w.any, w.parts} {
		if err := space.Close(); err != nil {
			w.odd("close", err)
		}
	}
	w.open("", "")
}

// told counts how a call ended; true: well.
func (w *worker) told(err error, what string) bool {
	switch {
	case err == nil:
		return true
	case is(err, weft.ErrFenced):
		w.count(fenced, 1)
		w.reopen()
	case is(err, weft.ErrPeer, weft.ErrTimeout):
		w.count(unreachable, 1)
	case is(err, weft.ErrMiss):
		w.count(misses, 1)
	case is(err, weft.ErrExists, weft.ErrHeld, weft.ErrQuota, weft.ErrNoMemory),
		what == "end" && is(err, weft.ErrInvalid, weft.ErrClosed):
		w.count(refused, 1)
	default:
		w.odd(what, err)
	}
	return false
}

func (w *worker) asked(space *weft.Namespace) asked {
	of := asked{floor: w.get(floor), number: uint64(w.dice.Intn(keys)), version: space.Version}
	of.size = sizes[of.number%4]
	if space == w.parts {
		of.size = partBytes
	}
	return of
}

// judge gives the stamp of the part, all of whose bytes are right.
func (w *worker) judge(found []byte, of asked, what string) uint64 {
	w.count(hits, 1)
	if of.version < of.floor {
		w.wrong(what, of, "older than the floor")
	}
	if len(found) != of.size {
		w.wrong(what, of, fmt.Sprint(len(found), " bytes"))
	}
	stamp := stampOf(found, of.number, of.version, of.part)
	if stamp == 0 {
		w.wrong(what, of, fmt.Sprintf("bytes that begin with %x", found[:8]))
	}
	return stamp
}

func (w *worker) run(steps []func()) {
	for w.get(stop) == 0 {
		steps[w.dice.Intn(len(steps))]()
		w.count(beat, 1)
		time.Sleep(time.Duration(w.dice.Int63n(int64(w.get(pause))+1)) * time.Microsecond)
	}
	w.letGo(0)
}

func main() {
	slot, _ := strconv.Atoi(os.Args[4])
	seed, _ := strconv.ParseInt(os.Args[5], 10, 64)
	shared, err := openBoard(os.Args[3], slot)
	if err != nil {
		fmt.Fprintln(os.Stderr, "go:", err)
		os.Exit(2)
	}
	w := &worker{board: shared, dice: rand.New(rand.NewSource(seed)), memory: make([]byte, 8*most)}
	w.store = patiently(w, func() (*weft.Store, error) {
		return weft.Open("connect=" + os.Args[2] + ",timeout_ms=5000")
	})
	w.open("part_bytes=0,write_s=1", "parts=2,part_bytes=16384,write_s=1,pin_s=30")
	w.set(copying, 0)
	w.count(starts, 1)
	if os.Args[1] == "reader" {
		w.run([]func(){w.view, w.look, w.load, w.loadPinned})
	} else {
		w.run([]func(){
			w.saveList, w.reserve, w.reserve, w.remove, w.saveParts, w.saveParts, w.save, w.save,
		})
	}
	if err := w.store.Close(); err != nil {
		w.odd("close of the store", err)
	}
}
