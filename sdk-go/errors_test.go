package weft_test

// Errors: a sentinel a code, with the library's words; wrong arguments and closed things are codes,
// never a crash.

import (
	"context"
	"errors"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-kv/weft/sdk-go"
)

func TestEveryCodeOfTheHeaderHasItsSentinel(t *testing.T) {
	sentinels := map[weft.Code]bool{}
	for _, one := range []weft.Code{
		weft.ErrInvalid, weft.ErrMiss, weft.ErrExists, weft.ErrFenced, weft.ErrAgain,
		weft.ErrTimeout, weft.ErrPeer, weft.ErrDenied, weft.ErrQuota, weft.ErrNoMemory,
		weft.ErrBusy, weft.ErrClosed, weft.ErrForked, weft.ErrCorrupt, weft.ErrRange,
		weft.ErrInternal, weft.ErrCanceled, weft.ErrHeld, weft.ErrNotSupported,
	} {
		sentinels[one] = true
	}
	header, err := os.ReadFile("../capi/weft.h")
	if err != nil {
		t.Skip("outside of Weft's tree: there is no header to compare with")
	}
	defined := regexp.MustCompile(`#define WEFT_(E[A-Z]+) (\d+)\s`).FindAllSubmatch(header, -1)
	if len(defined) < 19 {
		t.Fatalf("the header has %d codes", len(defined))
	}
	for _, line := range defined {
		number, _ := strconv.Atoi(string(line[2]))
		if !sentinels[weft.Code(number)] {
			t.Errorf("%s has no sentinel", line[1])
		}
		equal(t, weft.Code(number).Error(), string(line[1]))
		delete(sentinels, weft.Code(number))
	}
	equal(t, len(sentinels), 0)
}

func TestAnUnknownOptionIsNamed(t *testing.T) {
	_, err := weft.Open("memory=16MiB,colour=blue")
	is(t, err, weft.ErrInvalid)
	var failure *weft.Error
	if !errors.As(err, &failure) || !strings.Contains(failure.Words, "colour") {
		t.Fatalf("%v does not name the option", err)
	}
	_, err = weft.Open("connect=unix:/nowhere/s,timeout_ms=200")
	is(t, err, weft.ErrPeer)
	_, err = openStore(t, "memory=16MiB").Namespace("nameless", "")
	is(t, err, weft.ErrInvalid)
}

func TestOpsFailWithWords(t *testing.T) {
	space := openSpace(t)
	_, err := space.Save(ctx, key("k"), content(10, 0), weft.Part(3))
	is(t, err, weft.ErrInvalid)
	for _, words := range []string{"save in tests/any", "part"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%q lacks %q", err, words)
		}
	}
	for _, wrong := range []weft.Option{
		weft.Part(70000), weft.Part(-1), weft.Start(-1), weft.Size(1 << 40), weft.TTL(-1e9),
	} {
		_, err = space.Load(ctx, key("k"), nil, wrong)
		is(t, err, weft.ErrInvalid)
	}
	_, err = space.Load(ctx, key("k"), nil, weft.Replace()) // LOAD does not name it
	is(t, err, weft.ErrInvalid)
	_, err = space.Save(ctx, key("k"), nil)
	is(t, err, weft.ErrInvalid)
	_, err = space.View(ctx, key("k"), weft.Part(1))
	says(t, err, "view in tests/any: part=1: the namespace has 1 parts")
	_, err = space.ViewList(ctx, []weft.Key{key("k")}, weft.Verify())
	says(t, err, "view in tests/any: it takes no option but Part")
	r := must[*weft.Reservation](t)(space.Reserve(ctx, key("k"), 100))
	defer r.Abort(ctx)
	says(t, r.Final(ctx, 101), "final: 101 bytes of a part of 100")
	equal(t, r.Final(ctx, 100), nil)
}

// says checks the words of an error of a wrong argument.
func says(t *testing.T, err error, words string) {
	t.Helper()
	is(t, err, weft.ErrInvalid)
	if !strings.Contains(err.Error(), words) {
		t.Errorf("%q lacks %q", err, words)
	}
}

func TestANilContextIsAWrongArgument(t *testing.T) {
	space := openSpace(t)
	save(t, space, key("k"), content(10, 0))
	var none context.Context
	keys := []weft.Key{key("k")}
	r := must[*weft.Reservation](t)(space.Reserve(ctx, key("r"), 100))
	queue := must[*weft.Queue](t)(openStore(t, "memory=16MiB").Queue(""))
	defer queue.Close()
	for _, act := range []func() error{
		func() error { _, err := space.Save(none, key("k"), content(10, 0)); return err },
		func() error { _, err := space.Load(none, key("k"), nil); return err },
		func() error { _, err := space.Match(none, keys); return err },
		func() error { _, err := space.View(none, key("k")); return err },
		func() error { _, err := space.ViewList(none, keys); return err },
		func() error { _, err := space.FetchList(none, keys); return err },
		func() error { _, err := queue.Reap(none, make([]weft.Event, 1)); return err },
		func() error { _, err := r.Commit(none); return err },
		func() error { return r.Abort(none) },
	} {
		says(t, act(), "the context is nil")
	}
	runtime.GC() // what was pinned would end the program here
	runtime.GC()
	equal(t, r.Abort(ctx), nil) // nothing was done to it
}

func TestUseAfterCloseIsAnError(t *testing.T) {
	store := openStore(t, "memory=16MiB")
	space := must[*weft.Namespace](t)(store.Namespace("tests/closed", "part_bytes=0"))
	save(t, space, key("k"), content(10, 0))
	equal(t, store.Close(), nil)
	keys := []weft.Key{key("k")}
	for what, act := range map[string]func() error{
		"save":      func() error { _, err := space.Save(ctx, key("k"), nil); return err },
		"load":      func() error { _, err := space.Load(ctx, key("k"), nil); return err },
		"match":     func() error { _, err := space.Match(ctx, keys); return err },
		"view":      func() error { _, err := space.View(ctx, key("k")); return err },
		"views":     func() error { _, err := space.ViewList(ctx, keys); return err },
		"query":     func() error { _, err := store.Stats(); return err },
		"namespace": func() error { _, err := store.Namespace("tests/more", ""); return err },
	} {
		err := act()
		if !errors.Is(err, weft.ErrClosed) || err.Error() != "weft: the store is closed" {
			t.Errorf("%s gives %v", what, err)
		}
	}
	equal(t, space.Close(), nil)
}

func TestAsksAndAnswersInWords(t *testing.T) {
	space := openSpace(t)
	save(t, space, key("k"), content(10, 0))
	for _, ask := range []func() ([]byte, error){
		func() ([]byte, error) { return space.Query("layout") },
		func() ([]byte, error) { return space.Explain(key("k")) },
	} {
		if answer := must[[]byte](t)(ask()); answer[0] != '{' {
			t.Errorf("%s is no JSON object", answer)
		}
	}
	store := openStore(t, "memory=16MiB")
	if about := must[[]byte](t)(store.About()); len(about) < 100 {
		t.Errorf("%s", about)
	}
}

// A process that has no descriptor left is told so in the library's own way.
func TestNoDescriptorLeftIsNoMemory(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	for spare := range 2 { // one for the eventfd, but none for its copy
		space := openSpace(t)
		next, err := syscall.Dup(0)
		if err != nil {
			t.Fatal(err)
		}
		syscall.Close(next)
		few := syscall.Rlimit{Cur: uint64(next + spare), Max: before.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
			t.Fatal(err)
		}
		err = space.Wait(ctx, key("nobody writes this"))
		if failed := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); failed != nil {
			t.Fatal(failed)
		}
		if !errors.Is(err, weft.ErrNoMemory) {
			t.Errorf("with %d descriptors left: %v", spare, err)
		}
	}
}
