// Which fields and flags an op of each kind may set. What a kind does not name must be 0, so that
// it can mean something later.
#include <cstddef>

#include "core/node/ops.h"

namespace weft {
namespace {

constexpr uint32_t kListFlags = WEFT_LIST | WEFT_CHAIN | WEFT_PARENT | WEFT_EACH;
constexpr uint32_t kReuse = WEFT_REUSE_MAYBE;

/** Fields that a kind takes, beside tag, timeout_ms, flags and kind. */
enum Field : uint32_t {
    kKey = 1,
    kOffset = 2,
    kSize = 4,
    kStart = 8,
    kRegion = 16,
    kTtl = 32,
    kPart = 64
};

struct Rule {
    uint32_t flags;
    uint32_t fields;
};

constexpr Rule rule_of(uint32_t kind) {
    switch (kind) {
        case WEFT_OP_LOAD:
            return {kListFlags | WEFT_WAIT_WRITER | WEFT_FOLLOW | WEFT_VERIFY | kReuse,
                    kKey | kOffset | kSize | kStart | kRegion | kPart};
        case WEFT_OP_SAVE:
            return {kListFlags | WEFT_WAIT_WRITER | WEFT_REPLACE | kReuse,
                    kKey | kOffset | kSize | kStart | kRegion | kTtl | kPart};
        case WEFT_OP_MATCH:
            return {kListFlags | WEFT_PIN | WEFT_FOLLOW, kKey | kTtl | kPart};
        case WEFT_OP_VIEW:
            return {kListFlags | WEFT_WAIT_WRITER | WEFT_FOLLOW | WEFT_VERIFY, kKey | kPart};
        case WEFT_OP_RESERVE:
            return {kListFlags | WEFT_WAIT_WRITER | WEFT_REPLACE, kKey | kSize | kPart};
        case WEFT_OP_COMMIT:
            return {WEFT_MORE | kReuse, kOffset | kSize | kTtl};
        case WEFT_OP_ABORT:
            return {WEFT_LIST | WEFT_EACH, kKey | kOffset};
        case WEFT_OP_REMOVE:
            return {WEFT_LIST | WEFT_EACH, kKey};
        case WEFT_OP_WAIT:
            return {kListFlags | WEFT_FOLLOW | WEFT_CLAIM,
                    kKey | kOffset | kSize | kStart | kTtl | kPart};
        case WEFT_OP_TOUCH:
            return {kListFlags | kReuse, kKey | kTtl};
        case WEFT_OP_ADVANCE:
            return {0, kOffset};
        case WEFT_OP_CANCEL:
            return {0, kOffset};
        default:
            return {0, 0};
    }
}

constexpr uint32_t place(size_t offset) { return static_cast<uint32_t>(offset) + 1; }

uint32_t wrong_flags(const weft_op& op, const Rule& rule) {
    uint32_t flags = op.flags;
    bool wrong =
        (flags & ~rule.flags) != 0 || ((flags & WEFT_CHAIN) != 0 && (flags & WEFT_LIST) == 0) ||
        ((flags & WEFT_PARENT) != 0 && (flags & WEFT_CHAIN) == 0) ||
        ((flags & WEFT_EACH) != 0 && (flags & WEFT_LIST) == 0) ||
        ((flags & WEFT_FOLLOW) != 0 && (flags & (WEFT_CLAIM | WEFT_PIN | WEFT_VERIFY)) != 0) ||
        ((flags & WEFT_CLAIM) != 0 && (flags & WEFT_LIST) != 0 && (flags & WEFT_CHAIN) == 0);
    return wrong ? place(offsetof(weft_op, flags)) : 0;
}

}  // namespace

uint32_t wrong_field(const weft_op& op) {
    Rule rule = rule_of(op.kind);
    if (rule.fields == 0) return place(offsetof(weft_op, kind));
    if (uint32_t flags = wrong_flags(op, rule)) return flags;
    bool list = (op.flags & WEFT_LIST) != 0;
    uint32_t fields = rule.fields | (list ? kKey | kOffset : 0);
    // Claims act on blocks, not on their bytes; pins, claims and expiries are the only things with
    // a time to live.
    bool whole = op.kind == WEFT_OP_WAIT && (op.flags & WEFT_FOLLOW) == 0;
    if (whole) fields &= ~static_cast<uint32_t>(kSize | kStart);
    if (op.kind == WEFT_OP_WAIT && (op.flags & WEFT_CLAIM) == 0)
        fields &= ~static_cast<uint32_t>(kTtl | (list ? 0 : kOffset));
    if (op.kind == WEFT_OP_MATCH && (op.flags & WEFT_PIN) == 0)
        fields &= ~static_cast<uint32_t>(kTtl);
    // There it is the follower's number.
    if (op.kind != WEFT_OP_MATCH && (op.flags & WEFT_FOLLOW) != 0) fields |= kTtl;
    if (op.key_hi != 0 && (fields & kKey) == 0) return place(offsetof(weft_op, key_hi));
    if (op.key_lo != 0 && (fields & kKey) == 0) return place(offsetof(weft_op, key_lo));
    if (op.offset != 0 && (fields & kOffset) == 0) return place(offsetof(weft_op, offset));
    if (op.size != 0 && (fields & kSize) == 0) return place(offsetof(weft_op, size));
    if (op.start != 0 && (fields & kStart) == 0) return place(offsetof(weft_op, start));
    if (op.region != 0 && (fields & kRegion) == 0) return place(offsetof(weft_op, region));
    if (op.ttl_s != 0 && (fields & kTtl) == 0) return place(offsetof(weft_op, ttl_s));
    if (op.part != 0 && (fields & kPart) == 0) return place(offsetof(weft_op, part));
    if (op.kind == WEFT_OP_CANCEL && op.space != 0) return place(offsetof(weft_op, space));
    if (list && (op.key_hi == 0 || op.key_hi > 1048576)) return place(offsetof(weft_op, key_hi));
    if (op.kind == WEFT_OP_COMMIT && op.size != 0 && (op.flags & WEFT_MORE) == 0)
        return place(offsetof(weft_op, size));
    bool verify_part = (op.flags & WEFT_VERIFY) != 0 && (op.start != 0);
    if (verify_part) return place(offsetof(weft_op, start));
    bool all_ones = op.key_hi == UINT64_MAX && op.key_lo == UINT64_MAX && !list;
    return all_ones ? place(offsetof(weft_op, key_hi)) : 0;
}

std::string wrong_words(const weft_op& op, uint32_t place) {
    struct Named {
        size_t place;
        const char* name;
        uint64_t value;
    };
    const Named fields[] = {{offsetof(weft_op, key_hi), "key_hi", op.key_hi},
                            {offsetof(weft_op, key_lo), "key_lo", op.key_lo},
                            {offsetof(weft_op, offset), "offset", op.offset},
                            {offsetof(weft_op, size), "size", op.size},
                            {offsetof(weft_op, start), "start", op.start},
                            {offsetof(weft_op, space), "space", op.space},
                            {offsetof(weft_op, region), "region", op.region},
                            {offsetof(weft_op, ttl_s), "ttl_s", op.ttl_s},
                            {offsetof(weft_op, flags), "flags", op.flags},
                            {offsetof(weft_op, part), "part", op.part}};
    std::string kind = "kind " + std::to_string(op.kind);
    if (place == offsetof(weft_op, kind)) return kind + " is not known";
    for (const Named& field : fields) {
        if (field.place == place) {
            return std::string(field.name) + "=" + std::to_string(field.value) + ": an op of " +
                   kind + " with flags " + std::to_string(op.flags) + " does not take it";
        }
    }
    return kind + ": a field is wrong";
}

}  // namespace weft
