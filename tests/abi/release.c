/*
 * The C test that goes out compiled with each release and must run, unmodified, against every later
 * library: keep.sh puts its binary away, and abi_test.py runs those kept and one built today. So it
 * calls every function of weft.h, uses one op of each common kind, and asks only for what the
 * header promises for good. It needs no file, no network and no other process, so that it also runs
 * in a bare root directory. Prints `release: N checks` and is 0 where all held.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft.h"

enum { kPartBytes = 4096, kBlocks = 8, kTokens = 16 };

static unsigned checks;

#define CHECK(what)                                                                           \
    do {                                                                                      \
        checks++;                                                                             \
        if (!(what)) {                                                                        \
            fprintf(stderr, "release: %s:%d: %s does not hold\n", __FILE__, __LINE__, #what); \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

static void succeeded(int32_t code, const weft_error* error, const char* what) {
    checks++;
    if (code >= 0) return;
    fprintf(stderr, "release: %s: %s: %s\n", what, weft_code_name(code), error->message);
    exit(1);
}

typedef struct session {
    weft_store* store;
    weft_queue* queue;
    weft_namespace space;
    uint32_t region;
    uint8_t* bytes;
    weft_item items[kBlocks];
} session;

/* Submits one op and returns its only event. */
static weft_event carry_out(const session* s, weft_op op) {
    weft_event event;
    op.tag = 0x1122334455667788u;
    op.space = s->space.space;
    CHECK(weft_submit(s->queue, &op, 1) == 1);
    CHECK(weft_reap(s->queue, &event, 1, 30000) == 1);
    CHECK(event.tag == op.tag);
    return event;
}

static weft_op block_op(const session* s, uint16_t kind, unsigned block) {
    weft_op op;
    memset(&op, 0, sizeof op);
    op.kind = kind;
    op.key_hi = s->items[block].key_hi;
    op.key_lo = s->items[block].key_lo;
    return op;
}

static void open_all(session* s) {
    weft_error error = {.struct_size = sizeof error};
    uint64_t address = 0;
    memset(s, 0, sizeof *s);
    succeeded(weft_open("memory=64MiB", &s->store, &error), &error, "weft_open");
    s->space.struct_size = sizeof s->space;
    succeeded(weft_namespace_open(s->store, "release/model",
                                  "parts=1,part_bytes=4096,block_tokens=16", &s->space, &error),
              &error, "weft_namespace_open");
    CHECK(s->space.space != 0 && s->space.parts == 1 && s->space.block_tokens == kTokens);
    CHECK(s->space.part_bytes == kPartBytes && s->space.alignment >= 64);
    succeeded(weft_region_map(s->store, kBlocks * kPartBytes, NULL, &s->region, &address, &error),
              &error, "weft_region_map");
    s->bytes = (uint8_t*)(uintptr_t)address;
    succeeded(weft_queue_open(s->store, "depth=64", &s->queue, &error), &error, "weft_queue_open");
    CHECK(weft_queue_fd(s->queue) >= 0);
}

/* Keys of a prompt are a chain: the same tokens give the same keys, another token changes all that
 * follow. */
static void keys(session* s) {
    weft_error error = {.struct_size = sizeof error};
    uint32_t tokens[kBlocks * kTokens];
    const char* scheme = "scheme=vllm-sha256-cbor";
    uint8_t chain[32] = {0};
    weft_item other[kBlocks];
    for (uint32_t i = 0; i < kBlocks * kTokens; i++) tokens[i] = i * 7 % 251;
    memset(other, 0, sizeof other);
    CHECK(weft_keys(scheme, chain, tokens, kBlocks * kTokens, kTokens, s->items, kBlocks, &error) ==
          kBlocks);
    tokens[4 * kTokens] ^= 1;
    CHECK(weft_keys(scheme, NULL, tokens, kBlocks * kTokens, kTokens, other, kBlocks, &error) ==
          kBlocks);
    CHECK(other[3].key_lo == s->items[3].key_lo && other[3].key_hi == s->items[3].key_hi);
    CHECK(other[4].key_lo != s->items[4].key_lo && other[7].key_lo != s->items[7].key_lo);
    CHECK(weft_key_of((const uint8_t*)"abc", 3, &other[0]) == 0);
    /* The last 16 bytes of SHA-256("abc"), FIPS 180-4. */
    CHECK(other[0].key_hi == 0xb00361a396177a9cu && other[0].key_lo == 0xb410ff61f20015adu);
}

static void save_and_load(session* s) {
    for (unsigned i = 0; i < kBlocks; i++) {
        weft_op save = block_op(s, WEFT_OP_SAVE, i);
        weft_event event;
        memset(s->bytes, (int)(i + 1), kPartBytes);
        save.region = s->region;
        event = carry_out(s, save);
        CHECK(event.status == 0 && event.value == kPartBytes && event.detail == 1);
        event = carry_out(s, save);
        CHECK(event.status == -WEFT_EEXISTS);
    }
    for (unsigned i = 0; i < kBlocks; i++) {
        weft_op load = block_op(s, WEFT_OP_LOAD, i);
        weft_event event;
        load.region = s->region;
        load.offset = i * kPartBytes;
        load.flags = WEFT_VERIFY;
        event = carry_out(s, load);
        CHECK(event.status == 0 && event.value == kPartBytes && event.handle == kPartBytes);
        CHECK(event.detail == WEFT_IN_DRAM);
        for (unsigned at = 0; at < kPartBytes; at++) CHECK(s->bytes[i * kPartBytes + at] == i + 1);
    }
}

static void look(session* s) {
    weft_op match = block_op(s, WEFT_OP_MATCH, 0);
    weft_event event;
    uint64_t view = 0;
    weft_item absent[1];
    memset(absent, 0, sizeof absent);
    absent[0].key_hi = absent[0].key_lo = 1;
    CHECK(weft_match(s->store, s->space.space, s->items, kBlocks) == kBlocks);
    CHECK(weft_match(s->store, s->space.space, absent, 1) == 0);
    CHECK(weft_view(s->store, s->space.space, 0, s->items, kBlocks, &view) == kBlocks);
    for (unsigned i = 0; i < kBlocks; i++) {
        const uint8_t* seen = (const uint8_t*)(uintptr_t)s->items[i].offset;
        CHECK(s->items[i].size == kPartBytes && s->items[i].status == WEFT_IN_DRAM);
        CHECK(seen[0] == i + 1 && seen[kPartBytes - 1] == i + 1);
    }
    CHECK(weft_release(s->store, &view, 1) == 0);
    event = carry_out(s, match);
    CHECK(event.status == 0 && event.value == 1);
    event = carry_out(s, block_op(s, WEFT_OP_REMOVE, 0));
    CHECK(event.status == 0);
    event = carry_out(s, match);
    CHECK(event.status == 0 && event.value == 0 && event.detail != 0);
}

/* A page of a pool becomes a block, and comes back in another page. */
static void pool(session* s) {
    static uint8_t pages[2][4][kPartBytes / 2]; /* layer, page */
    uint64_t bases[2] = {(uint64_t)(uintptr_t)pages[0], (uint64_t)(uintptr_t)pages[1]};
    weft_error error = {.struct_size = sizeof error};
    weft_op save = block_op(s, WEFT_OP_SAVE, 0), load = block_op(s, WEFT_OP_LOAD, 0);
    weft_event event;
    uint32_t region = 0;
    memset(pages[0][1], 1, kPartBytes / 2);
    memset(pages[1][1], 2, kPartBytes / 2);
    succeeded(weft_pool_open(s->store, "pages=4,bytes=2048", bases, 2, -1, &region, &error), &error,
              "weft_pool_open");
    save.region = load.region = region;
    save.key_lo = load.key_lo = 77;
    save.offset = 1;
    load.offset = 3;
    event = carry_out(s, save);
    CHECK(event.status == 0 && event.value == kPartBytes && event.detail == 1);
    event = carry_out(s, load);
    CHECK(event.status == 0 && event.value == kPartBytes);
    CHECK(memcmp(pages[0][3], pages[0][1], kPartBytes / 2) == 0);
    CHECK(memcmp(pages[1][3], pages[1][1], kPartBytes / 2) == 0);
    CHECK(pages[0][2][0] == 0 && pages[1][2][0] == 0);
    CHECK(weft_region_drop(s->store, region) == 0);
}

/* A fence hides all that was saved below it, and the opening that is below it is told so. */
static void fence(session* s) {
    weft_op advance = block_op(s, WEFT_OP_ADVANCE, 0);
    weft_op load = block_op(s, WEFT_OP_LOAD, 1);
    weft_event event;
    advance.key_hi = advance.key_lo = 0;
    advance.offset = s->space.version + 1;
    event = carry_out(s, advance);
    CHECK(event.status == 0 && event.value == s->space.version + 1);
    load.region = s->region;
    event = carry_out(s, load);
    CHECK(event.status == -WEFT_EFENCED);
}

static void ask_and_close(session* s) {
    weft_error error = {.struct_size = sizeof error};
    char json[65536];
    static uint8_t own[kPartBytes];
    uint32_t adopted = 0;
    weft_event event;
    CHECK(weft_query(s->store, 0, "about", json, sizeof json, &error) > 0);
    CHECK(json[0] == '{');
    CHECK(weft_query(s->store, 0, "no such query", json, sizeof json, &error) == -WEFT_EINVAL);
    CHECK(error.code == WEFT_EINVAL && error.message[0] != 0);
    CHECK(weft_region_adopt(s->store, (uint64_t)(uintptr_t)own, sizeof own, -1, &adopted, &error) ==
          0);
    CHECK(weft_region_drop(s->store, adopted) == 0);
    CHECK(weft_close(s->store) == -WEFT_EBUSY);
    while (weft_queue_close(s->queue) > 0) CHECK(weft_reap(s->queue, &event, 1, 1000) >= 0);
    CHECK(weft_region_drop(s->store, s->region) == 0);
    CHECK(weft_namespace_close(s->store, s->space.space) == 0);
    CHECK(weft_close(s->store) == 0);
    CHECK(weft_close(s->store) < 0 && weft_close(NULL) < 0);
}

/* With any argument: only that it loads and opens, for a place that has not even /proc, without
 * which a namespace's memory cannot be re-opened read-only for its readers. */
int main(int argc, char** argv) {
    session s;
    (void)argv;
    if (weft_abi() < WEFT_ABI) {
        fprintf(stderr, "release: built for ABI %d, the library has %u\n", WEFT_ABI, weft_abi());
        return 1;
    }
    CHECK(weft_version()[0] != 0 && weft_code_name(-WEFT_EMISS)[0] != 0);
    if (argc > 1) {
        weft_error error = {.struct_size = sizeof error};
        succeeded(weft_open("memory=64MiB", &s.store, &error), &error, "weft_open");
        CHECK(weft_close(s.store) == 0);
        printf("release: loaded weft %s\n", weft_version());
        return 0;
    }
    open_all(&s);
    keys(&s);
    save_and_load(&s);
    look(&s);
    pool(&s);
    fence(&s);
    ask_and_close(&s);
    printf("release: %u checks against weft %s, ABI %u\n", checks, weft_version(), weft_abi());
    return 0;
}
