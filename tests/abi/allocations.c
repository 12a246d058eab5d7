/*
 * Submit and reap allocate nothing: ops that this process answers itself (LOAD, VIEW, MATCH, of one
 * block and of lists, hits and named misses alike are not asked of a node here), and the calls that
 * only look. This program's malloc counts; the library's calls come here too. Prints
 * `allocations: N ops`, ends with 0 only if there was none.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft.h"

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
static atomic_ulong allocations;

void* malloc(size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(memory, size);
}

enum { kBlocks = 64, kBytes = 4096, kRounds = 500 };
static weft_store* store;
static weft_queue* queue;
static weft_namespace space = {.struct_size = sizeof space};
static uint32_t all;
static weft_item items[kBlocks];
static unsigned char room[kBlocks][kBytes];

static void need(int holds, const char* what) {
    if (holds) return;
    fprintf(stderr, "allocations: %s\n", what);
    exit(1);
}

static weft_event run(uint16_t kind, uint32_t flags) {
    weft_op op = {.kind = kind, .flags = flags, .space = space.space};
    if ((flags & WEFT_LIST) != 0) {
        op.key_hi = kBlocks;
        op.key_lo = all;
        op.offset = (uint64_t)(uintptr_t)items;
    } else {
        op.key_hi = items[7].key_hi;
        op.key_lo = items[7].key_lo;
    }
    if (kind == WEFT_OP_LOAD || kind == WEFT_OP_SAVE) {
        op.region = all;
        op.size = kBytes;
        if ((flags & WEFT_LIST) == 0) op.offset = (uint64_t)(uintptr_t)room[7];
    }
    weft_event event;
    need(weft_submit(queue, &op, 1) == 1, "submit");
    need(weft_reap(queue, &event, 1, 10000) == 1, "reap");
    need(event.status == 0, weft_code_name(event.status));
    return event;
}

static void set_items(int bytes) {
    for (uint64_t i = 0; i < kBlocks; i++)
        items[i] = (weft_item){i * 0x9e3779b97f4a7c15u, i, (uint64_t)(uintptr_t)room[i],
                               (uint32_t)bytes, 0};
}

static void round_of_ops(void) {
    run(WEFT_OP_LOAD, 0);
    set_items(kBytes);
    run(WEFT_OP_LOAD, WEFT_LIST | WEFT_CHAIN);
    set_items(0);
    run(WEFT_OP_MATCH, WEFT_LIST | WEFT_CHAIN);
    weft_event view = run(WEFT_OP_VIEW, 0);
    need(weft_release(store, &view.handle, 1) == 0, "release");
    view = run(WEFT_OP_VIEW, WEFT_LIST | WEFT_CHAIN);
    need(weft_release(store, &view.handle, 1) == 0, "release");
    set_items(0);
    need(weft_match(store, space.space, items, kBlocks) == kBlocks, "match");
    uint64_t handle;
    need(weft_view(store, space.space, 0, items, kBlocks, &handle) == kBlocks, "view");
    need(weft_release(store, &handle, 1) == 0, "release");
}

int main(void) {
    weft_error error = {.struct_size = sizeof error};
    need(weft_open("memory=32MiB", &store, &error) == 0, error.message);
    need(weft_namespace_open(store, "t/m", "part_bytes=4096", &space, &error) == 0, error.message);
    need(weft_queue_open(store, NULL, &queue, &error) == 0, error.message);
    need(weft_region_adopt(store, 0, 0, -1, &all, &error) == 0, error.message);
    set_items(kBytes);
    run(WEFT_OP_SAVE, WEFT_LIST | WEFT_CHAIN);
    for (int i = 0; i < 100; i++) round_of_ops(); /* vectors come to their sizes */
    unsigned long before = atomic_load(&allocations);
    need(before > 0, "this malloc is not the library's");
    for (int i = 0; i < kRounds; i++) round_of_ops();
    unsigned long made = atomic_load(&allocations) - before;
    printf("allocations: %lu in %d ops\n", made, kRounds * 5);
    return made != 0;
}
