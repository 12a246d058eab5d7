/*
 * The player in C: makes the ABI calls that the driver asks for on its input, one line each, and
 * writes one line of what came of it. README.md beside it has the verbs; a player of another
 * language is this file in that language.
 *
 * Invariants: it decides nothing and compares nothing; an unknown verb or a missing number ends it
 * with status 2, so that a mistake in the driver cannot look like an answer of the library.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weft.h"

enum { kLine = 1 << 20, kItems = 8192, kText = 1 << 18 };

static char line[kLine];
static char request[kLine];
static weft_item items[kItems];
static char text[kText + 1];
static weft_error why;

static const char* find(const char* name) {
    size_t size = strlen(name);
    for (const char* at = strchr(request, ' '); at != NULL; at = strchr(at, ' ')) {
        at++;
        if (strncmp(at, name, size) == 0 && at[size] == '=') return at + size + 1;
    }
    return NULL;
}

static uint64_t number(const char* name) {
    const char* at = find(name);
    return at == NULL ? 0 : *at == '-' ? (uint64_t)strtoll(at, NULL, 0) : strtoull(at, NULL, 0);
}

static uint32_t number32(const char* name) { return (uint32_t)number(name); }

static void* pointer(const char* name) { return (void*)(uintptr_t)number(name); }

/* What a request's words take, until the next request. */
static void* taken[16];
static size_t taken_count;

static void drop_words(void) {
    while (taken_count > 0) free(taken[--taken_count]);
}

/* The text of NAME= from hexadecimal into memory of its own; NULL where it is not said. */
static uint8_t* bytes(const char* name, uint64_t* size) {
    const char* at = find(name);
    *size = 0;
    if (at == NULL) return NULL;
    uint8_t* out = calloc(strlen(at) / 2 + 1, 1);
    if (out == NULL || taken_count == sizeof taken / sizeof *taken) exit(3);
    taken[taken_count++] = out;
    for (unsigned value; *at > ' ' && sscanf(at, "%2x", &value) == 1; at += 2)
        out[(*size)++] = (uint8_t)value;
    return out;
}

/* The caller's own memory, which scenarios make regions of: kept until the player ends. */
static void* own_memory(size_t size) {
    static void* kept[64];
    static size_t count;
    if (count == sizeof kept / sizeof *kept) exit(3);
    return kept[count++] = calloc(1, size);
}

static char* words(const char* name) {
    uint64_t size;
    return (char*)bytes(name, &size);
}

static void print_hex(const char* name, const uint8_t* from, size_t size) {
    printf(" %s=", name);
    for (size_t i = 0; i < size; i++) printf("%02x", from[i]);
}

static void print_why(void) { print_hex("message", (uint8_t*)why.message, strlen(why.message)); }

/* hi:lo:offset:size,... into `items`; returns how many. */
static uint32_t read_items(weft_item* out) {
    const char* at = find("items");
    uint32_t count = 0;
    while (at != NULL && *at > ' ' && count < kItems) {
        char* end;
        weft_item item = {0};
        item.key_hi = strtoull(at, &end, 10);
        item.key_lo = strtoull(end + 1, &end, 10);
        item.offset = strtoull(end + 1, &end, 10);
        item.size = (uint32_t)strtoull(end + 1, &end, 10);
        out[count++] = item;
        at = *end == ',' ? end + 1 : end;
    }
    return count;
}

static void print_items(const weft_item* from, uint32_t count) {
    printf(" items=");
    for (uint32_t i = 0; i < count; i++)
        printf("%s%llu:%llu:%llu:%u:%d", i == 0 ? "" : ",", (unsigned long long)from[i].key_hi,
               (unsigned long long)from[i].key_lo, (unsigned long long)from[i].offset, from[i].size,
               from[i].status);
}

static void do_open(void) {
    weft_store* store = NULL;
    int32_t code = weft_open(words("options"), &store, &why);
    printf("code=%d store=%llu", code, (unsigned long long)(uintptr_t)store);
    print_why();
}

static void do_query(void) {
    uint32_t capacity = number32("capacity");
    int32_t code =
        weft_query(pointer("store"), number32("space"), words("text"), text, capacity, &why);
    printf("code=%d", code);
    if (code >= 0)
        print_hex("message", (uint8_t*)text, strlen(text));
    else
        print_why();
}

static void do_namespace_open(void) {
    weft_namespace out = {.struct_size = sizeof out};
    int32_t code =
        weft_namespace_open(pointer("store"), words("name"), words("options"), &out, &why);
    printf(
        "code=%d space=%u parts=%u block_tokens=%u layers=%u alignment=%u part_bytes=%llu "
        "version=%llu floor=%llu",
        code, out.space, out.parts, out.block_tokens, out.layers, out.alignment,
        (unsigned long long)out.part_bytes, (unsigned long long)out.version,
        (unsigned long long)out.floor);
    print_why();
}

static void do_region_map(void) {
    uint32_t region = 0;
    uint64_t address = 0;
    int32_t code = weft_region_map(pointer("store"), number("size"), words("options"), &region,
                                   &address, &why);
    printf("code=%d region=%u address=%llu", code, region, (unsigned long long)address);
    print_why();
}

static void do_region_adopt(void) {
    uint32_t region = 0;
    int32_t code = weft_region_adopt(pointer("store"), number("address"), number("size"),
                                     (int32_t)number("device"), &region, &why);
    printf("code=%d region=%u", code, region);
    print_why();
}

static void do_pool_open(void) {
    static uint64_t bases[kItems];
    uint32_t region = 0, count = 0;
    for (const char* at = find("bases"); at != NULL && *at > ' ' && count < kItems;) {
        char* end;
        bases[count++] = strtoull(at, &end, 10);
        at = *end == ',' ? end + 1 : end;
    }
    int32_t code = weft_pool_open(pointer("store"), words("layout"), bases, count,
                                  (int32_t)number("device"), &region, &why);
    printf("code=%d region=%u", code, region);
    print_why();
}

static void do_queue_open(void) {
    weft_queue* queue = NULL;
    int32_t code = weft_queue_open(pointer("store"), words("options"), &queue, &why);
    printf("code=%d queue=%llu", code, (unsigned long long)(uintptr_t)queue);
    print_why();
}

static void do_queue_fd(void) {
    int32_t fd = weft_queue_fd(pointer("queue"));
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    printf("code=%d readable=%d", fd < 0 ? fd : 0,
           fd < 0 ? 0 : poll(&polled, 1, (int)number("timeout_ms")));
}

static void do_submit(void) {
    uint32_t count = number32("count");
    weft_op* ops = calloc(count, sizeof *ops);
    for (uint32_t i = 0; i < count; i++) {
        ops[i] = (weft_op){.tag = number("tag") + i,
                           .key_hi = number("key_hi"),
                           .key_lo = number("key_lo"),
                           .offset = number("offset"),
                           .size = number32("size"),
                           .start = number32("start"),
                           .space = number32("space"),
                           .region = number32("region"),
                           .timeout_ms = number32("timeout_ms"),
                           .ttl_s = number32("ttl_s"),
                           .flags = number32("flags"),
                           .kind = (uint16_t)number("kind"),
                           .part = (uint16_t)number("part")};
    }
    printf("code=%d", weft_submit(pointer("queue"), ops, count));
    free(ops);
}

static void do_reap(void) {
    static weft_event events[256];
    int32_t code =
        weft_reap(pointer("queue"), events, number32("capacity"), (int32_t)number("timeout_ms"));
    printf("code=%d events=", code);
    for (int32_t i = 0; i < code; i++)
        printf("%s%llu:%llu:%llu:%d:%u", i == 0 ? "" : ",", (unsigned long long)events[i].tag,
               (unsigned long long)events[i].value, (unsigned long long)events[i].handle,
               events[i].status, events[i].detail);
}

static void do_match(void) {
    uint32_t count = read_items(items);
    printf("code=%d", weft_match(pointer("store"), number32("space"), items, count));
}

static void do_view(void) {
    uint64_t handle = 0;
    uint32_t count = read_items(items);
    printf("code=%d",
           weft_view(pointer("store"), number32("space"), number32("part"), items, count, &handle));
    printf(" handle=%llu", (unsigned long long)handle);
    print_items(items, count);
}

static void do_release(void) {
    static uint64_t handles[kItems];
    uint32_t count = 0;
    for (const char* at = find("handles"); at != NULL && *at > ' ' && count < kItems;) {
        char* end;
        handles[count++] = strtoull(at, &end, 10);
        at = *end == ',' ? end + 1 : end;
    }
    printf("code=%d", weft_release(pointer("store"), handles, count));
}

static void do_keys(void) {
    static uint32_t tokens[kItems];
    uint32_t count = 0, capacity = number32("capacity");
    for (const char* at = find("tokens"); at != NULL && *at > ' ' && count < kItems;) {
        char* end;
        tokens[count++] = (uint32_t)strtoul(at, &end, 10);
        at = *end == ',' ? end + 1 : end;
    }
    uint64_t size;
    uint8_t* chain = bytes("chain", &size);
    memset(items, 0, sizeof items);
    int32_t code = weft_keys(words("options"), chain, tokens, count, number32("block_tokens"),
                             items, capacity, &why);
    printf("code=%d keys=", code);
    for (int32_t i = 0; i < code; i++)
        printf("%s%llu:%llu", i == 0 ? "" : ",", (unsigned long long)items[i].key_hi,
               (unsigned long long)items[i].key_lo);
    if (chain != NULL) print_hex("chain", chain, 32);
    print_why();
}

static void do_key_of(void) {
    uint64_t size;
    uint8_t* from = bytes("bytes", &size);
    weft_item item = {0};
    int32_t code = weft_key_of(from, size, &item);
    printf("code=%d key=%llu:%llu", code, (unsigned long long)item.key_hi,
           (unsigned long long)item.key_lo);
}

static void do_about(void) {
    const char *version = weft_version(), *name = weft_code_name((int32_t)number("number"));
    printf("abi=%u", weft_abi());
    print_hex("version", (const uint8_t*)version, strlen(version));
    print_hex("name", (const uint8_t*)name, strlen(name));
}

/* The content of scenarios: see content() in world.py. */
static void do_fill(void) {
    uint8_t* to = pointer("address");
    uint64_t start = number("start"), size = number("size");
    uint64_t more = number("key") * 131 + number("part") * 61 + number("generation") * 29;
    for (uint64_t i = start; i < start + size; i++) *to++ = (uint8_t)(i * 7 + (i >> 8) * 31 + more);
    printf("code=0");
}

static void do_crc(void) {
    const uint8_t* from = pointer("address");
    uint32_t crc = ~0u;
    for (uint64_t left = number("size"); left > 0; left--) {
        crc ^= *from++;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1)));
    }
    printf("crc=%u", ~crc);
}

static void answer(const char* verb);

/* The rest of the line in a forked child, whose answer is passed on. */
static void do_fork(void) {
    fflush(stdout);
    int ends[2];
    if (pipe(ends) != 0) exit(2);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 1);
        memmove(request, strchr(request, ' ') + 1, strlen(strchr(request, ' ')));
        char verb[32];
        sscanf(request, "%31s", verb);
        answer(verb);
        fflush(stdout);
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t got; (got = read(ends[0], text, kText)) > 0;) fwrite(text, 1, (size_t)got, stdout);
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    if (status != 0) printf("code=-16 child=%d", status);
}

static void answer(const char* verb) {
    memset(&why, 0, sizeof why);
    why.struct_size = sizeof why;
    if (strcmp(verb, "open") == 0)
        do_open();
    else if (strcmp(verb, "close") == 0)
        printf("code=%d", weft_close(pointer("store")));
    else if (strcmp(verb, "query") == 0)
        do_query();
    else if (strcmp(verb, "namespace_open") == 0)
        do_namespace_open();
    else if (strcmp(verb, "namespace_close") == 0)
        printf("code=%d", weft_namespace_close(pointer("store"), number32("space")));
    else if (strcmp(verb, "region_map") == 0)
        do_region_map();
    else if (strcmp(verb, "region_adopt") == 0)
        do_region_adopt();
    else if (strcmp(verb, "pool_open") == 0)
        do_pool_open();
    else if (strcmp(verb, "region_drop") == 0)
        printf("code=%d", weft_region_drop(pointer("store"), number32("region")));
    else if (strcmp(verb, "queue_open") == 0)
        do_queue_open();
    else if (strcmp(verb, "queue_close") == 0)
        printf("code=%d", weft_queue_close(pointer("queue")));
    else if (strcmp(verb, "queue_fd") == 0)
        do_queue_fd();
    else if (strcmp(verb, "submit") == 0)
        do_submit();
    else if (strcmp(verb, "reap") == 0)
        do_reap();
    else if (strcmp(verb, "match") == 0)
        do_match();
    else if (strcmp(verb, "view") == 0)
        do_view();
    else if (strcmp(verb, "release") == 0)
        do_release();
    else if (strcmp(verb, "keys") == 0)
        do_keys();
    else if (strcmp(verb, "key_of") == 0)
        do_key_of();
    else if (strcmp(verb, "about") == 0)
        do_about();
    else if (strcmp(verb, "memory") == 0)
        printf("address=%llu", (unsigned long long)(uintptr_t)own_memory(number("size")));
    else if (strcmp(verb, "paint") == 0)
        memset(pointer("address"), (int)number("byte"), number("size")), printf("code=0");
    else if (strcmp(verb, "fill") == 0)
        do_fill();
    else if (strcmp(verb, "crc") == 0)
        do_crc();
    else if (strcmp(verb, "items") == 0)
        printf("count=%u", read_items(pointer("address")));
    else if (strcmp(verb, "items_back") == 0)
        printf("code=0"), print_items(pointer("address"), number32("count"));
    else if (strcmp(verb, "fork") == 0)
        do_fork();
    else
        exit(2);
}

int main(void) {
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = 0;
        memcpy(request, line, strlen(line) + 1);
        char verb[32];
        if (sscanf(request, "%31s", verb) != 1) return 2;
        answer(verb);
        drop_words();
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
