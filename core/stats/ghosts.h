// What is remembered of blocks that left, so that a miss can say why: a direct-mapped table of
// 8-byte entries, 60 bits of the key's hash and the reason. It forgets by being overwritten, never
// grows beyond one entry a slot, and a false answer (two keys with one hash: 2^-60 a pair) is a
// wrong reason, never a wrong byte.
#pragma once
#include <cstdint>
#include <vector>

namespace weft {

class Ghosts {
  public:
    void grow(uint64_t slots) {
        uint64_t size = kFewest;
        while (size * 2 <= slots) size *= 2;
        if (size <= entries_.size()) return;
        std::vector<uint64_t> old(size);
        old.swap(entries_);
        for (uint64_t entry : old) {
            if (entry != 0) entries_[place(entry)] = entry;
        }
    }
    void remember(uint64_t hash, uint32_t reason) {
        if (entries_.empty()) return;
        entries_[place(hash)] = (hash & ~kReason) | reason;
    }
    /** WEFT_MISS_*, or 0: never heard of. */
    uint32_t reason(uint64_t hash) const {
        if (entries_.empty()) return 0;
        uint64_t entry = entries_[place(hash)];
        return (entry & ~kReason) == (hash & ~kReason) ? static_cast<uint32_t>(entry & kReason) : 0;
    }
    void forget(uint64_t hash) {
        if (reason(hash) != 0) entries_[place(hash)] = 0;
    }
    uint64_t bytes() const { return entries_.size() * sizeof(uint64_t); }

  private:
    static constexpr uint64_t kReason = 15;
    static constexpr uint64_t kFewest = 4096;  // 32 KiB a namespace
    uint64_t place(uint64_t hash) const { return (hash >> 8) & (entries_.size() - 1); }
    std::vector<uint64_t> entries_;
};

}  // namespace weft
