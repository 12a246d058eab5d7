/*
 * What the examples in C need beside Weft: a store with one namespace and one queue, ops that are
 * run and waited for, this program once more as a second process, and a check that ends the
 * example where something is not as it says. A store does not cross fork, so the second process is
 * started with exec, as engines' workers are; what it prints, the first one reads.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weft.h>

extern char** environ;

/** A store, a namespace of it, a queue, and all of this process's memory as ops name it. */
typedef struct {
    weft_store* store;
    weft_queue* queue;
    weft_namespace space;
    uint32_t memory;
} example;

/** A second process: this program again. */
typedef struct {
    pid_t pid;
    FILE* output;
} process;

static inline void expect(int holds, const char* what) {
    if (holds) return;
    fprintf(stderr, "not as expected: %s\n", what);
    exit(1);
}

/** Ends with the library's words where a call failed. */
static inline void expect_done(int32_t code, const weft_error* error) {
    expect(code >= 0, error->message);
}

static inline example open_example(const char* options, const char* name, const char* layout) {
    example at = {.space.struct_size = sizeof at.space};
    weft_error error = {.struct_size = sizeof error};
    expect_done(weft_open(options, &at.store, &error), &error);
    expect_done(weft_namespace_open(at.store, name, layout, &at.space, &error), &error);
    expect_done(weft_queue_open(at.store, NULL, &at.queue, &error), &error);
    expect_done(weft_region_adopt(at.store, 0, 0, -1, &at.memory, &error), &error);
    return at;
}

static inline void close_example(example* at) {
    expect(weft_region_drop(at->store, at->memory) == 0, "nothing uses the memory");
    expect(weft_queue_close(at->queue) == 0, "every event was reaped");
    expect(weft_namespace_close(at->store, at->space.space) == 0, "no view is left");
    expect(weft_close(at->store) == 0, "the store closes");
}

/** The key of a text, as an item. */
static inline weft_item key_of(const char* text) {
    weft_item item = {0};
    weft_key_of((const uint8_t*)text, strlen(text), &item);
    return item;
}

/** An op on the block of a key; kinds that have memory get `bytes` of it. */
static inline weft_op op_of(const example* at, uint16_t kind, weft_item key) {
    return (weft_op){
        .kind = kind, .space = at->space.space, .key_hi = key.key_hi, .key_lo = key.key_lo};
}

static inline weft_op op_with(const example* at, uint16_t kind, weft_item key, const void* bytes,
                              size_t size) {
    weft_op op = op_of(at, kind, key);
    op.region = at->memory;
    op.offset = (uint64_t)(uintptr_t)bytes;
    op.size = (uint32_t)size;
    return op;
}

/** Submits one op and waits for its event. */
static inline weft_event run(const example* at, weft_op op) {
    weft_event event = {0};
    expect(weft_submit(at->queue, &op, 1) == 1, "the queue has room");
    expect(weft_reap(at->queue, &event, 1, -1) == 1, "the op ends");
    return event;
}

/** Whether all of the bytes have the value. */
static inline int all_are(const void* bytes, size_t size, unsigned char value) {
    const unsigned char* at = bytes;
    for (size_t i = 0; i < size; i++)
        if (at[i] != value) return 0;
    return 1;
}

/** "unix:PATH", the path new to this process. */
static inline const char* new_address(void) {
    static char address[256];
    const char* folder = getenv("TMPDIR");
    snprintf(address, sizeof address, "unix:%s/weft-example-%d.sock",
             folder == NULL ? "/tmp" : folder, (int)getpid());
    return address;
}

static inline process start(const char* address, const char* argument) {
    process second = {0};
    int ends[2];
    expect(pipe(ends) == 0, "a pipe");
    char* const arguments[] = {"example", (char*)address, (char*)argument, NULL};
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&files, ends[0]);
    posix_spawn_file_actions_addclose(&files, ends[1]);
    int failed = posix_spawn(&second.pid, "/proc/self/exe", &files, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&files);
    close(ends[1]);
    expect(failed == 0, "a second process");
    second.output = fdopen(ends[0], "r");
    return second;
}

/** The next line it prints is printed here too; 0: there are no more. */
static inline int line(process* second) {
    char text[256];
    if (fgets(text, sizeof text, second->output) == NULL) return 0;
    printf("  %d: %s", (int)second->pid, text);
    return 1;
}

/** Prints the rest; the second process must have ended well. */
static inline void finish(process* second) {
    int status = -1;
    while (line(second)) {
    }
    fclose(second->output);
    waitpid(second->pid, &status, 0);
    expect(status == 0, "the second process ends with status 0");
}

#endif
