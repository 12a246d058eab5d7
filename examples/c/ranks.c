/*
 * ranks: a block of two parts, each saved by a process of its own, as the ranks of a
 * tensor-parallel engine do. They name one writer, so that their parts join; nobody sees the block
 * before both are in.
 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

enum { kPartBytes = 524288 };
static const char* const kLayout = "parts=2,part_bytes=524288,writer=engine-0";
static const char* const kName = "a block of two parts";

static int part_is_right(const example* at, uint16_t part) {
    weft_op op = op_of(at, WEFT_OP_VIEW, key_of(kName));
    op.part = part;
    weft_event view = run(at, op);
    if (view.status != 0 || view.detail != kPartBytes) return 0;
    int right = all_are((const void*)(uintptr_t)view.value, kPartBytes, (unsigned char)(part + 1));
    weft_release(at->store, &view.handle, 1);
    return right;
}

static void rank(const char* address, uint16_t part) {
    char options[300];
    snprintf(options, sizeof options, "connect=%s", address);
    example at = open_example(options, "demo/ranks", kLayout);

    static unsigned char share[kPartBytes];
    memset(share, part + 1, sizeof share);
    weft_op save = op_with(&at, WEFT_OP_SAVE, key_of(kName), share, sizeof share);
    save.part = part;
    weft_event saved = run(&at, save);
    expect(saved.status == 0, "the part is saved");

    /* A rank that ended here would take its part along: the block belongs to nobody until it is
     * whole. */
    weft_event whole = run(&at, op_of(&at, WEFT_OP_WAIT, key_of(kName)));
    expect(whole.status == 0, "the other part comes");
    expect(part_is_right(&at, (uint16_t)(1 - part)), "the other rank's part");
    printf("part %u saved%s, the other's read\n", part,
           saved.detail == 1 ? ", which published the block" : "");
    close_example(&at);
}

static void engine(void) {
    char options[300];
    const char* address = new_address();
    snprintf(options, sizeof options, "memory=64MiB,listen=%s", address);
    example node = open_example(options, "demo/ranks", kLayout);
    process rank_0 = start(address, "0");
    process rank_1 = start(address, "1");
    finish(&rank_0);
    finish(&rank_1);
    expect(part_is_right(&node, 0) && part_is_right(&node, 1), "both parts");
    puts("ranks: two processes saved one block together");
    close_example(&node);
}

int main(int argc, char** argv) {
    if (argc > 2) {
        rank(argv[1], (uint16_t)atoi(argv[2]));
    } else {
        engine();
    }
    return 0;
}
