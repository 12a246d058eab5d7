/*
 * hello: a private cache in this process. The blocks of a prompt are named by its tokens, saved in
 * one op, matched, and read in place.
 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

enum { kBlockBytes = 65536, kTokens = 70, kBlockTokens = 16, kBlocks = 4 };

static void keys_of(const uint32_t* tokens, weft_item* blocks) {
    weft_error error = {.struct_size = sizeof error};
    int32_t count = weft_keys("scheme=vllm-sha256-cbor", NULL, tokens, kTokens, kBlockTokens,
                              blocks, kBlocks, &error);
    expect_done(count, &error);
    expect(count == kBlocks, "4 full blocks");
}

int main(void) {
    example at =
        open_example("memory=64MiB", "demo/hello", "block_tokens=16,parts=1,part_bytes=65536");

    /* A prompt of 70 tokens has 4 full blocks; each key stands for all tokens up to its block's
     * end. */
    uint32_t tokens[kTokens];
    for (uint32_t i = 0; i < kTokens; i++) tokens[i] = 1000 + i;
    weft_item blocks[kBlocks] = {{0}};
    keys_of(tokens, blocks);
    expect(weft_match(at.store, at.space.space, blocks, kBlocks) == 0,
           "an empty cache matches nothing");

    /* The engine computes them (here: a byte each) and saves all four. */
    static unsigned char computed[kBlocks][kBlockBytes];
    for (int i = 0; i < kBlocks; i++) {
        memset(computed[i], i + 1, kBlockBytes);
        blocks[i].offset = (uint64_t)(uintptr_t)computed[i];
        blocks[i].size = kBlockBytes;
    }
    weft_op save = {.kind = WEFT_OP_SAVE, .flags = WEFT_LIST | WEFT_CHAIN};
    save.space = at.space.space;
    save.region = save.key_lo = at.memory;
    save.key_hi = kBlocks;
    save.offset = (uint64_t)(uintptr_t)blocks;
    weft_event saved = run(&at, save);
    expect(saved.status == 0 && saved.value == kBlocks, "4 blocks are saved");

    /* The next prompt begins alike: its lead blocks are there, and are read where they lie. */
    tokens[40] = 7;
    weft_item next[kBlocks] = {{0}};
    keys_of(tokens, next);
    int32_t hit = weft_match(at.store, at.space.space, next, kBlocks);
    expect(hit == 2, "the first 2 blocks are the same");
    uint64_t views = 0;
    expect(weft_view(at.store, at.space.space, 0, next, (uint32_t)hit, &views) == 2, "2 views");
    for (int i = 0; i < hit; i++)
        expect(memcmp((const void*)(uintptr_t)next[i].offset, computed[i], kBlockBytes) == 0,
               "a view has the saved bytes");
    weft_release(at.store, &views, 1);

    /* What is not there is a miss, with its reason. */
    static unsigned char room[kBlockBytes];
    weft_event miss = run(&at, op_with(&at, WEFT_OP_LOAD, next[3], room, sizeof room));
    expect(miss.status == -WEFT_EMISS && miss.detail == WEFT_MISS_ABSENT, "a miss: absent");
    printf("hello: %d of %d blocks reused, read in place; block 3: absent\n", hit, kBlocks);
    close_example(&at);
    return 0;
}
