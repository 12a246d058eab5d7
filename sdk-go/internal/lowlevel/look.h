/*
 * What must be fast from Go: one block is viewed, and the one before let go, in one call, without
 * SWIG's layer between. What a view needs and gives lies in one struct, whose address goes as a
 * number, so that cgo has no pointer to check; and no call has a result: both would cost what a
 * call does. The struct must lie on the heap, whose objects do not move.
 */
#ifndef WEFT_LOOK_H
#define WEFT_LOOK_H
#include "weft.h"

#if WEFT_ABI < 1
#error "weft: the installed weft.h is older than WEFT_ABI 1: install libweft 0.1 or newer"
#endif

/* A view of one block. item: its key; then its address, bytes and status, as weft_view gives them.
 * handle: the view's; while there is none a word of the Go side's (held.go). viewed: 1, 0 where it
 * is not in this host's memory, or a negated code. */
typedef struct weft_look {
    weft_item item;
    uint64_t handle;
    uint64_t store;
    int32_t viewed;
    uint32_t reserved;
} weft_look;

/* weft_release of one handle. It cannot fail but for a handle that is none. */
static inline void weft_release_one(uint64_t store, uint64_t handle) {
    (void)weft_release((weft_store*)(uintptr_t)store, &handle, 1);
}

/* weft_release of the view that ended at `place`, unless it is 0, then weft_view with the weft_look
 * there, whose handle stays as it is where nothing is viewed. */
static inline void weft_look_at(uintptr_t place, uint64_t ended, uint64_t store, uint32_t space,
                                uint32_t part, uint64_t key_hi, uint64_t key_lo) {
    weft_look* const look = (weft_look*)place;
    uint64_t handle = 0;
    if (ended != 0) weft_release_one(look->store, ended);
    look->item.key_hi = key_hi;
    look->item.key_lo = key_lo;
    look->store = store;
    look->viewed = weft_view((weft_store*)(uintptr_t)store, space, part, &look->item, 1, &handle);
    if (look->viewed == 1) __atomic_store_n(&look->handle, handle, __ATOMIC_RELEASE);
}

#endif
