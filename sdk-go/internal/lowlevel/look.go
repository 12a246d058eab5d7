package lowlevel

// The calls of look.h: what must be fast, made by cgo itself.

// #include "look.h"
import "C"

// LookAt lets the view go that ended in the Look at place, unless it is 0, and then views a block
// there: its Viewed is 1 and its Handle the view's.
func LookAt(place uintptr, ended, store uint64, space, part uint32, keyHi, keyLo uint64) {
	C.weft_look_at(C.uintptr_t(place), C.uint64_t(ended), C.uint64_t(store), C.uint32_t(space),
		C.uint32_t(part), C.uint64_t(keyHi), C.uint64_t(keyLo))
}

// ReleaseOne ends a view, a pin or a claim.
func ReleaseOne(store, handle uint64) {
	C.weft_release_one(C.uint64_t(store), C.uint64_t(handle))
}
