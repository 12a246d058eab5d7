/*
 * dlopen: a whole program in C11 that links nothing of Weft. It loads libweft.so.1 at run time, as
 * a plug-in does, takes from it only the functions that it uses, and saves, finds and reads a
 * block. dlopen [libweft.so.1]
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <weft.h>

/* The functions by the names and types of the header, which is all that is needed of Weft to build.
 */
static struct {
    uint32_t (*abi)(void);
    const char* (*version)(void);
    const char* (*code_name)(int32_t);
    int32_t (*open)(const char*, weft_store**, weft_error*);
    int32_t (*close)(weft_store*);
    int32_t (*namespace_open)(weft_store*, const char*, const char*, weft_namespace*, weft_error*);
    int32_t (*namespace_close)(weft_store*, uint32_t);
    int32_t (*region_adopt)(weft_store*, uint64_t, uint64_t, int32_t, uint32_t*, weft_error*);
    int32_t (*region_drop)(weft_store*, uint32_t);
    int32_t (*queue_open)(weft_store*, const char*, weft_queue**, weft_error*);
    int32_t (*queue_close)(weft_queue*);
    int32_t (*submit)(weft_queue*, const weft_op*, uint32_t);
    int32_t (*reap)(weft_queue*, weft_event*, uint32_t, int32_t);
    int32_t (*view)(weft_store*, uint32_t, uint32_t, weft_item*, uint32_t, uint64_t*);
    int32_t (*release)(weft_store*, const uint64_t*, uint32_t);
    int32_t (*key_of)(const uint8_t*, uint64_t, weft_item*);
} weft;

static int load(const char* path) {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "dlopen: %s\n", dlerror());
        return 0;
    }
    const struct {
        const char* name;
        void* slot;
    } wanted[] = {
        {"weft_abi", &weft.abi},
        {"weft_version", &weft.version},
        {"weft_code_name", &weft.code_name},
        {"weft_open", &weft.open},
        {"weft_close", &weft.close},
        {"weft_namespace_open", &weft.namespace_open},
        {"weft_namespace_close", &weft.namespace_close},
        {"weft_region_adopt", &weft.region_adopt},
        {"weft_region_drop", &weft.region_drop},
        {"weft_queue_open", &weft.queue_open},
        {"weft_queue_close", &weft.queue_close},
        {"weft_submit", &weft.submit},
        {"weft_reap", &weft.reap},
        {"weft_view", &weft.view},
        {"weft_release", &weft.release},
        {"weft_key_of", &weft.key_of},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void* found = dlsym(library, wanted[i].name);
        if (found == NULL) {
            fprintf(stderr, "dlopen: %s: %s is not there\n", path, wanted[i].name);
            return 0;
        }
        memcpy(wanted[i].slot, &found,
               sizeof found); /* POSIX's way from an address to a function */
    }
    return 1;
}

/* Says what failed, and with which code; returns whether it did not. */
static int good(int32_t returned, const char* what, const weft_error* error) {
    if (returned >= 0) return 1;
    fprintf(stderr, "dlopen: %s: %s: %s\n", what, weft.code_name(-returned),
            error != NULL ? error->message : "");
    return 0;
}

/* Saves 4,096 bytes under the key of a name, then reads them in place. */
static int save_and_view(weft_store* store, weft_queue* queue, uint32_t space, uint32_t all) {
    static const char name[] = "a name";
    static uint8_t bytes[4096];
    memset(bytes, 7, sizeof bytes);
    weft_item item = {0};
    if (!good(weft.key_of((const uint8_t*)name, strlen(name), &item), "weft_key_of", NULL))
        return 0;

    weft_op op = {0};
    op.kind = WEFT_OP_SAVE;
    op.space = space;
    op.key_hi = item.key_hi;
    op.key_lo = item.key_lo;
    op.region = all;
    op.offset = (uint64_t)(uintptr_t)bytes;
    op.size = sizeof bytes;
    weft_event event = {0};
    if (!good(weft.submit(queue, &op, 1), "weft_submit", NULL)) return 0;
    if (!good(weft.reap(queue, &event, 1, -1), "weft_reap", NULL)) return 0;
    if (!good(event.status, "SAVE", NULL)) return 0;

    uint64_t view = 0;
    if (!good(weft.view(store, space, 0, &item, 1, &view), "weft_view", NULL)) return 0;
    const uint8_t* block = (const uint8_t*)(uintptr_t)item.offset;
    const int same =
        view != 0 && item.size == sizeof bytes && memcmp(block, bytes, sizeof bytes) == 0;
    if (view != 0) weft.release(store, &view, 1);
    if (!same) fprintf(stderr, "dlopen: other bytes than were saved\n");
    return same;
}

static int use(weft_store* store, weft_error* error) {
    weft_namespace space = {.struct_size = sizeof space};
    weft_queue* queue = NULL;
    uint32_t all = 0;
    if (!good(weft.namespace_open(store, "demo/dlopen", "parts=1,part_bytes=4096", &space, error),
              "weft_namespace_open", error) ||
        !good(weft.region_adopt(store, 0, 0, -1, &all, error), "weft_region_adopt", error) ||
        !good(weft.queue_open(store, NULL, &queue, error), "weft_queue_open", error))
        return 0;
    const int done = save_and_view(store, queue, space.space, all);
    return good(weft.queue_close(queue), "weft_queue_close", NULL) &&
           good(weft.region_drop(store, all), "weft_region_drop", NULL) &&
           good(weft.namespace_close(store, space.space), "weft_namespace_close", NULL) && done;
}

int main(int argc, char** argv) {
    if (!load(argc > 1 ? argv[1] : "libweft.so.1")) return 1;
    if (weft.abi() < WEFT_ABI) {
        fprintf(stderr, "dlopen: ABI %u is older than this program's %d\n", weft.abi(), WEFT_ABI);
        return 1;
    }
    weft_error error = {.struct_size = sizeof error};
    weft_store* store = NULL;
    if (!good(weft.open("memory=16MiB", &store, &error), "weft_open", &error)) return 1;
    const int done = use(store, &error);
    if (!good(weft.close(store), "weft_close", NULL) || !done) return 1;
    printf("dlopen: weft %s, ABI %u, loaded at run time: a block saved and read in place\n",
           weft.version(), weft.abi());
    return 0;
}
