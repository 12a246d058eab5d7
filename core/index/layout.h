// What a namespace's shared index and a reader's page look like in memory. Both are read and
// written by processes of one machine with one kLayoutVersion, compared at login.
//
// Invariants: an index is written by its node alone, a reader's page by its reader alone; the place
// of a slot header never moves and is never anything but a slot header while a reader maps the
// index; a value of `gen` is never used twice.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "fabric/memory/shared_word.h"

namespace weft {

using fabric::SharedWord;

constexpr uint64_t kLayoutVersion = 1;
constexpr uint32_t kNoSlot = UINT32_MAX;
constexpr uint32_t kReaderCells = 4096;    // hazards of one process in one namespace
constexpr uint32_t kReaderCellsLoad = 64;  // of these, kept for LOAD
constexpr uint32_t kTouchRecords = 2048;   // the lossy ring of uses
constexpr uint32_t kEntriesPerBucket = 7;
constexpr uint32_t kSegmentsMax = 4096;  // of one namespace
constexpr uint32_t kMissReasons = 8;     // WEFT_MISS_*, 0 unused

/** 64 bytes, one cache line, one block. Fields are stored only while gen is odd, but expiry, which
 * TOUCH may set. */
struct SlotHeader {
    SharedWord gen;  // even: published and unchanging
    SharedWord key_hi;
    SharedWord key_lo;
    SharedWord version;
    SharedWord expiry;  // CLOCK_BOOTTIME ns; 0: never
    SharedWord place;   // segment << 32 | index in it; constant while the segment lives
    SharedWord size;    // bytes of the block, all parts | kParentKnown
    SharedWord
        checksum;  // of part 0; of the parts behind it see IndexHeader::checksums; 0: not known
};
static_assert(sizeof(SlotHeader) == 64);

/** The block was saved as the child of another one: a use of it, as the deepest of a chain, reaches
 * its ancestors. */
constexpr uint64_t kParentKnown = uint64_t{1} << 63;

/** 64 bytes, one cache line. Word 0: sequence (low half, odd while it changes) | overflow bucket
 * (high half, 0: none). */
struct Bucket {
    SharedWord link;
    SharedWord entries[kEntriesPerBucket];  // tag << 32 | slot + 1; 0: empty
};
static_assert(sizeof(Bucket) == 64);

/** The first page of an index. The offsets are set before the file is handed out and never change.
 */
struct IndexHeader {
    SharedWord layout_version;
    SharedWord floor;        // blocks of lower versions are not served
    SharedWord serve_until;  // CLOCK_BOOTTIME ns; readers count nothing from then on
    SharedWord table;  // sequence (low half, odd while it changes) | number of buckets (high half)
    SharedWord buckets;  // offsets in the file
    SharedWord overflow;
    SharedWord slots;
    SharedWord checksums;  // 0 with one part; else parts words a slot
    SharedWord slots_max;
    SharedWord buckets_max;
};
constexpr uint64_t kIndexPage = 4096;
static_assert(sizeof(IndexHeader) <= kIndexPage);

/** What a reader shares with the node: its hazards, its uses and its counts. The node believes none
 * of it further than it must: a foreign id is ignored, a wild ring costs its writer its touches. */
struct ReaderPage {
    SharedWord cells[kReaderCells];  // slot + 1; 0: empty
    SharedWord touch_count;          // records ever written
    SharedWord touches[kTouchRecords];
    SharedWord hits;
    SharedWord bytes;
    SharedWord misses[kMissReasons];
};

/** A use: a slot (the deepest of a chain), how many ancestors were used with it, and the hint. */
struct Touch {
    static constexpr uint32_t kChainMost = 0xfffff;  // blocks of a chain that one use tells of
    uint32_t slot;
    uint32_t length;
    uint32_t hint;
    uint64_t pack() const {
        return uint64_t{slot} | uint64_t{std::min(length, kChainMost)} << 32 | uint64_t{hint} << 60;
    }
    static Touch unpack(uint64_t word) {
        return {static_cast<uint32_t>(word), static_cast<uint32_t>(word >> 32) & kChainMost,
                static_cast<uint32_t>(word >> 60) & 3};
    }
};

struct Key {
    uint64_t hi = 0;
    uint64_t lo = 0;
    bool operator==(const Key&) const = default;
    auto operator<=>(const Key&) const = default;
};

/** Keys are digests in most uses, but users also count 1, 2, 3: mixed by the 128-bit product of two
 * odd constants (the multiply-fold of wyhash). */
inline uint64_t hash_key(const Key& key) {
    auto product =
        static_cast<unsigned __int128>(key.hi ^ 0x9e3779b97f4a7c15) * (key.lo ^ 0xd6e8feb86659fd93);
    uint64_t folded = static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product);
    return (folded ^ (key.hi + key.lo)) * 0xff51afd7ed558ccd;
}
struct KeyHash {
    size_t operator()(const Key& key) const { return hash_key(key); }
};

/** Linear hashing: `count` buckets; the ones past the last power of two are the split halves. Tags
 * use the other half of the hash. */
inline uint32_t bucket_of(uint64_t hash, uint32_t count) {
    uint32_t mask = std::bit_ceil(count) - 1;
    uint32_t index = static_cast<uint32_t>(hash >> 32) & mask;
    return index < count ? index : index & (mask >> 1);
}
inline uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash); }

}  // namespace weft
