// The bodies of bare_table.h: filled in the order of the blocks, so that records of a chain are
// neighbours as slots are.
#include "bare_table.h"

#include <time.h>

#include <algorithm>
#include <bit>
#include <new>

#include "figure.h"

namespace bench {
namespace {

/** Buckets for `count` keys, about half of the entries free so that no bucket runs over. */
uint64_t buckets_for(uint64_t count) { return std::bit_ceil(count / 2 + 64); }

uint64_t boot_ns() {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

BareTable::BareTable(uint64_t count, bool huge)
    : mask_(buckets_for(count) - 1),
      memory_((mask_ + 1) * sizeof(Bucket) + count * sizeof(Record), huge),
      buckets_(new(memory_.begin()) Bucket[mask_ + 1]{}),
      records_(new(memory_.begin() + (mask_ + 1) * sizeof(Bucket)) Record[count]{}) {
    for (uint64_t i = 0; i < count; ++i) {
        weft_item key{};
        set_key(key, i);
        records_[i].generation = 2 * i + 2;
        records_[i].key_hi = key.key_hi;
        records_[i].key_lo = key.key_lo;
        for (uint64_t at = key.key_lo;; ++at) {
            auto& entries = buckets_[at & mask_].entries;
            auto* const free = std::find_if(entries, entries + kEntries,
                                            [](const auto& entry) { return entry == 0; });
            if (free == entries + kEntries) continue;  // full: the next one
            *free = key.key_hi >> 32 << 32 | (i + 1);
            break;
        }
    }
}

int64_t BareTable::find(uint64_t key_hi, uint64_t key_lo) const {
    for (uint64_t at = key_lo;; ++at) {
        const Bucket& bucket = buckets_[at & mask_];
        const uint64_t sequence = bucket.sequence.load(std::memory_order_acquire);
        int64_t found = -1;
        for (const auto& entry : bucket.entries) {
            const uint64_t value = entry.load(std::memory_order_relaxed);
            if (value >> 32 == key_hi >> 32 && value != 0) {
                found = static_cast<int64_t>(value & 0xffffffff) - 1;
                break;
            }
        }
        const bool full = bucket.entries[kEntries - 1].load(std::memory_order_relaxed) != 0;
        std::atomic_thread_fence(std::memory_order_acquire);
        if (bucket.sequence.load(std::memory_order_relaxed) != sequence) return -1;
        if (found >= 0 || !full) return found;
    }
}

int64_t BareTable::acquire(uint64_t key_hi, uint64_t key_lo) {
    const int64_t found = find(key_hi, key_lo);
    if (found < 0) return -1;
    const Record& record = records_[found];
    const uint64_t generation = record.generation.load(std::memory_order_acquire);
    hazard_.store(static_cast<uint64_t>(found) + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (record.generation.load(std::memory_order_acquire) != generation) return -1;
    const uint64_t now = boot_ns();
    const bool live = record.expiry == 0 || now < record.expiry;
    return live && record.key_hi == key_hi && record.key_lo == key_lo ? found : -1;
}

uint32_t BareTable::match(const weft_item* items, uint32_t count) const {
    const uint64_t now = boot_ns();
    uint32_t matched = 0;
    for (uint32_t first = 0; first < count; first += kAhead) {
        const uint32_t group = std::min(kAhead, count - first);
        int64_t found[kAhead];
        for (uint32_t i = 0; i < group; ++i)
            __builtin_prefetch(&buckets_[items[first + i].key_lo & mask_]);
        for (uint32_t i = 0; i < group; ++i) {
            found[i] = find(items[first + i].key_hi, items[first + i].key_lo);
            if (found[i] >= 0) __builtin_prefetch(&records_[found[i]]);
        }
        for (uint32_t i = 0; i < group; ++i) {
            if (found[i] < 0) return matched;
            const Record& record = records_[found[i]];
            const uint64_t generation = record.generation.load(std::memory_order_acquire);
            const bool equal = record.key_hi == items[first + i].key_hi &&
                               record.key_lo == items[first + i].key_lo;
            if (!equal || (record.expiry != 0 && record.expiry <= now) || generation % 2 != 0)
                return matched;
            ++matched;
        }
    }
    return matched;
}

}  // namespace bench
