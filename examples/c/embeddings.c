/*
 * embeddings: objects of any size by content. An image is encoded once; whoever has the same image
 * again finds its embedding by the image's own bytes, asks how large it is, and loads it.
 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

enum { kWidth = 256 }; /* numbers per patch */

/** Stands for a vision encoder: 1 row of kWidth numbers for each 1,024 bytes of image. */
static float* encode(const char* image, size_t size, size_t* count) {
    *count = (size + 1023) / 1024 * kWidth;
    float* rows = malloc(*count * sizeof *rows);
    expect(rows != NULL, "memory");
    for (size_t i = 0; i < *count; i++)
        rows[i] = (float)(i % 1000) / 1000.0F + (float)image[i % size];
    return rows;
}

/** The embedding of an image; `encoded` counts how many were not in the cache. */
static float* embedding(const example* at, const char* image, size_t size, size_t* count,
                        int* encoded) {
    weft_item item = {0};
    weft_key_of((const uint8_t*)image, size, &item);
    weft_op match = {.kind = WEFT_OP_MATCH, .flags = WEFT_LIST | WEFT_EACH};
    match.space = at->space.space;
    match.key_hi = 1;
    match.key_lo = at->memory;
    match.offset = (uint64_t)(uintptr_t)&item;
    weft_event found = run(at, match);
    expect(found.status == 0, "match");
    if (found.value == 1) {
        float* rows = malloc(item.size);
        expect(rows != NULL, "memory");
        weft_event loaded = run(at, op_with(at, WEFT_OP_LOAD, item, rows, item.size));
        *count = item.size / sizeof *rows;
        if (loaded.status == 0) return rows;
        expect(loaded.status == -WEFT_EMISS, "load"); /* evicted meanwhile */
        free(rows);
    }
    (*encoded)++;
    float* rows = encode(image, size, count);
    weft_event saved = run(at, op_with(at, WEFT_OP_SAVE, item, rows, *count * sizeof *rows));
    expect(saved.status == 0 || saved.status == -WEFT_EEXISTS, "save");
    return rows;
}

int main(void) {
    example at = open_example("memory=64MiB", "demo/vision", "parts=1,part_bytes=0");
    static char images[3][300000];
    const size_t sizes[3] = {300000, 5000, 300000};
    for (int i = 0; i < 3; i++) memset(images[i], i == 1 ? 'b' : 'a', sizes[i]);
    int encoded = 0;
    for (int i = 0; i < 3; i++) {
        size_t count = 0;
        size_t right_count = 0;
        float* rows = embedding(&at, images[i], sizes[i], &count, &encoded);
        float* right = encode(images[i], sizes[i], &right_count);
        expect(count == right_count && memcmp(rows, right, count * sizeof *rows) == 0,
               "the embedding is the image's own");
        printf("image of %zu bytes: %zu x %d numbers\n", sizes[i], count / kWidth, kWidth);
        free(rows);
        free(right);
    }
    expect(encoded == 2, "the third image is the first one again");
    puts("embeddings: 3 images, 2 encoded");
    close_example(&at);
    return 0;
}
