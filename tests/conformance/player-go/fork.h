/*
 * Calls of Weft in a forked child, for a player whose language cannot run in one: after fork the
 * child has one thread and no Go runtime, so it makes its call in C, writes the code to a pipe and
 * ends. Returns that code, or -WEFT_EINTERNAL where the child did not end well.
 */
#ifndef WEFT_PLAYER_FORK_H
#define WEFT_PLAYER_FORK_H
#include <sys/wait.h>
#include <unistd.h>

#include "weft.h"

#define IN_CHILD(CALL)                                                            \
    int ends[2], status = -1;                                                     \
    int32_t code = -WEFT_EINTERNAL;                                               \
    if (pipe(ends) != 0) return code;                                             \
    const pid_t child = fork();                                                   \
    if (child == 0) {                                                             \
        const int32_t told = (CALL);                                              \
        _exit(write(ends[1], &told, sizeof told) == sizeof told ? 0 : 1);         \
    }                                                                             \
    close(ends[1]);                                                               \
    if (read(ends[0], &code, sizeof code) != sizeof code) code = -WEFT_EINTERNAL; \
    close(ends[0]);                                                               \
    waitpid(child, &status, 0);                                                   \
    return status == 0 ? code : -WEFT_EINTERNAL;

static int32_t fork_match(uint64_t store, uint32_t space, const weft_item* items, uint32_t count) {
    IN_CHILD(weft_match((weft_store*)(uintptr_t)store, space, items, count))
}

static int32_t fork_release(uint64_t store, uint64_t handle) {
    IN_CHILD(weft_release((weft_store*)(uintptr_t)store, &handle, 1))
}

static int32_t fork_namespace_open(uint64_t store, const char* name, const char* options) {
    weft_namespace out = {.struct_size = sizeof out};
    IN_CHILD(weft_namespace_open((weft_store*)(uintptr_t)store, name, options, &out, NULL))
}

static int32_t fork_submit(uint64_t queue, const weft_op* ops, uint32_t count) {
    IN_CHILD(weft_submit((weft_queue*)(uintptr_t)queue, ops, count))
}

#endif
