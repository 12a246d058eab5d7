// What is remembered of blocks that left, so that a miss can say why and since when: a
// direct-mapped table of 8-byte entries, 44 bits of the key's hash, 16 of the time (16 s each: it
// comes round after 12 days) and the reason. It forgets by being overwritten, never grows beyond
// one entry a slot, and a false answer (two keys with one such hash: 2^-44 a pair) is a wrong
// reason, never a wrong byte.
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
    /** The instant (ns) that is remembered with what leaves from now on. */
    void set_clock(uint64_t now) { clock_ = now / kUnit; }
    void remember(uint64_t hash, uint32_t reason) {
        if (entries_.empty()) return;
        entries_[place(hash)] = (hash & kHash) | (clock_ << kReasonBits & kTime) | reason;
    }
    struct Memory {
        uint32_t reason = 0;  // WEFT_MISS_*; 0: never heard of
        uint64_t ago_s = 0;   // to 16 s
    };
    Memory memory(uint64_t hash) const {
        if (entries_.empty()) return {};
        uint64_t entry = entries_[place(hash)];
        if ((entry & kHash) != (hash & kHash)) return {};
        uint64_t then = (entry & kTime) >> kReasonBits;
        return {static_cast<uint32_t>(entry & kReason),
                ((clock_ - then) & (kTime >> kReasonBits)) * (kUnit / 1'000'000'000)};
    }
    /** WEFT_MISS_*, or 0: never heard of. */
    uint32_t reason(uint64_t hash) const { return memory(hash).reason; }
    void forget(uint64_t hash) {
        if (reason(hash) != 0) entries_[place(hash)] = 0;
    }
    uint64_t bytes() const { return entries_.size() * sizeof(uint64_t); }

  private:
    static constexpr uint32_t kReasonBits = 4;
    static constexpr uint64_t kReason = 15;
    static constexpr uint64_t kTime = 0xffff << kReasonBits;
    static constexpr uint64_t kHash = ~(kTime | kReason);
    static constexpr uint64_t kUnit = 16'000'000'000;  // ns
    static constexpr uint64_t kFewest = 4096;          // 32 KiB a namespace
    /** By bits that an entry keeps, so that it finds its place again in a larger table. */
    uint64_t place(uint64_t hash) const { return (hash >> 20) & (entries_.size() - 1); }
    std::vector<uint64_t> entries_;
    uint64_t clock_ = 0;
};

}  // namespace weft
