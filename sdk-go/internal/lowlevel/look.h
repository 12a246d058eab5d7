/*
 * What must be fast from Go: one block is viewed, and let go, in one call each. Keys and handles go
 * by value, and what comes back lies in one small struct, so that a call has one pointer for cgo to
 * check, or none.
 */
#ifndef WEFT_LOOK_H
#define WEFT_LOOK_H
#include "weft.h"

#if WEFT_ABI < 1
#error "weft: the installed weft.h is older than WEFT_ABI 1: install libweft 0.1 or newer"
#endif

/* A view of one block: its handle, address and bytes; or why there is none, as in weft_item. */
typedef struct weft_look {
    uint64_t handle;
    uint64_t address;
    uint32_t size;
    int32_t status;
} weft_look;

/* weft_view of one block. Returns 1, 0 where it is not in this host's memory, or a negated code. */
static inline int32_t weft_view_one(weft_store* store, uint32_t space, uint32_t part,
                                    uint64_t key_hi, uint64_t key_lo, weft_look* out) {
    weft_item item = {.key_hi = key_hi, .key_lo = key_lo};
    const int32_t viewed = weft_view(store, space, part, &item, 1, &out->handle);
    out->address = item.offset;
    out->size = item.size;
    out->status = item.status;
    return viewed;
}

/* weft_release of one handle. */
static inline int32_t weft_release_one(weft_store* store, uint64_t handle) {
    return weft_release(store, &handle, 1);
}

#endif
