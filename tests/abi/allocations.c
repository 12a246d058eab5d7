/*
 * Submit and reap allocate nothing in a client, whether this process answers an op itself or its
 * node does, and nor do the calls that only look; in a process that is its own node, what needs no
 * decision of the node allocates nothing either. This program's malloc counts, on all threads; the
 * library's calls come here too. Prints `allocations: N in M ops`, ends with 0 only if there was
 * none.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

enum { kBlocks = 64, kBytes = 4096 };
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

static uint64_t ops_done;
static uint64_t fresh; /* numbers keys that nobody has used */

static weft_event run_op(weft_op op) {
    weft_event event;
    need(weft_submit(queue, &op, 1) == 1, "submit");
    need(weft_reap(queue, &event, 1, 10000) == 1, "reap");
    ops_done++;
    return event;
}

/** A list's op on all items, else one on item 7; it must end with this status. */
static weft_event run(uint16_t kind, uint32_t flags, int32_t status) {
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
    weft_event event = run_op(op);
    need(event.status == status, weft_code_name(-event.status));
    return event;
}

static void set_items(uint64_t first, int bytes) {
    for (uint64_t i = 0; i < kBlocks; i++)
        items[i] = (weft_item){(first + i) * 0x9e3779b97f4a7c15u, first + i,
                               (uint64_t)(uintptr_t)room[i], (uint32_t)bytes, 0};
}

static void release(uint64_t handle) { need(weft_release(store, &handle, 1) == 0, "release"); }

static void look_round(void) {
    set_items(0, kBytes);
    run(WEFT_OP_LOAD, 0, 0);
    run(WEFT_OP_LOAD, WEFT_LIST | WEFT_CHAIN, 0);
    set_items(0, 0);
    run(WEFT_OP_MATCH, WEFT_LIST | WEFT_CHAIN, 0);
    release(run(WEFT_OP_VIEW, 0, 0).handle);
    release(run(WEFT_OP_VIEW, WEFT_LIST | WEFT_CHAIN, 0).handle);
    set_items(0, 0);
    need(weft_match(store, space.space, items, kBlocks) == kBlocks, "match");
    uint64_t handle;
    need(weft_view(store, space.space, 0, items, kBlocks, &handle) == kBlocks, "view");
    release(handle);
}

static void settle(uint16_t kind, uint64_t reservation) {
    weft_op op = {.kind = kind, .space = space.space, .offset = reservation};
    need(run_op(op).status == 0, "commit or abort");
}

/** What the node is asked. */
static void ask_round(void) {
    set_items(fresh += kBlocks, kBytes);
    run(WEFT_OP_LOAD, 0, -WEFT_EMISS);
    run(WEFT_OP_WAIT, WEFT_LIST, -WEFT_EMISS);
    run(WEFT_OP_SAVE, WEFT_LIST | WEFT_CHAIN, 0);
    run(WEFT_OP_SAVE, WEFT_LIST | WEFT_CHAIN | WEFT_REPLACE, 0);
    run(WEFT_OP_REMOVE, 0, 0);
    run(WEFT_OP_SAVE, 0, 0);
    set_items(fresh, 0);
    release(run(WEFT_OP_MATCH, WEFT_LIST | WEFT_CHAIN | WEFT_PIN, 0).handle);
    set_items(fresh += kBlocks, 0);
    release(run(WEFT_OP_WAIT, WEFT_LIST | WEFT_CHAIN | WEFT_CLAIM, -WEFT_EMISS).handle);
    settle(WEFT_OP_ABORT, run(WEFT_OP_RESERVE, 0, 0).handle);
    settle(WEFT_OP_COMMIT, run(WEFT_OP_RESERVE, WEFT_LIST, 0).handle);
}

static void open_store(const char* options) {
    weft_error error = {.struct_size = sizeof error};
    int32_t opened = -WEFT_EPEER;
    for (int i = 0; i < 1000 && opened != 0; i++) { /* its node may still be starting */
        opened = weft_open(options, &store, &error);
        if (opened != 0) usleep(10000);
    }
    need(opened == 0, error.message);
    need(weft_namespace_open(store, "t/m", "part_bytes=4096", &space, &error) == 0, error.message);
    need(weft_queue_open(store, NULL, &queue, &error) == 0, error.message);
    need(weft_region_adopt(store, 0, 0, -1, &all, &error) == 0, error.message);
    fresh = 0;
    set_items(0, kBytes);
    run(WEFT_OP_SAVE, WEFT_LIST | WEFT_CHAIN, 0);
}

static void close_store(void) {
    need(weft_queue_close(queue) == 0, "queue");
    need(weft_namespace_close(store, space.space) == 0, "namespace");
    need(weft_region_drop(store, all) == 0, "region");
    need(weft_close(store) == 0, "store");
}

/** What `rounds` more rounds allocate when memory has come to its sizes. */
static unsigned long measure(void (*round_of_ops)(void), int rounds) {
    for (int i = 0; i < 100; i++) round_of_ops();
    unsigned long before = atomic_load(&allocations);
    need(before > 0, "this malloc is not the library's");
    uint64_t ops_before = ops_done;
    for (int i = 0; i < rounds; i++) round_of_ops();
    unsigned long made = atomic_load(&allocations) - before;
    printf("allocations: %lu in %lu ops\n", made, (unsigned long)(ops_done - ops_before));
    return made;
}

int main(int count, char** arguments) {
    need(count == 2, "give a path for a socket");
    char options[200];
    pid_t node = fork(); /* a client's node is another process, and its memory is not counted */
    if (node == 0) {
        snprintf(options, sizeof options, "memory=16MiB,listen=unix:%s", arguments[1]);
        weft_error error = {.struct_size = sizeof error};
        need(weft_open(options, &store, &error) == 0, error.message);
        for (;;) pause();
    }
    open_store("memory=32MiB");
    unsigned long made = measure(look_round, 500);
    close_store();
    snprintf(options, sizeof options, "connect=unix:%s", arguments[1]);
    open_store(options);
    made += measure(look_round, 100);
    made += measure(ask_round, 200);
    close_store();
    kill(node, SIGKILL);
    return made != 0;
}
