/*
 * programs: what five kinds of users write against weft.h, each as short as it can be, and a main
 * that runs them one after the other and checks what they return: an engine's scheduler and its
 * worker, a cache plug-in that loads by name, a gateway, a runtime that reads while another writes,
 * and a notebook.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft.h>

#define EXPECT(holds)                                                             \
    do {                                                                          \
        if (!(holds)) {                                                           \
            fprintf(stderr, "programs: line %d: not so: %s\n", __LINE__, #holds); \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

enum { kBlocks = 6, kBlockTokens = 16, kBlockBytes = 4096, kLayers = 8 };

static uint64_t address(const void* memory) { return (uint64_t)(uintptr_t)memory; }

/* Submits one op to a queue that has no other and returns how it ended. */
static weft_event run(weft_queue* queue, const weft_op* op) {
    weft_event event;
    EXPECT(weft_submit(queue, op, 1) == 1);
    EXPECT(weft_reap(queue, &event, 1, -1) == 1);
    EXPECT(event.tag == op->tag);
    return event;
}

/* 1. A scheduler asks how much of a prompt is there, without side effects, then pins that much, so
 * that every rank finds it. */
static int32_t scheduler(weft_store* store, weft_queue* queue, uint32_t space, uint32_t all,
                         weft_item* items, uint32_t count, uint64_t* pin) {
    const int32_t hit = weft_match(store, space, items, count);
    if (hit <= 0) return hit;
    weft_op op = {0};
    op.kind = WEFT_OP_MATCH;
    op.flags = WEFT_LIST | WEFT_CHAIN | WEFT_PIN;
    op.space = space;
    op.key_hi = (uint64_t)hit;
    op.key_lo = all;
    op.offset = address(items);
    op.ttl_s = 10;
    const weft_event event = run(queue, &op);
    *pin = event.handle; /* released when all ranks have reported */
    return event.status < 0 ? event.status : (int32_t)event.value;
}

/* 1b. A worker takes all layers of its pages in one op: the items say key and page. */
static int32_t move_pages(weft_queue* queue, uint16_t kind, uint32_t space, uint32_t pool,
                          uint32_t all, const weft_item* items, uint32_t count) {
    weft_op op = {0};
    op.kind = kind; /* WEFT_OP_SAVE or WEFT_OP_LOAD */
    op.flags = WEFT_LIST | WEFT_CHAIN;
    op.space = space;
    op.region = pool;
    op.key_hi = count;
    op.key_lo = all;
    op.offset = address(items);
    const weft_event event = run(queue, &op);
    return event.status < 0 && event.status != -WEFT_EMISS ? event.status : (int32_t)event.value;
}

/* 2. A plug-in loads values by name into buffers of its own, all in one op; its event is a
 * future's. */
static int32_t load_by_name(weft_queue* queue, uint32_t space, uint32_t all,
                            const char* const* names, void* const* buffers, const uint32_t* sizes,
                            uint32_t count, weft_item* items, uint64_t future) {
    for (uint32_t i = 0; i < count; i++) {
        weft_key_of((const uint8_t*)names[i], strlen(names[i]), &items[i]);
        items[i].offset = address(buffers[i]);
        items[i].size = sizes[i];
        items[i].status = 0;
    }
    weft_op op = {0};
    op.tag = future;
    op.kind = WEFT_OP_LOAD;
    op.flags = WEFT_LIST | WEFT_EACH;
    op.space = space;
    op.region = all;
    op.key_hi = count;
    op.key_lo = all;
    op.offset = address(items);
    return weft_submit(queue, &op, 1);
}

/* 3. A gateway turns tokens into keys, looks, and claims the first block that is missing, so that
 * others wait for it. */
static int32_t gateway(weft_store* store, weft_queue* queue, uint32_t space, const uint32_t* tokens,
                       uint32_t token_count, weft_item* keys, uint64_t tag) {
    const int32_t count = weft_keys("scheme=vllm-sha256-cbor,seed=0", NULL, tokens, token_count,
                                    kBlockTokens, keys, kBlocks, NULL);
    if (count < 0) return count;
    const int32_t hit = weft_match(store, space, keys, (uint32_t)count);
    if (hit < 0 || hit == count) return hit;
    weft_op op = {0};
    op.tag = tag;
    op.kind = WEFT_OP_WAIT;
    op.flags = WEFT_CLAIM;
    op.space = space;
    op.key_hi = keys[hit].key_hi;
    op.key_lo = keys[hit].key_lo;
    op.timeout_ms = 30000;
    op.ttl_s = 30;
    weft_submit(queue, &op, 1);
    return hit; /* its event 0: it is there, match again; EMISS and a handle: forward it;
                   weft_release on failure */
}

/* 4. A runtime reads a block layer by layer while it is being written; returns how many layers were
 * right. */
static uint32_t follow(weft_store* store, weft_queue* queue, const weft_namespace* space,
                       const weft_item* key) {
    weft_op view = {0};
    view.kind = WEFT_OP_VIEW;
    view.flags = WEFT_FOLLOW;
    view.space = space->space;
    view.key_hi = key->key_hi;
    view.key_lo = key->key_lo;
    const weft_event opened = run(queue, &view);
    EXPECT(opened.status == 0);
    const uint8_t* base = (const uint8_t*)(uintptr_t)opened.value;
    const uint32_t layer_bytes = (uint32_t)(space->part_bytes / space->layers);
    weft_op wait = view;
    wait.kind = WEFT_OP_WAIT;
    uint32_t right = 0;
    for (uint32_t layer = 0; layer < space->layers; layer++) {
        wait.start = layer * layer_bytes;
        wait.size = layer_bytes;
        if (run(queue, &wait).status < 0) break;
        uint32_t same = 0;
        for (uint32_t i = 0; i < layer_bytes; i++) same += base[wait.start + i] == layer + 1;
        right += same == layer_bytes;
    }
    wait.flags = 0; /* what was read counts only if the block was published */
    wait.start = wait.size = 0;
    EXPECT(run(queue, &wait).status == 0);
    EXPECT(weft_release(store, &opened.handle, 1) >= 0);
    return right;
}

/* 5. A notebook loads an array whose size it does not know: MATCH with EACH says it. Returns the
 * bytes moved. */
static uint64_t load_whole(weft_queue* queue, uint32_t space, uint32_t all, weft_item* item,
                           void* array, uint32_t room) {
    weft_op match = {0};
    match.kind = WEFT_OP_MATCH;
    match.flags = WEFT_LIST | WEFT_EACH;
    match.space = space;
    match.key_hi = 1;
    match.key_lo = all;
    match.offset = address(item);
    EXPECT(run(queue, &match).value == 1);
    EXPECT(item->size <= room);
    weft_op load = {0};
    load.kind = WEFT_OP_LOAD;
    load.space = space;
    load.key_hi = item->key_hi;
    load.key_lo = item->key_lo;
    load.region = all;
    load.offset = address(array);
    load.size = room;
    const weft_event event = run(queue, &load);
    EXPECT(event.status == 0 && event.value == event.handle); /* whole */
    return event.value;
}

static weft_event save(weft_queue* queue, uint32_t space, uint32_t all, const weft_item* key,
                       const void* bytes, uint32_t size) {
    weft_op op = {0};
    op.kind = WEFT_OP_SAVE;
    op.space = space;
    op.key_hi = key->key_hi;
    op.key_lo = key->key_lo;
    op.region = all;
    op.offset = address(bytes);
    op.size = size;
    return run(queue, &op);
}

static weft_namespace open_namespace(weft_store* store, const char* name, const char* options) {
    weft_error error = {.struct_size = sizeof error};
    weft_namespace space = {.struct_size = sizeof space};
    if (weft_namespace_open(store, name, options, &space, &error) < 0)
        fprintf(stderr, "programs: %s: %s\n", name, error.message);
    EXPECT(space.space != 0);
    return space;
}

static weft_queue* open_queue(weft_store* store) {
    weft_queue* queue = NULL;
    EXPECT(weft_queue_open(store, NULL, &queue, NULL) >= 0);
    return queue;
}

/* The gateway, then an engine that saves what was missing, then the scheduler: one prompt's way. */
static void try_prompt(weft_store* store, weft_queue* queue, uint32_t all) {
    const weft_namespace space =
        open_namespace(store, "programs/prompt", "parts=1,part_bytes=4096,block_tokens=16");
    uint32_t tokens[kBlocks * kBlockTokens];
    for (uint32_t i = 0; i < kBlocks * kBlockTokens; i++) tokens[i] = 100 + i;
    weft_item keys[kBlocks] = {0};
    uint8_t block[kBlockBytes];
    memset(block, 1, sizeof block);
    EXPECT(gateway(store, queue, space.space, tokens, kBlocks * kBlockTokens, keys, 3) == 0);
    weft_event claim;
    EXPECT(weft_reap(queue, &claim, 1, -1) == 1 && claim.tag == 3);
    EXPECT(claim.status == -WEFT_EMISS && claim.handle != 0);
    for (uint32_t i = 0; i < kBlocks - 1; i++)
        EXPECT(save(queue, space.space, all, &keys[i], block, sizeof block).detail == 1);
    weft_release(store, &claim.handle, 1);

    uint64_t pin = 0;
    EXPECT(scheduler(store, queue, space.space, all, keys, kBlocks, &pin) == kBlocks - 1);
    EXPECT(pin != 0 && weft_release(store, &pin, 1) >= 0);
    EXPECT(gateway(store, queue, space.space, tokens, kBlockTokens, keys, 4) ==
           1); /* all there: no claim, no event */
    EXPECT(weft_namespace_close(store, space.space) >= 0);
}

static void try_names(weft_store* store, weft_queue* queue, uint32_t all) {
    const weft_namespace space = open_namespace(store, "programs/names", "parts=1,part_bytes=0");
    static const char* const names[] = {"one", "two", "nobody saved this"};
    static char one[] = "first", two[] = "the second";
    weft_item items[3] = {0};
    weft_key_of((const uint8_t*)names[0], strlen(names[0]), &items[0]);
    weft_key_of((const uint8_t*)names[1], strlen(names[1]), &items[1]);
    EXPECT(save(queue, space.space, all, &items[0], one, sizeof one).status == 0);
    EXPECT(save(queue, space.space, all, &items[1], two, sizeof two).status == 0);

    char buffers[3][32] = {{0}};
    void* const to[] = {buffers[0], buffers[1], buffers[2]};
    const uint32_t sizes[] = {32, 32, 32};
    EXPECT(load_by_name(queue, space.space, all, names, to, sizes, 3, items, 42) == 1);
    weft_event event;
    EXPECT(weft_reap(queue, &event, 1, -1) == 1 && event.tag == 42);
    EXPECT(event.value == 2 && event.status == -WEFT_EMISS && event.detail == WEFT_MISS_ABSENT);
    EXPECT(strcmp(buffers[0], one) == 0 && strcmp(buffers[1], two) == 0 &&
           items[1].size == sizeof two);

    char array[64];
    EXPECT(load_whole(queue, space.space, all, &items[1], array, sizeof array) == sizeof two);
    EXPECT(strcmp(array, two) == 0);
    EXPECT(weft_namespace_close(store, space.space) >= 0);
}

struct writer {
    weft_store* store;
    const weft_namespace* space;
    uint64_t reservation;
    uint8_t* bytes;
};

/* Writes one layer after the other in place and makes each final at once. */
static void* write_layers(void* argument) {
    const struct writer* writer = argument;
    weft_queue* queue = open_queue(writer->store);
    const uint32_t layer_bytes = (uint32_t)(writer->space->part_bytes / writer->space->layers);
    weft_op op = {0};
    op.kind = WEFT_OP_COMMIT;
    op.space = writer->space->space;
    op.offset = writer->reservation;
    op.flags = WEFT_MORE;
    for (uint32_t layer = 0; layer < writer->space->layers; layer++) {
        memset(writer->bytes + layer * layer_bytes, (int)layer + 1, layer_bytes);
        op.size = (layer + 1) * layer_bytes;
        EXPECT(run(queue, &op).status == 0);
    }
    op.flags = 0;
    op.size = 0;
    EXPECT(run(queue, &op).detail == 1);
    EXPECT(weft_queue_close(queue) == 0);
    return NULL;
}

static void try_follow(weft_store* store, weft_queue* queue) {
    const weft_namespace space =
        open_namespace(store, "programs/follow", "parts=1,part_bytes=65536,layers=8");
    weft_item key = {0};
    weft_key_of((const uint8_t*)"stream", 6, &key);
    weft_op op = {0};
    op.kind = WEFT_OP_RESERVE;
    op.space = space.space;
    op.key_hi = key.key_hi;
    op.key_lo = key.key_lo;
    const weft_event reserved = run(queue, &op);
    EXPECT(reserved.status == 0 && reserved.detail == space.part_bytes);
    struct writer writer = {store, &space, reserved.handle, (uint8_t*)(uintptr_t)reserved.value};
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, write_layers, &writer) == 0);
    EXPECT(follow(store, queue, &space, &key) == kLayers);
    EXPECT(pthread_join(thread, NULL) == 0);
    EXPECT(weft_namespace_close(store, space.space) >= 0);
}

/* An engine's pages, keys and values apart in each layer, of tokens with two heads each. */
static void try_pages(weft_store* store, weft_queue* queue, uint32_t all) {
    enum { kPages = 8, kTokens = 4, kHeads = 2, kBytes = 16, kPage = kTokens * kHeads * kBytes };
    static uint8_t kv[kLayers][2][kPages][kPage];
    const weft_namespace space =
        open_namespace(store, "programs/pages", "part_bytes=2048,block_tokens=4,layers=8");
    uint64_t bases[kLayers][2];
    for (int i = 0; i < kLayers; i++) {
        for (int j = 0; j < 2; j++) {
            bases[i][j] = address(kv[i][j]);
            memset(kv[i][j], 1 + i * 2 + j, sizeof kv[i][j] / 2);
        }
    }
    uint32_t pool = 0;
    const char* layout =
        "pages=8,tensors=2,heads=2,tokens=4,bytes=16,token_stride=32,head_stride=16";
    EXPECT(weft_pool_open(store, layout, bases[0], 2 * kLayers, -1, &pool, NULL) >= 0);
    weft_item items[3] = {{.key_lo = 1, .offset = 2 * kTokens}, {.key_lo = 2}, {.key_lo = 3}};
    items[1].offset = 0;
    EXPECT(move_pages(queue, WEFT_OP_SAVE, space.space, pool, all, items, 2) == 2);
    items[0].offset = 7 * kTokens;
    items[1].offset = 5 * kTokens;
    EXPECT(move_pages(queue, WEFT_OP_LOAD, space.space, pool, all, items, 3) == 2);
    for (int i = 0; i < kLayers; i++) {
        for (int j = 0; j < 2; j++) {
            EXPECT(memcmp(kv[i][j][7], kv[i][j][2], kPage) == 0);
            EXPECT(memcmp(kv[i][j][5], kv[i][j][0], kPage) == 0);
            EXPECT(kv[i][j][6][0] == 0);
        }
    }
    EXPECT(weft_region_drop(store, pool) >= 0);
    EXPECT(weft_namespace_close(store, space.space) >= 0);
}

int main(void) {
    weft_error error = {.struct_size = sizeof error};
    weft_store* store = NULL;
    if (weft_open("memory=64MiB", &store, &error) < 0)
        fprintf(stderr, "programs: %s\n", error.message);
    EXPECT(store != NULL);
    uint32_t all = 0;
    EXPECT(weft_region_adopt(store, 0, 0, -1, &all, NULL) >= 0);
    weft_queue* queue = open_queue(store);
    try_prompt(store, queue, all);
    try_pages(store, queue, all);
    try_names(store, queue, all);
    try_follow(store, queue);
    EXPECT(weft_queue_close(queue) == 0);
    EXPECT(weft_region_drop(store, all) >= 0);
    EXPECT(weft_close(store) >= 0);
    puts(
        "programs: scheduler, worker, plug-in, gateway, runtime and notebook: all as they should "
        "be");
    return 0;
}
