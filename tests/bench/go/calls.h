/*
 * What Go is measured beside: the same calls of the same store, made in C. A call of nothing is
 * what it costs to come here from Go.
 */
#ifndef WEFT_BENCH_CALLS_H
#define WEFT_BENCH_CALLS_H
#include "weft.h"

static void nothing(void) {}

/* Views and releases `count` blocks, one after the other; returns how many were there. */
static int32_t views(uint64_t store, uint32_t space, const weft_item* keys, uint32_t count) {
    int32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        weft_item item = keys[i];
        uint64_t handle = 0;
        found += weft_view((weft_store*)(uintptr_t)store, space, 0, &item, 1, &handle);
        weft_release((weft_store*)(uintptr_t)store, &handle, 1);
    }
    return found;
}

static weft_queue* queue_of(uint64_t store) {
    weft_queue* queue = NULL;
    weft_queue_open((weft_store*)(uintptr_t)store, NULL, &queue, NULL);
    return queue;
}

static uint32_t all_memory(uint64_t store) {
    uint32_t region = 0;
    weft_region_adopt((weft_store*)(uintptr_t)store, 0, 0, -1, &region, NULL);
    return region;
}

static void end_calls(uint64_t store, weft_queue* queue, uint32_t region) {
    weft_queue_close(queue);
    weft_region_drop((weft_store*)(uintptr_t)store, region);
}

/* Loads a list, or with count 0 the block of `items`, and waits for it; returns the blocks or bytes
 * of it, or a negated code. */
static int64_t load(weft_queue* queue, uint32_t space, uint32_t region, const weft_item* items,
                    uint32_t count) {
    weft_op op = {.kind = WEFT_OP_LOAD, .space = space, .region = region};
    weft_event event;
    if (count > 0) {
        op.flags = WEFT_LIST | WEFT_CHAIN;
        op.key_hi = count;
        op.key_lo = region;
        op.offset = (uintptr_t)items;
    } else {
        op.key_hi = items->key_hi;
        op.key_lo = items->key_lo;
        op.offset = items->offset;
        op.size = items->size;
    }
    if (weft_submit(queue, &op, 1) != 1 || weft_reap(queue, &event, 1, -1) != 1) return -1;
    return event.status < 0 ? event.status : (int64_t)event.value;
}

#endif
