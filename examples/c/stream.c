/*
 * stream: a reader follows a writer layer by layer, so that decode can start on the first layers
 * while prefill still writes the last. Here they go in step, which proves that nothing waits for
 * the end: each layer is written only after the reader has read the one before.
 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

enum { kLayers = 8, kLayerBytes = 131072 };
static const char* const kLayout = "parts=1,layers=8,part_bytes=1048576";
static const char* const kName = "a prompt's block";

/** Follows: opens a view of what is still being written, then waits for each layer to be final. */
static void decode(const char* address) {
    char options[300];
    snprintf(options, sizeof options, "connect=%s", address);
    example at = open_example(options, "demo/stream", kLayout);
    weft_op open = op_of(&at, WEFT_OP_VIEW, key_of(kName));
    open.flags = WEFT_FOLLOW;
    weft_event view = run(&at, open);
    expect(view.status == 0, "a view of a block being written");
    for (uint32_t layer = 0; layer < kLayers; layer++) {
        weft_op wait = op_of(&at, WEFT_OP_WAIT, key_of(kName));
        wait.flags = WEFT_FOLLOW;
        wait.start = layer * kLayerBytes;
        wait.size = kLayerBytes;
        weft_event event = run(&at, wait);
        expect(event.status == 0, "the layer comes");
        expect(all_are((const char*)(uintptr_t)view.value + wait.start, kLayerBytes,
                       (unsigned char)(layer + 1)),
               "the layer's bytes");
        printf("layer %u read, %llu bytes are final\n", layer, (unsigned long long)event.value);
        fflush(stdout);
    }
    /* What was read counts only if the block was published: had the writer given up, this would say
     * so. */
    expect(run(&at, op_of(&at, WEFT_OP_WAIT, key_of(kName))).status == 0, "it is published");
    weft_release(at.store, &view.handle, 1);
    close_example(&at);
}

static void prefill(void) {
    char options[300];
    const char* address = new_address();
    snprintf(options, sizeof options, "memory=64MiB,listen=%s", address);
    example node = open_example(options, "demo/stream", kLayout);
    weft_event block = run(&node, op_of(&node, WEFT_OP_RESERVE, key_of(kName)));
    expect(block.status == 0 && block.detail == kLayers * kLayerBytes, "memory to write in place");
    process reader = start(address, NULL);
    weft_op commit = {.kind = WEFT_OP_COMMIT, .space = node.space.space};
    commit.offset = block.handle;
    for (uint32_t layer = 0; layer < kLayers; layer++) {
        memset((char*)(uintptr_t)block.value + layer * kLayerBytes, (int)(layer + 1), kLayerBytes);
        weft_op more = commit;
        more.flags = WEFT_MORE;
        more.size = (layer + 1) * kLayerBytes;
        expect(run(&node, more).status == 0, "the layer is final");
        expect(line(&reader), "the reader reads it");
    }
    weft_event published = run(&node, commit);
    expect(published.status == 0 && published.detail == 1, "it is published");
    finish(&reader);
    puts("stream: every layer was read before the next was written");
    close_example(&node);
}

int main(int argc, char** argv) {
    if (argc > 1) {
        decode(argv[1]);
    } else {
        prefill();
    }
    return 0;
}
