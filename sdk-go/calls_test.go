package weft_test

// Saves, loads, counts, lists and what is done to blocks that are there.

import (
	"testing"
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

func TestWhatWasSavedIsLoaded(t *testing.T) {
	space := openSpace(t)
	for _, size := range []int{1, 4096, 1 << 16, 1<<20 + 3} {
		data := content(size, byte(size))
		save(t, space, weft.KeyOf(data), data)
		same(t, must[[]byte](t)(space.Load(ctx, weft.KeyOf(data), nil)), data)
		into := make([]byte, size+10)
		same(t, must[[]byte](t)(space.Load(ctx, weft.KeyOf(data), into)), data)
		same(t, into[size:], make([]byte, 10))
	}
	equal(t, must[bool](t)(space.Save(ctx, weft.KeyOf(content(1, 1)), []byte("other"))), false)
}

func TestMemoryOfAnyKindIsLoadedInto(t *testing.T) {
	space := openSpace(t)
	save(t, space, key("k"), content(256, 7))
	var onTheStack [256]byte
	must[[]byte](t)(space.Load(ctx, key("k"), onTheStack[:]))
	same(t, onTheStack[:], content(256, 7))
	view := must[weft.View](t)(space.View(ctx, key("k")))
	save(t, space, key("a copy"), view.Bytes()) // memory that is not Go's
	view.Release()
	same(t, must[[]byte](t)(space.Load(ctx, key("a copy"), nil)), content(256, 7))
}

func TestRangesOfAPart(t *testing.T) {
	space := openSpace(t)
	save(t, space, key("k"), content(5000, 0))
	part := must[[]byte](t)(space.Load(ctx, key("k"), nil, weft.Start(100), weft.Size(50)))
	same(t, part, content(5000, 0)[100:150])
	part = must[[]byte](t)(space.Load(ctx, key("k"), make([]byte, 8), weft.Start(4996)))
	same(t, part, content(5000, 0)[4996:])
	_, err := space.Load(ctx, key("k"), nil, weft.Start(6000), weft.Size(1))
	is(t, err, weft.ErrRange)
}

func TestListsGoAsFarAsTheyCan(t *testing.T) {
	space := openSpace(t)
	keys := chainOf(t, 8)
	rows := weft.Rows(content(6*512, 3), 6)
	equal(t, must[int](t)(space.SaveList(ctx, keys[:6], rows)), 6)
	equal(t, must[int](t)(space.SaveList(ctx, keys[:6], rows)), 6) // what is there is done
	equal(t, must[int](t)(space.Match(ctx, keys)), 6)
	into := weft.Rows(make([]byte, 8*512), 8)
	equal(t, must[int](t)(space.LoadList(ctx, keys, into)), 6)
	for at, row := range rows {
		same(t, into[at], row)
	}
	same(t, into[6], make([]byte, 512))
	views := must[*weft.Views](t)(space.FetchList(ctx, keys))
	equal(t, views.Len(), 6)
	views.Release()
	_, err := space.LoadList(ctx, keys, into[:3])
	is(t, err, weft.ErrInvalid)
	equal(t, must[int](t)(space.SaveList(ctx, nil, nil)), 0)
	equal(t, must[int](t)(space.Match(ctx, nil)), 0)
}

func TestFindTellsWhyTheNextBlockDoesNotCount(t *testing.T) {
	space := openSpace(t)
	keys := chainOf(t, 4)
	must[int](t)(space.SaveList(ctx, keys[:2], weft.Rows(make([]byte, 512), 2)))
	found := must[weft.Found](t)(space.Find(ctx, keys))
	equal(t, found.Blocks, 2)
	equal(t, found.Reason, weft.Absent)
	equal(t, must[weft.Found](t)(space.Find(ctx, keys[:2])).Reason, 0)
	equal(t, must[weft.Found](t)(space.Find(ctx, nil)).Blocks, 0)
}

func TestBlocksExpireAndAreTouchedAndRemoved(t *testing.T) {
	space := openSpace(t)
	save(t, space, key("short"), content(64, 0), weft.TTL(time.Second))
	save(t, space, key("long"), content(64, 0), weft.TTL(time.Hour))
	both := []weft.Key{key("short"), key("long")}
	equal(t, must[int](t)(space.Touch(ctx, both, weft.ReuseSoon())), 2)
	until := time.Now().Add(20 * time.Second)
	for must[int](t)(space.Match(ctx, both)) > 0 && time.Now().Before(until) {
		time.Sleep(50 * time.Millisecond)
	}
	_, err := space.Load(ctx, key("short"), nil)
	missed(t, err, weft.Expired)
	equal(t, must[int](t)(space.Remove(ctx, both[1:])), 1)
	equal(t, must[int](t)(space.Remove(ctx, both[1:])), 0)
	_, err = space.View(ctx, key("long"))
	is(t, err, weft.ErrMiss)
}

func TestANewGenerationReplacesTheOldOne(t *testing.T) {
	space := openSpace(t)
	save(t, space, key("k"), content(64, 1))
	save(t, space, key("k"), content(64, 2), weft.Replace())
	same(t, must[[]byte](t)(space.Load(ctx, key("k"), nil, weft.Verify())), content(64, 2))
}

func TestAnAdvanceFencesOldVersions(t *testing.T) {
	store := openStore(t, "memory=64MiB")
	space := must[*weft.Namespace](t)(store.Namespace("tests/versions", "part_bytes=0,version=3"))
	save(t, space, key("k"), content(64, 1))
	equal(t, must[uint64](t)(space.Advance(ctx, 4)), 4)
	_, err := space.Load(ctx, key("k"), nil)
	is(t, err, weft.ErrFenced)
	next := must[*weft.Namespace](t)(store.Namespace("tests/versions", "version=4"))
	equal(t, next.Floor, 4)
	_, err = next.Load(ctx, key("k"), nil)
	missed(t, err, weft.Fenced)
}

func TestKeysAreChainedAndReadBack(t *testing.T) {
	tokens := make([]uint32, 70)
	for at := range tokens {
		tokens[at] = uint32(at)
	}
	whole := must[[]weft.Key](t)(weft.Keys(tokens, 16, ""))
	equal(t, len(whole), 4)
	var chain weft.Chain
	equal(t, must[[]weft.Key](t)(chain.Keys(tokens[:32], 16, ""))[1], whole[1])
	equal(t, must[[]weft.Key](t)(chain.Keys(tokens[32:], 16, "start=32"))[1], whole[3])
	equal(t, must[weft.Key](t)(weft.ParseKey(whole[2].String())), whole[2])
	salted := must[[]weft.Key](t)(weft.Keys(tokens, 16, "salt=one"))
	if salted[0] == whole[0] {
		t.Fatal("a salt makes other keys")
	}
	for _, wrong := range []string{"", "12", whole[0].String() + "0", "g" + whole[0].String()[1:]} {
		_, err := weft.ParseKey(wrong)
		is(t, err, weft.ErrInvalid)
	}
	_, err := weft.Keys(tokens, 0, "")
	is(t, err, weft.ErrInvalid)
	_, err = weft.Keys(tokens, 16, "scheme=nobody's")
	is(t, err, weft.ErrInvalid)
}

func TestArraysKeepTypeAndShape(t *testing.T) {
	space := openSpace(t)
	array := weft.Array[float32]{Shape: []int{2, 3}, Data: []float32{1, 2, 3, 4, 5, 6.5}}
	equal(t, must[bool](t)(weft.SaveArray(ctx, space, key("a"), array)), true)
	// As numpy.save writes it.
	part := must[[]byte](t)(space.Load(ctx, key("a"), nil))
	head := "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
	equal(t, string(part[:len(head)]), head)
	equal(t, len(part), 128+24)
	found := must[weft.Array[float32]](t)(weft.LoadArray[float32](ctx, space, key("a")))
	equal(t, len(found.Shape), 2)
	equal(t, found.Shape[1], 3)
	equal(t, found.Data[5], 6.5)
	_, err := weft.LoadArray[int32](ctx, space, key("a"))
	is(t, err, weft.ErrInvalid)
	_, err = weft.ArrayOf[float32](part[:len(part)-1])
	is(t, err, weft.ErrInvalid)
	for cut := range 64 {
		if _, err = weft.ArrayOf[float32](part[:cut]); err == nil {
			t.Fatalf("%d bytes are no array", cut)
		}
	}
	odd := append(make([]byte, 1), part...)[1:] // not aligned: copied
	found = must[weft.Array[float32]](t)(weft.ArrayOf[float32](odd))
	equal(t, found.Data[5], 6.5)
	array.Shape = []int{7}
	_, err = weft.SaveArray(ctx, space, key("b"), array)
	is(t, err, weft.ErrInvalid)
}
