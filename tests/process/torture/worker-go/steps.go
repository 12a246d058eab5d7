package main

// The steps of readers and writers.

import (
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

func (w *worker) view() {
	of := w.asked(w.any)
	view, err := w.any.Fetch(ctx, keyOf(of.number))
	if !w.told(err, "fetch") {
		return
	}
	w.held = append(w.held, held{view, of, w.judge(view.Bytes(), of, "fetch")})
	w.letGo(heldMost)
}

func (w *worker) letGo(left int) {
	for len(w.held) > left {
		one := w.held[0]
		one.of.floor = 0 // a view stands, whatever is fenced meanwhile
		if w.judge(one.view.Bytes(), one.of, "held view") != one.stamp {
			w.wrong("held view", one.of, "another attempt's bytes")
		}
		one.view.Release()
		w.held = w.held[1:]
	}
}

func (w *worker) next(of asked, by uint64) asked {
	of.number = (of.number + by) % keys
	of.size = sizes[of.number%4]
	return of
}

func (w *worker) look() {
	of := w.asked(w.any)
	list := make([]weft.Key, 8)
	for i := range list {
		list[i] = keyOf(w.next(of, uint64(i)).number)
	}
	views, err := w.any.ViewList(ctx, list)
	if !w.told(err, "view list") {
		return
	}
	for i := range views.Len() {
		w.judge(views.Bytes(i), w.next(of, uint64(i)), "view list")
	}
	views.Release()
}

func (w *worker) load() {
	of := w.asked(w.any)
	into := w.memory[:most]
	for at := range of.size {
		into[at] = 0xee
	}
	found, err := w.any.Load(ctx, keyOf(of.number), into)
	if w.told(err, "load") {
		w.judge(found, of, "load")
	}
}

// loadPinned loads both parts of a pinned block: there, each whole, and both of one attempt.
func (w *worker) loadPinned() {
	of := w.asked(w.parts)
	before, since := w.get(node), time.Now()
	found, err := w.parts.Find(ctx, []weft.Key{keyOf(of.number)}, weft.Pin())
	if !w.told(err, "pin") {
		return
	}
	defer found.Release()
	if found.Blocks == 0 {
		w.count(misses, 1)
		return
	}
	var first uint64
	for part := range 2 {
		of.part = uint64(part)
		got, err := w.parts.Load(ctx, keyOf(of.number), nil, weft.Part(part))
		holds := w.get(node) == before && before%2 == 0 && time.Since(since) < 20*time.Second
		if is(err, weft.ErrMiss) && holds {
			w.wrong("pinned", of, err.Error())
		}
		if !w.told(err, "load pinned") {
			return
		}
		stamp := w.judge(got, of, "load pinned")
		if part == 0 {
			first = stamp
		} else if stamp != first && holds {
			w.wrong("pinned", of, "parts of two attempts")
		}
	}
}

// filled is the block that of asks for, with a stamp of its own, in to.
func (w *worker) filled(to []byte, of asked) []byte {
	fill(to[:of.size], of.number, of.version, 0, w.stamp(), 0)
	return to[:of.size]
}

func (w *worker) save() {
	of := w.asked(w.any)
	var options []weft.Option
	if w.dice.Intn(8) == 0 {
		options = append(options, weft.Replace())
	}
	if w.dice.Intn(8) == 0 {
		options = append(options, weft.TTL(time.Second))
	}
	data := w.filled(w.memory, of)
	w.set(copying, 2)
	_, err := w.any.Save(ctx, keyOf(of.number), data, options...)
	w.set(copying, 0)
	if w.told(err, "save") {
		w.count(saves, 1)
	}
}

func (w *worker) saveList() {
	of := w.asked(w.any)
	list, data := make([]weft.Key, 8), make([][]byte, 8)
	for i := range list {
		one := w.next(of, uint64(i))
		list[i], data[i] = keyOf(one.number), w.filled(w.memory[i*most:(i+1)*most], one)
	}
	w.set(copying, 2)
	done, err := w.any.SaveList(ctx, list, data, weft.Unchained())
	w.set(copying, 0)
	w.count(saves, uint64(done))
	w.told(err, "save list")
}

func (w *worker) remove() {
	_, err := w.any.Remove(ctx, []weft.Key{keyOf(w.asked(w.any).number)})
	w.told(err, "remove")
}

// reserve writes in place, in four steps with a pause between them.
func (w *worker) reserve() {
	of := w.asked(w.any)
	var options []weft.Option
	if w.dice.Intn(4) == 0 {
		options = append(options, weft.WaitWriter())
	}
	made, err := w.any.Reserve(ctx, keyOf(of.number), of.size, options...)
	if !w.told(err, "reserve") {
		return
	}
	stamp, quarter := w.stamp(), of.size/4
	w.set(copying, 1)
	for start := 0; start < of.size; start += quarter {
		fill(made.Bytes(0)[start:start+quarter], of.number, of.version, 0, stamp, start)
		time.Sleep(time.Duration(w.dice.Intn(2000)) * time.Microsecond)
	}
	w.set(copying, 0)
	if w.dice.Intn(8) == 0 {
		err = made.Abort(ctx)
	} else {
		_, err = made.Commit(ctx)
	}
	if w.told(err, "end") {
		w.count(saves, 1)
	}
}

// saveParts saves part 1 whole, part 0 in two ranges; now and then it is given up in between.
func (w *worker) saveParts() {
	of, stamp := w.asked(w.parts), w.stamp()
	key := keyOf(of.number)
	pieces := [...]struct{ part, start, size int }{
		{1, 0, partBytes}, {0, partBytes / 2, partBytes / 2}, {0, 0, partBytes / 2},
	}
	for _, piece := range pieces {
		data := w.memory[:piece.size]
		fill(data, of.number, of.version, uint64(piece.part), stamp, piece.start)
		w.set(copying, 2)
		part, start := weft.Part(piece.part), weft.Start(piece.start)
		published, err := w.parts.Save(ctx, key, data, part, start)
		w.set(copying, 0)
		if published {
			w.count(saves, 1)
			return
		}
		if !w.told(err, "save part") || w.dice.Intn(16) == 0 {
			break
		}
	}
	w.dropParts(key)
}

// dropParts drops until the node has heard it: what this writer saves of the block next would join
// what is left of it.
func (w *worker) dropParts(key weft.Key) {
	for {
		_, err := w.parts.DropUnfinished(ctx, []weft.Key{key})
		w.told(err, "end")
		if !is(err, weft.ErrPeer, weft.ErrTimeout) || w.get(stop) != 0 {
			return
		}
		w.count(beat, 1)
		time.Sleep(time.Millisecond)
	}
}
