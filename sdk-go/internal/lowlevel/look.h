/*
 * What must be fast from Go: one block is viewed, and let go, in one call each. What a view needs
 * and gives lies in one struct, whose address goes as a number, so that cgo has no pointer to
 * check; and neither call has a result: both would cost what a call does. The struct must lie on
 * the heap, as an object's does that a pool gave.
 */
#ifndef WEFT_LOOK_H
#define WEFT_LOOK_H
#include "weft.h"

#if WEFT_ABI < 1
#error "weft: the installed weft.h is older than WEFT_ABI 1: install libweft 0.1 or newer"
#endif

/* A view of one block. item: its key; then its address, bytes and status, as weft_view gives them.
 * viewed: 1, 0 where it is not in this host's memory, or a negated code. */
typedef struct weft_look {
    weft_item item;
    uint64_t handle;
    int32_t viewed;
    uint32_t reserved;
} weft_look;

/* weft_view with the weft_look at `place`. */
static inline void weft_view_one(weft_store* store, uint32_t space, uint32_t part,
                                 uintptr_t place) {
    weft_look* const look = (weft_look*)place;
    look->handle = 0;
    look->viewed = weft_view(store, space, part, &look->item, 1, &look->handle);
}

/* weft_release of one handle. It cannot fail but for a handle that is none. */
static inline void weft_release_one(weft_store* store, uint64_t handle) {
    (void)weft_release(store, &handle, 1);
}

#endif
