/**
 * weft.h - the C ABI of Weft, a distributed KV cache for LLM inference.
 *
 * Rules that hold for every call
 *   Returns  int32_t: >= 0 is success or a count, < 0 is a negated WEFT_E code. No thread-local error state.
 *   Errors   calls with a story to tell take a caller-owned weft_error last; NULL will do. An op's story: weft_query "error".
 *   Handles  and ids belong to the process that got them, survive a reconnect, are never 0, and are looked up, not trusted:
 *            NULL, garbage and closed ones give WEFT_EINVAL or WEFT_ECLOSED. Closing a parent of open children: WEFT_EBUSY.
 *   Memory   what a call is passed may be reused when it returns. Memory that an op names (data, items) is the op's until its
 *            event has been reaped, and is never touched by Weft after that.
 *   Threads  any thread may call anything; one thread at a time reaps one queue. Nothing calls back. weft_submit, _match,
 *            _view, _release, _keys and _key_of never wait; every other call, and every op, ends within its timeout.
 *   Options  UTF-8 text, key=value, separated by commas or newlines; a value with a comma, newline or quote in it is written
 *            as a JSON string. An unknown key is an error that names it, unless written ?key. NULL is no options.
 *   Zero     fields and flags that a kind does not name must be 0, so that they can mean something later.
 *   Growth   op, item and event are frozen. Other structs carry struct_size: the caller sets it, at most that much is written,
 *            and it returns as what was written. Functions, kinds, flags and option keys are only ever added.
 *   Openings embedded, node and client behave alike. Where no memory is shared (tcp), weft_match, weft_view and RESERVE say
 *            WEFT_ENOTSUP, and a VIEW is of a private copy.
 *   Fork     a store does not cross fork: in the child every call returns WEFT_EFORKED.
 */
#ifndef WEFT_H
#define WEFT_H
#include <stdint.h>
#ifndef WEFT_API
#define WEFT_API __attribute__((visibility("default")))
#endif
#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_ABI 1
/* Codes. Functions return them negated; events and items carry them negated in status. */
#define WEFT_EINVAL 1    /* an argument, option or field is wrong; an op's detail: its place in weft_op (64 +: in weft_item) */
#define WEFT_EMISS 2     /* the block is not to be had, a normal answer; detail says why, WEFT_MISS_* */
#define WEFT_EEXISTS 3   /* the block, or these bytes of it, are there: nothing was written. A list counts it as done */
#define WEFT_EFENCED 4   /* the namespace has advanced past this version: open it anew */
#define WEFT_EAGAIN 5    /* the queue is full: reap, then submit the rest */
#define WEFT_ETIMEOUT 6
#define WEFT_EPEER 7     /* the node or the card cannot be reached, no answer; the store reconnects by itself, in a second */
#define WEFT_EDENIED 8   /* the token does not allow this */
#define WEFT_EQUOTA 9    /* a quota or a named limit is reached */
#define WEFT_ENOMEM 10
#define WEFT_EBUSY 11    /* children are open, or ops in flight name it */
#define WEFT_ECLOSED 12
#define WEFT_EFORKED 13
#define WEFT_ECORRUPT 14 /* a checksum did not match: the copy was dropped */
#define WEFT_ERANGE 15   /* beyond the end of the part or the memory; handle: the bytes it would take */
#define WEFT_EINTERNAL 16
#define WEFT_ECANCELED 17
#define WEFT_EHELD 18    /* the block, or this part of it, is being written, perhaps by the same writer */
#define WEFT_ENOTSUP 19  /* known, but not in this build, on this machine or in this kind of store */
#define WEFT_MISS_ABSENT 1
#define WEFT_MISS_EVICTED 2
#define WEFT_MISS_EXPIRED 3
#define WEFT_MISS_FENCED 4 /* only older versions of it are known (a version of one's own below the floor: WEFT_EFENCED) */
#define WEFT_MISS_PARTIAL 5 /* it is being written, its writer gave up, or parts of it never came */
#define WEFT_MISS_UNREACHABLE 6 /* where it lies; where that is one's own node, ops say WEFT_EPEER, weft_match and _view miss */
#define WEFT_MISS_FAR 7 /* weft_view: not in this host's memory; MATCH tells why, the VIEW op brings it */
#define WEFT_IN_DRAM 2

/*
 * Op kinds, each with what its event carries: -> value, handle, detail; what is not named is 0. An op acts on the block of its
 * key, or with WEFT_LIST on each item's: value is then, for all kinds, how many lead items are done, and status and detail are
 * the first failed item's. Ops are not ordered, within one submit neither: wait for the event. LOAD and VIEW that reach byte 0
 * of part 0 count as one use of the block for eviction, TOUCH always does, MATCH and WAIT never.
 */
/* Part to region: `size` bytes from `start`, at most to the part's end. -> bytes moved, bytes of the whole part, WEFT_IN_*. */
#define WEFT_OP_LOAD 1
/* Region to part. A part is in when all its bytes are, by any number of ops in any order; the block is published when all its
 * parts are in. The part's size is the namespace's part_bytes; where that is 0, RESERVE's, else this op's.
 * -> bytes moved, 0, 1 if this op published the block. */
#define WEFT_OP_SAVE 2
/* Counts the lead blocks that are whole and in reach, over all tiers and nodes; status is 0 also when none is.
 * -> blocks, the pin, why the next one does not count (WEFT_MISS_*). */
#define WEFT_OP_MATCH 3
/* Holds the part for reading in place, brought here first if need be; it stays as it is until weft_release, whatever becomes
 * of the block. `region`: 0, host memory. -> address, the view, bytes.
 * A list has one view for all, and each item gets its address in offset. */
#define WEFT_OP_VIEW 4
/* Opens the part, `size` bytes or part_bytes, for writing in place. -> address, the reservation, bytes; lists as for VIEW. */
#define WEFT_OP_RESERVE 5
/* Publishes the parts of reservation `offset`, as SAVE does. With WEFT_MORE only makes each one's bytes before `size` final,
 * for those who follow. -> parts, 0, 1 if this op published the last of its blocks. */
#define WEFT_OP_COMMIT 6
/* Drops reservation `offset`; where that is 0, or in a list, what this writer has saved of the block and is not published.
 * COMMIT and ABORT, failed ones too, are the caller's word that it no longer writes there: until then no slot is reused. */
#define WEFT_OP_ABORT 7
#define WEFT_OP_REMOVE 8
/* Until the block is published or its writer gives up (WEFT_MISS_PARTIAL); with WEFT_FOLLOW until the part's bytes before
 * start + size are final. A block that nobody writes or claims is a miss at once.
 * -> bytes final from the part's begin, the claim. */
#define WEFT_OP_WAIT 10
/* A request used the block; a chain is one request. Takes the reuse hint; ttl_s, if given, sets the expiry anew. */
#define WEFT_OP_TOUCH 11
#define WEFT_OP_ADVANCE 12 /* Fences the namespace below version `offset`. -> the floor that holds now. */
/* Ends this queue's ops whose tag is `offset`, each by its own event: WEFT_ECANCELED, or as it was about to. -> ops found. */
#define WEFT_OP_CANCEL 14

#define WEFT_LIST 0x1         /* on key_hi items (at most 1,048,576), which lie at byte `offset` of host region key_lo */
#define WEFT_CHAIN 0x2        /* LIST: items are in prompt order, each the child of the one before; a failure ends the rest */
#define WEFT_PARENT 0x4       /* CHAIN: item 0 is only the parent of item 1; it counts as done and is left alone */
#define WEFT_EACH 0x8         /* LIST: write every item's out fields; else items are only read, and ops may share them */
#define WEFT_PIN 0x20         /* MATCH: keep what was counted loadable by every rank, until weft_release or ttl_s (<= pin_s) */
#define WEFT_WAIT_WRITER 0x40 /* SAVE, RESERVE, LOAD, VIEW: wait for whoever writes it instead of WEFT_EHELD or a miss */
/* LOAD, VIEW, WAIT: do with a block not yet published, as soon as the bytes asked for are final (VIEW: it is opened). If its
 * writer gives up, ops end with WEFT_MISS_PARTIAL: drop what was read. Several followers of a process that may follow one block
 * at a time each have a number of their own choice in ttl_s: bytes of two writers never reach one follower.
 * MATCH: count blocks being written too. */
#define WEFT_FOLLOW 0x80
/* WAIT, on a block or a CHAIN: the first block that is not there and that nobody writes or claims, and the items after it,
 * become this process's claim: WEFT_EMISS and the claim. Compute them, the others wait. It ends block by block as they are
 * published; wholly by weft_release, death or ttl_s (0: write_s; an hour at most); then one waiter gets it. Claiming again
 * with the claim in `offset` (a list: item 0's) renews it; without, one waits like everybody: a process computes once. */
#define WEFT_CLAIM 0x100
#define WEFT_MORE 0x200         /* COMMIT: not the last */
#define WEFT_REPLACE 0x400      /* SAVE, RESERVE: a new generation of the block; until it is published readers have the old */
#define WEFT_VERIFY 0x800       /* LOAD, VIEW of whole parts: check the checksum */
#define WEFT_REUSE_SOON 0x1000  /* hint, on LOAD, SAVE, COMMIT, TOUCH: the chain returns at once (a tool call) */
#define WEFT_REUSE_NONE 0x2000  /* it does not return (closed) */
#define WEFT_REUSE_MAYBE 0x3000 /* it may (a turn ended) */

typedef struct weft_store weft_store;
typedef struct weft_queue weft_queue;

/** Why a call failed: the code it returned, positive, and words in UTF-8, always terminated. */
typedef struct weft_error {
    uint32_t struct_size;
    int32_t code;
    char message[248];
} weft_error;

/** One operation, without pointers, so that any language builds it in its own memory. tag returns in the event. */
typedef struct weft_op {
    uint64_t tag;
    /** The key (of a digest: the big-endian integers of its last 16 bytes), or a list's number of items and host region. */
    uint64_t key_hi;
    uint64_t key_lo;
    /** Where in `region`: a byte, or in a pool the page's first token: page x tokens of a page. */
    uint64_t offset;
    /** How much of the part: bytes, or layers of a pool; 0: all from `start`, the first byte or layer. */
    uint32_t size;
    uint32_t start;
    uint32_t space;
    uint32_t region;
    /** 0: the store's. ttl_s: SAVE, COMMIT, TOUCH: until the block expires; PIN, CLAIM: how long; 0: the namespace's. FOLLOW:
     * the follower's number. */
    uint32_t timeout_ms;
    uint32_t ttl_s;
    uint32_t flags;
    uint16_t kind;
    /** A rank's share of the block, from 0, less than 4 GiB. */
    uint16_t part;
} weft_op;

/** One block of a list. Out fields are written with WEFT_EACH, and always by VIEW, RESERVE and weft_view. */
typedef struct weft_item {
    uint64_t key_hi;
    uint64_t key_lo;
    /** As weft_op's for one block; out, of VIEW, RESERVE and weft_view: the address. */
    uint64_t offset;
    /** Bytes, 0: the op's (so for pools); out: bytes of the whole part, or with WEFT_EMISS the reason. */
    uint32_t size;
    /** Out: WEFT_IN_*, 0, or a negated code. */
    int32_t status;
} weft_item;

/** How an operation ended, once for each that was taken. Of failures but EMISS and ERANGE, handle is the id of the story; but
 *  a VIEW or RESERVE list that opened any item has that handle, which covers just the items whose status is >= 0. */
typedef struct weft_event {
    uint64_t tag;
    uint64_t value;
    uint64_t handle;
    int32_t status;
    uint32_t detail;
} weft_event;

/** What weft_namespace_open opened: the id that ops name, and the layout as stored. */
typedef struct weft_namespace {
    uint32_t struct_size;
    uint32_t space;
    uint32_t parts;
    uint32_t block_tokens;
    uint32_t layers;
    /** Of the addresses that views and reservations give. */
    uint32_t alignment;
    /** The largest part's; 0: parts have any size. Where layers are said, a part is its layers in order, each of one size. */
    uint64_t part_bytes;
    uint64_t version;
    uint64_t floor;
} weft_namespace;

WEFT_API uint32_t weft_abi(void); /* at least the WEFT_ABI that a program was built with, or it must not go on */
WEFT_API const char *weft_version(void);
WEFT_API const char *weft_code_name(int32_t code);

/** Opens a node, or a connection to one: memory=,prefault=,listen=,state=,tokens=,connect=,token=,
 *  token_file= (its first line, read at each login),cluster=,pins=,timeout_ms=,log_fd=,log_level=,
 *  metrics= (HOST:PORT or unix:PATH, to be scraped) */
WEFT_API int32_t weft_open(const char *options, weft_store **out, weft_error *error);
WEFT_API int32_t weft_close(weft_store *store);
/** Asks in words, answers in JSON: "about" (this store, not its node: versions, kinds, options, devices, limits), "stats",
 *  "processes" (who holds what), "namespaces", "error id=N", of a space "layout", "blocks after=KEY,limit=N", "explain
 *  key=KEY" (why a key misses); does "drop", "flush version=N", "reload"; space 0: of all. Returns the answer's whole length:
 *  what exceeds capacity is cut, and it is always terminated. */
WEFT_API int32_t weft_query(weft_store *store, uint32_t space, const char *query, char *json_out, uint32_t capacity,
                            weft_error *error);
/** Opens `tenant/model` at version= (else the floor), creating it where there is none and the token allows (create=no: then
 *  WEFT_EMISS); ops see and make blocks of that version alone. What is given must agree with what is stored:
 *  parts=2,part_bytes=2097152 (or one a part, 2097152/1048576; with parts=1 also 0: any size, ranges by RESERVE),
 *  block_tokens=16,layers=32,dtype=,layout=. Kept with it: quota=,policy=,ttl_s=,pin_s=,write_s= (how long a block may be
 *  unfinished). writer=NAME: openings of one name (an engine's ranks; else this store alone) write a block's parts together, of
 *  different names never. */
WEFT_API int32_t weft_namespace_open(weft_store *store, const char *name, const char *options, weft_namespace *out,
                                     weft_error *error);
WEFT_API int32_t weft_namespace_close(weft_store *store, uint32_t space);

/** Memory made for transfers: no options yet. */
WEFT_API int32_t weft_region_map(weft_store *store, uint64_t size, const char *options, uint32_t *region_out,
                                 uint64_t *address_out, weft_error *error);
/** device: -1, the host. 0, 0, -1 is all of this process: offsets are addresses, and ops must give a size. */
WEFT_API int32_t weft_region_adopt(weft_store *store, uint64_t address, uint64_t size, int32_t device,
                                   uint32_t *region_out, weft_error *error);
/** An engine's paged KV memory as a region: ops name a block by its page, in layers. layout: pages=,bytes= (of a head and
 *  token in one tensor),tensors=1|2 (a layer: keys and values apart),heads=,tokens= (of a page), page_stride=, head_stride=,
 *  token_stride= (bytes; else pages, heads, tokens lie in a row); bytes and page_stride may be one a layer, 4096/8192. bases:
 *  an address for each layer and tensor. A stored part has its layers in order, each head by head: its keys, its values,
 *  token by token. With heads and tokens 1 a page is bytes that nobody looks into. device: -1, the host. */
WEFT_API int32_t weft_pool_open(weft_store *store, const char *layout, const uint64_t *bases, uint32_t count,
                                int32_t device, uint32_t *region_out, weft_error *error);
WEFT_API int32_t weft_region_drop(weft_store *store, uint32_t region);

/** depth= ops taken and not yet reaped,priority=low|normal|high,inline_bytes= that a submit may copy itself (0: none). */
WEFT_API int32_t weft_queue_open(weft_store *store, const char *options, weft_queue **out, weft_error *error);
/** Takes no more ops and ends those in flight. Returns how many events are left: reap them, call again; at 0 it is gone. */
WEFT_API int32_t weft_queue_close(weft_queue *queue);
/** An eventfd, made by the first call: readable while there are events. Poll it; only weft_reap clears it. */
WEFT_API int32_t weft_queue_fd(weft_queue *queue);
/** Takes ops in order while fewer than depth (CANCEL, COMMIT, ABORT, which end others: depth + 64) are unreaped; returns how
 *  many, or WEFT_EAGAIN. A malformed op is taken and fails alone. */
WEFT_API int32_t weft_submit(weft_queue *queue, const weft_op *ops, uint32_t count);
/** timeout_ms: 0 looks, -1 waits for good. Returns how many events, 0 at the timeout, WEFT_ECLOSED when none will come. */
WEFT_API int32_t weft_reap(weft_queue *queue, weft_event *events, uint32_t capacity, int32_t timeout_ms);

/** How many of these lead blocks this host's memory holds, whole. No lock, no system call. */
WEFT_API int32_t weft_match(weft_store *store, uint32_t space, const weft_item *items, uint32_t count);
/** Views the lead items that this host's memory holds; returns how many, under one handle. No lock, no system call. */
WEFT_API int32_t weft_view(weft_store *store, uint32_t space, uint32_t part, weft_item *items, uint32_t count,
                           uint64_t *handle_out);
/** Ends views, pins and claims, and reservations as ABORT does, but without an event. */
WEFT_API int32_t weft_release(weft_store *store, const uint64_t *handles, uint32_t count);
/** The keys of a prompt's full blocks, as the engines make them: scheme=vllm-sha256-cbor|sglang,seed=,lora=,salt=,start= (where
 *  tokens[0] is in the prompt),mm=WHERE+LENGTH:ID (one for each). chain: NULL, or 32 bytes: the digest to go on from, zeros at
 *  first, replaced by the last one. Sets the keys of items and nothing else; returns how many, at most capacity. */
WEFT_API int32_t weft_keys(const char *options, uint8_t *chain, const uint32_t *tokens, uint32_t token_count,
                           uint32_t block_tokens, weft_item *items, uint32_t capacity, weft_error *error);
/** The key of anything else: of its bytes' SHA-256. */
WEFT_API int32_t weft_key_of(const uint8_t *bytes, uint64_t size, weft_item *item);

#ifdef __cplusplus
}
#endif
#endif
