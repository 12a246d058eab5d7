/*
 * share: two processes of a host, one cache. The first is the node: it owns the memory and listens.
 * The second connects, reads a block of the first in place, and saves one that the first then
 * reads.
 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

enum { kBlockBytes = 1 << 20 };
static const char* const kLayout = "parts=1,part_bytes=1048576";

static void save(const example* at, const char* name, unsigned char value) {
    unsigned char* bytes = malloc(kBlockBytes);
    expect(bytes != NULL, "memory");
    memset(bytes, value, kBlockBytes);
    weft_event event = run(at, op_with(at, WEFT_OP_SAVE, key_of(name), bytes, kBlockBytes));
    expect(event.status == 0 && event.detail == 1, "the block is published");
    free(bytes);
}

static void second(const char* address) {
    char options[300];
    snprintf(options, sizeof options, "connect=%s", address);
    example at = open_example(options, "demo/share", kLayout);
    weft_item item = key_of("from the first");
    uint64_t view = 0; /* no copy, no system call */
    expect(weft_view(at.store, at.space.space, 0, &item, 1, &view) == 1 &&
               all_are((const void*)(uintptr_t)item.offset, kBlockBytes, 1),
           "the first one's block, in place");
    weft_release(at.store, &view, 1);
    save(&at, "from the second", 2);
    puts("read the first one's block in place, saved another");
    close_example(&at);
}

static void first(void) {
    char options[300];
    const char* address = new_address();
    snprintf(options, sizeof options, "memory=64MiB,listen=%s", address);
    example node = open_example(options, "demo/share", kLayout);
    save(&node, "from the first", 1);
    process other = start(address, NULL);
    finish(&other);
    /* Its saver has ended; the block stays. */
    weft_event view = run(&node, op_of(&node, WEFT_OP_VIEW, key_of("from the second")));
    expect(view.status == 0 && all_are((const void*)(uintptr_t)view.value, kBlockBytes, 2),
           "the second one's block");
    weft_release(node.store, &view.handle, 1);
    puts("share: each process read what the other saved");
    close_example(&node);
}

int main(int argc, char** argv) {
    if (argc > 1) {
        second(argv[1]);
    } else {
        first();
    }
    return 0;
}
