package lowlevel

// The calls of look.h: what must be fast, made by cgo itself.

// #include "look.h"
import "C"

// LookAt views a block with the Look at place: then its Viewed is 1 and its Handle the view's.
func LookAt(place uintptr, store uint64, space, part uint32, keyHi, keyLo uint64) {
	C.weft_look_at(C.uintptr_t(place), C.uint64_t(store), C.uint32_t(space), C.uint32_t(part),
		C.uint64_t(keyHi), C.uint64_t(keyLo))
}

// ReleaseLook ends the view of the Look at place, whose Handle is 0 then.
func ReleaseLook(place uintptr, store, handle uint64) {
	C.weft_look_release(C.uintptr_t(place), C.uint64_t(store), C.uint64_t(handle))
}

// ReleaseOne ends a view, a pin or a claim.
func ReleaseOne(store, handle uint64) {
	C.weft_release_one(C.uint64_t(store), C.uint64_t(handle))
}
