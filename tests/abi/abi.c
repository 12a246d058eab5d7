/*
 * Every size, offset and constant of weft.h, asserted at compile time, because abidiff sees neither
 * macros nor, without debug information, anything at all. What stands here holds for good: a line
 * may be added, none changed. run.sh compiles this as C11, C++17 and C++20 and checks that no
 * constant and no field of the header is missing from it.
 */
#include <stddef.h>

#include "weft.h"

#ifdef __cplusplus
#define HOLDS(what) static_assert(what, #what)
#define ALIGNMENT alignof
#else
#define HOLDS(what) _Static_assert(what, #what)
#define ALIGNMENT _Alignof
#endif
#define TYPE(type, bytes, alignment) \
    HOLDS(sizeof(type) == (bytes) && ALIGNMENT(type) == (alignment))
#define FIELD(type, field, at, bytes) \
    HOLDS(offsetof(type, field) == (at) && sizeof(((type*)0)->field) == (bytes))
#define CONSTANT(name, value) HOLDS((name) == (value) && (name) > 0)

CONSTANT(WEFT_ABI, 1);
CONSTANT(WEFT_EINVAL, 1);
CONSTANT(WEFT_EMISS, 2);
CONSTANT(WEFT_EEXISTS, 3);
CONSTANT(WEFT_EFENCED, 4);
CONSTANT(WEFT_EAGAIN, 5);
CONSTANT(WEFT_ETIMEOUT, 6);
CONSTANT(WEFT_EPEER, 7);
CONSTANT(WEFT_EDENIED, 8);
CONSTANT(WEFT_EQUOTA, 9);
CONSTANT(WEFT_ENOMEM, 10);
CONSTANT(WEFT_EBUSY, 11);
CONSTANT(WEFT_ECLOSED, 12);
CONSTANT(WEFT_EFORKED, 13);
CONSTANT(WEFT_ECORRUPT, 14);
CONSTANT(WEFT_ERANGE, 15);
CONSTANT(WEFT_EINTERNAL, 16);
CONSTANT(WEFT_ECANCELED, 17);
CONSTANT(WEFT_EHELD, 18);
CONSTANT(WEFT_ENOTSUP, 19);
CONSTANT(WEFT_MISS_ABSENT, 1);
CONSTANT(WEFT_MISS_EVICTED, 2);
CONSTANT(WEFT_MISS_EXPIRED, 3);
CONSTANT(WEFT_MISS_FENCED, 4);
CONSTANT(WEFT_MISS_PARTIAL, 5);
CONSTANT(WEFT_MISS_UNREACHABLE, 6);
CONSTANT(WEFT_MISS_FAR, 7);
CONSTANT(WEFT_IN_DRAM, 2);
CONSTANT(WEFT_OP_LOAD, 1);
CONSTANT(WEFT_OP_SAVE, 2);
CONSTANT(WEFT_OP_MATCH, 3);
CONSTANT(WEFT_OP_VIEW, 4);
CONSTANT(WEFT_OP_RESERVE, 5);
CONSTANT(WEFT_OP_COMMIT, 6);
CONSTANT(WEFT_OP_ABORT, 7);
CONSTANT(WEFT_OP_REMOVE, 8);
CONSTANT(WEFT_OP_WAIT, 10);
CONSTANT(WEFT_OP_TOUCH, 11);
CONSTANT(WEFT_OP_ADVANCE, 12);
CONSTANT(WEFT_OP_CANCEL, 14);
CONSTANT(WEFT_LIST, 0x1);
CONSTANT(WEFT_CHAIN, 0x2);
CONSTANT(WEFT_PARENT, 0x4);
CONSTANT(WEFT_EACH, 0x8);
CONSTANT(WEFT_PIN, 0x20);
CONSTANT(WEFT_WAIT_WRITER, 0x40);
CONSTANT(WEFT_FOLLOW, 0x80);
CONSTANT(WEFT_CLAIM, 0x100);
CONSTANT(WEFT_MORE, 0x200);
CONSTANT(WEFT_REPLACE, 0x400);
CONSTANT(WEFT_VERIFY, 0x800);
CONSTANT(WEFT_REUSE_SOON, 0x1000);
CONSTANT(WEFT_REUSE_NONE, 0x2000);
CONSTANT(WEFT_REUSE_MAYBE, 0x3000);

TYPE(weft_error, 256, 4);
FIELD(weft_error, struct_size, 0, 4);
FIELD(weft_error, code, 4, 4);
FIELD(weft_error, message, 8, 248);

TYPE(weft_op, 64, 8);
FIELD(weft_op, tag, 0, 8);
FIELD(weft_op, key_hi, 8, 8);
FIELD(weft_op, key_lo, 16, 8);
FIELD(weft_op, offset, 24, 8);
FIELD(weft_op, size, 32, 4);
FIELD(weft_op, start, 36, 4);
FIELD(weft_op, space, 40, 4);
FIELD(weft_op, region, 44, 4);
FIELD(weft_op, timeout_ms, 48, 4);
FIELD(weft_op, ttl_s, 52, 4);
FIELD(weft_op, flags, 56, 4);
FIELD(weft_op, kind, 60, 2);
FIELD(weft_op, part, 62, 2);

TYPE(weft_item, 32, 8);
FIELD(weft_item, key_hi, 0, 8);
FIELD(weft_item, key_lo, 8, 8);
FIELD(weft_item, offset, 16, 8);
FIELD(weft_item, size, 24, 4);
FIELD(weft_item, status, 28, 4);

TYPE(weft_event, 32, 8);
FIELD(weft_event, tag, 0, 8);
FIELD(weft_event, value, 8, 8);
FIELD(weft_event, handle, 16, 8);
FIELD(weft_event, status, 24, 4);
FIELD(weft_event, detail, 28, 4);

TYPE(weft_namespace, 48, 8);
FIELD(weft_namespace, struct_size, 0, 4);
FIELD(weft_namespace, space, 4, 4);
FIELD(weft_namespace, parts, 8, 4);
FIELD(weft_namespace, block_tokens, 12, 4);
FIELD(weft_namespace, layers, 16, 4);
FIELD(weft_namespace, alignment, 20, 4);
FIELD(weft_namespace, part_bytes, 24, 8);
FIELD(weft_namespace, version, 32, 8);
FIELD(weft_namespace, floor, 40, 8);
