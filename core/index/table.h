// The node's side of a namespace's hash table: linear hashing in place, one bucket more at a time,
// so that it grows without stopping readers and without a second copy (an index memfd cannot be
// punched, protocols 1).
//
// Invariants: every change of entries happens while the sequence of their primary bucket is odd;
// growth also makes the table's sequence odd; an entry names a slot at most once. One thread (the
// node's lock) calls this, and stores all these words: its loads are relaxed, and so are its stores
// of entries and links, which lie between a Change's two stores of a sequence.
#pragma once
#include <functional>
#include <vector>

#include "core/index/layout.h"

namespace weft {

class Table {
  public:
    /** Backs `size` bytes at `offset` of the index with memory, or says false. */
    using Reserve = std::function<bool(uint64_t offset, uint64_t size)>;

    Table() = default;
    Table(std::byte* base, Reserve reserve);

    /** Sets the first bucket up; false when memory ran out. */
    bool start();
    /** Enters slot under hash. False when there is no memory for a bucket: nothing has changed. */
    bool insert(uint64_t hash, uint32_t slot);
    /** Puts `slot` where `old` was; readers see one or the other. */
    void replace(uint64_t hash, uint32_t old, uint32_t slot);
    void remove(uint64_t hash, uint32_t slot);
    /** Calls f for each slot under hash's tag until f returns true. */
    template <typename F>
    uint32_t find(uint64_t hash, F f) const {
        for (const Bucket* bucket = primary(hash); bucket != nullptr; bucket = next(*bucket)) {
            for (const SharedWord& word : bucket->entries) {
                uint64_t entry = word.load_relaxed();
                auto slot = static_cast<uint32_t>(entry);
                if (slot != 0 && static_cast<uint32_t>(entry >> 32) == tag_of(hash) &&
                    f(slot - 1)) {
                    return slot - 1;
                }
            }
        }
        return kNoSlot;
    }
    uint64_t entries() const { return entries_; }
    uint64_t bytes() const { return (uint64_t{count_} + overflow_used_) * sizeof(Bucket); }
    /** The hash of a slot's key, for splits; set by the owner. */
    std::function<uint64_t(uint32_t slot)> hash_of;

  private:
    class Change;
    Bucket* primary(uint64_t hash) const { return &buckets_[bucket_of(hash, count_)]; }
    Bucket* next(const Bucket& bucket) const {
        auto index = static_cast<uint32_t>(bucket.link.load_relaxed() >> 32);
        return index == 0 ? nullptr : &overflow_[index];
    }
    bool split();
    bool have_bucket(uint32_t index);
    uint32_t take_overflow();
    /** Relaxed, as all stores of entries and of links to overflow buckets are, each within a
     * Change: they pair with the relaxed loads in IndexReader::scan, between the Change's release
     * fence, which is before them, and the acquire fence behind those: who saw one finds the
     * sequence changed, and what it missed counts as no miss. Its even sequence (release) hands
     * them all on. What an entry leads to is proved by the slot's gen. */
    static void put(Bucket& bucket, uint32_t entry, uint64_t value) {
        bucket.entries[entry].store_relaxed(value);
    }
    bool place(Bucket* bucket, uint64_t entry);
    void close_up(Bucket& bucket, SharedWord& free);
    SharedWord* locate(Bucket* bucket, uint32_t slot) const;

    IndexHeader* header_ = nullptr;
    Bucket* buckets_ = nullptr;
    Bucket* overflow_ = nullptr;
    Reserve reserve_;
    uint32_t count_ = 0;
    uint32_t buckets_backed_ = 0;
    uint32_t overflow_used_ = 1;  // index 0 means none
    uint32_t overflow_backed_ = 0;
    uint64_t buckets_max_ = 0;
    std::vector<uint32_t> overflow_free_;
    uint64_t entries_ = 0;
    std::vector<uint64_t> split_entries_;  // split's own, kept for their room
    std::vector<uint32_t> split_chain_;
};

}  // namespace weft
