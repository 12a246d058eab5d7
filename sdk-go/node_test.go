package weft_test

// A node and its client: ops that end elsewhere, and later than their submit.

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

// openPair opens a node and a client of it, each with the namespace.
func openPair(t *testing.T, layout string) (node, client *weft.Namespace) {
	t.Helper()
	address := "unix:" + filepath.Join(t.TempDir(), "s")
	server := openStore(t, "memory=64MiB,listen="+address)
	guest := openStore(t, "connect="+address)
	node = must[*weft.Namespace](t)(server.Namespace("tests/node", layout))
	return node, must[*weft.Namespace](t)(guest.Namespace("tests/node", layout))
}

func TestAClientReadsInPlaceWhatItsNodeSaved(t *testing.T) {
	node, client := openPair(t, "part_bytes=0")
	for at := range 2000 { // more than the ops that go the shared way after a late one
		name := weft.Key{Hi: 2, Lo: uint64(at)}
		save(t, client, name, content(100, byte(at)))
		view, err := node.View(ctx, name)
		// A machine that leaves the node no time for as long as its lease makes all of it a miss.
		for until := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
			view, err = node.View(ctx, name)
		}
		equal(t, err, nil)
		same(t, view.Bytes(), content(100, byte(at)))
		view.Release()
		same(t, must[[]byte](t)(client.Load(ctx, name, nil)), content(100, byte(at)))
	}
	equal(t, must[int](t)(client.Remove(ctx, []weft.Key{{Hi: 2, Lo: 7}})), 1)
	_, err := client.Fetch(ctx, weft.Key{Hi: 2, Lo: 7})
	is(t, err, weft.ErrMiss)
}

func TestManyClientsGoroutinesSaveAtOnce(t *testing.T) {
	_, client := openPair(t, "part_bytes=0")
	var group sync.WaitGroup
	for at := range 500 {
		group.Add(1)
		go func() {
			defer group.Done()
			short, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			name := weft.Key{Hi: 3, Lo: uint64(at)}
			published, err := client.Save(short, name, content(1000, 1))
			if err != nil || !published {
				t.Errorf("save %d: %v %v", at, published, err)
			}
		}()
	}
	group.Wait()
}

func TestACancelOfWhatWasLate(t *testing.T) {
	node, client := openPair(t, "parts=2,part_bytes=65536")
	must[bool](t)(node.Save(ctx, key("k"), content(65536, 1))) // one part: another writer's
	for range 3 {
		short, cancel := context.WithCancel(ctx)
		time.AfterFunc(5*time.Millisecond, cancel)
		_, err := client.Save(short, key("k"), content(65536, 1), weft.WaitWriter())
		is(t, err, context.Canceled)
		cancel()
	}
}

func TestACloseOfANodeLeavesItsClientWithErrors(t *testing.T) {
	address := "unix:" + filepath.Join(t.TempDir(), "s")
	server := must[*weft.Store](t)(weft.Open("memory=64MiB,listen=" + address))
	guest := must[*weft.Store](t)(weft.Open("connect=" + address + ",timeout_ms=300"))
	client := must[*weft.Namespace](t)(guest.Namespace("tests/node", "part_bytes=0"))
	equal(t, server.Close(), nil)
	_, err := client.Save(ctx, key("k"), content(10, 0))
	if err == nil {
		t.Fatal("a save without a node")
	}
	is(t, err, weft.ErrPeer)
	equal(t, guest.Close(), nil)
}
