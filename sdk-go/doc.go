// Package weft is the KV cache Weft from Go: a thin layer over capi/weft.h, whose words (store,
// namespace, block, part, view, claim, ...) mean here what they mean there.
//
//	store, err := weft.Open("memory=64MiB") // or "connect=unix:/run/weft.sock"
//	space, err := store.Namespace("me/model", "part_bytes=0")
//	published, err := space.Save(ctx, weft.KeyOf([]byte("a name")), data)
//	view, err := space.View(ctx, key) // the cache's own memory, no copy
//	defer view.Release()
//
// Rules that hold for every call:
//
//   - Memory: what a call is passed is the caller's again when it returns, also after a cancel: the
//     call ends its op then and waits for the op's event. Memory that a View, Views or Reservation
//     gives is the cache's: it is valid until that one is released, committed or aborted, and must
//     not be used afterwards.
//   - Context: comes first. Its deadline is the op's timeout (without one: the store's), and its
//     end ends the op; the error then is both the context's and Weft's, or the context's alone
//     where it had ended before the call. [Namespace.Match], [Namespace.View] and
//     [Namespace.ViewList] never wait.
//   - Errors: an [*Error] with the library's words; errors.Is with the [Code] tells which. A miss
//     is [ErrMiss] with its [Reason]. Lists count their lead blocks: a miss ends the count and is
//     no error.
//   - Goroutines: everything from any of them, by the thousand; no thread waits for any of them,
//     they all share one queue.
//   - Units: sizes and places are bytes of a part; a part has less than 4 GiB.
//
// The library libweft is found by pkg-config when a program is built, and by the loader when it
// runs. [Op], [Item] and [Event], for a [Queue] of one's own, are the structs of package abi.
package weft
