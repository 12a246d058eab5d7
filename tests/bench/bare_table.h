// The least that a safe look-up in shared memory costs: a bucketed table in a memfd, one cache line
// a bucket, records of 128 bytes, a hazard that is stored and fenced, a generation that is checked
// again, and a clock.
//
// Invariants: it does what any such cache must do and nothing of what Weft adds (versions, floors,
// sizes, parts, counts, handles), so that a ratio to it is the price of those.
#pragma once

#include <atomic>
#include <cstdint>

#include "client.h"

namespace bench {

class BareTable {
  public:
    /** A table of blocks 0 .. count, filled in that order. */
    BareTable(uint64_t count, bool huge);

    /** Finds the block and holds it; returns its record's number, or -1. */
    int64_t acquire(uint64_t key_hi, uint64_t key_lo);
    void release() { hazard_.store(0, std::memory_order_release); }

    /** How many of the items are there, with each memory access asked for ahead; a miss ends the
     * count. */
    uint32_t match(const weft_item* items, uint32_t count) const;

  private:
    static constexpr uint32_t kEntries = 7;
    static constexpr uint32_t kAhead = 16;
    struct alignas(64) Bucket {
        std::atomic<uint64_t> sequence;
        std::atomic<uint64_t> entries[kEntries];  // tag << 32 | record + 1
    };
    struct alignas(128) Record {
        std::atomic<uint64_t> generation;
        uint64_t key_hi;
        uint64_t key_lo;
        uint64_t expiry;
    };
    /** The record that the key's entry names, or -1; a full bucket goes on in the next one. */
    int64_t find(uint64_t key_hi, uint64_t key_lo) const;

    uint64_t mask_;
    Arena memory_;
    Bucket* buckets_;
    Record* records_;
    std::atomic<uint64_t> hazard_{0};
};

}  // namespace bench
