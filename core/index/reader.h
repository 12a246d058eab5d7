// How any process finds a block in a namespace's index: no lock, no system call, bounded work
// (protocols 2). The order of the accesses is the protocol; tests/sim drops each fence and each
// re-check in turn and finds a stale, torn or missing block.
//
// Invariants: a block is reported only if its header was read between two loads of one even gen,
// the last one (for `hold`) behind the hazard's full fence; a miss is reported only if neither the
// bucket nor the table changed over the scan.
#pragma once
#include "core/index/layout.h"

namespace weft {

/** A block as its header told while gen was even and unchanged. */
struct Found {
    uint32_t slot = kNoSlot;
    uint32_t segment = 0;
    uint32_t index = 0;
    uint64_t gen = 0;
    uint64_t size = 0;
    uint64_t checksum = 0;
    uint64_t expiry = 0;
    bool parent_known = false;
};

enum class Look : uint8_t {
    hit,
    miss,
    ask
};  // ask: the index kept changing or its node died in a change

/** A view of a mapped index. A value; the mapping outlives it. Any thread. */
class IndexReader {
  public:
    IndexReader() = default;
    explicit IndexReader(std::byte* base) : base_(base) {
        // Relaxed: constants, stored before the node sent the file's descriptor.
        const IndexHeader& header = this->header();
        buckets_ = at<Bucket>(header.buckets.load_relaxed());
        overflow_ = at<Bucket>(header.overflow.load_relaxed());
        slots_ = at<SlotHeader>(header.slots.load_relaxed());
        slots_max_ = header.slots_max.load_relaxed();
        buckets_max_ = header.buckets_max.load_relaxed();
    }

    const IndexHeader& header() const { return *reinterpret_cast<const IndexHeader*>(base_); }
    /** Acquire: pairs with the release of set_serve_until: a lease is seen with all that the node
     * did before it renewed it. */
    bool serves(uint64_t now) const { return now < header().serve_until.load_acquire(); }
    /** Acquire: pairs with the release of raise_floor. That an op after the fence's event sees the
     * floor is by the message that told of the event. */
    uint64_t floor() const { return header().floor.load_acquire(); }
    SlotHeader& slot(uint32_t slot) const { return slots_[slot]; }
    uint64_t slots_max() const { return slots_max_; }

    /** Relaxed, here and in prefetch_slot: a guess, which no answer depends on. */
    void prefetch_bucket(uint64_t hash) const {
        __builtin_prefetch(&buckets_[bucket_of(hash, count(header().table.load_relaxed()))]);
    }
    /** Asks for the header of a slot whose tag fits, and returns that slot: a guess for look and
     * hold, kNoSlot without one. Which entry fits is random, so no branch depends on it. */
    uint32_t prefetch_slot(uint64_t hash) const {
        const Bucket& bucket = buckets_[bucket_of(hash, count(header().table.load_relaxed()))];
        uint32_t fits = 0;  // slot + 1
        for (const SharedWord& word : bucket.entries) {
            uint64_t entry = word.load_relaxed();
            bool same = static_cast<uint32_t>(entry >> 32) == tag_of(hash);
            fits = same ? static_cast<uint32_t>(entry) : fits;
        }
        __builtin_prefetch(&slots_[fits - (fits != 0 ? 1 : 0)]);
        return fits - 1;
    }

    /** Is the block there, whole and current at `now`? Takes no hazard: nothing may be done with
     * its bytes. */
    Look look(const Key& key, uint64_t hash, uint64_t version, uint64_t now, Found& out,
              uint32_t guess = kNoSlot) const {
        if (right_guess(guess, key, version, now, nullptr, out)) return Look::hit;
        return scan(key, hash, version, now, nullptr, out);
    }
    /** Holds a slot that the node named, if its gen is still the one that the node said (even, or
     * odd for a follower). */
    bool hold_slot(uint32_t slot, uint64_t gen, SharedWord& cell, Found& out) const {
        if (slot >= slots_max_) return false;
        const SlotHeader& header = slots_[slot];
        // As in `check`; acquire pairs with the release of renew_gen or publish, and what follows
        // is relaxed behind it: the hazard keeps the header as it is.
        fabric::store_and_fence(cell, uint64_t{slot} + 1);
        if (header.gen.load_acquire() != gen) {
            cell.store_release(0);
            return false;
        }
        uint64_t place = header.place.load_relaxed();
        uint64_t size = header.size.load_relaxed();
        out = {slot,
               static_cast<uint32_t>(place >> 32),
               static_cast<uint32_t>(place),
               gen,
               size & ~kParentKnown,
               header.checksum.load_relaxed(),
               header.expiry.load_relaxed(),
               (size & kParentKnown) != 0};
        return true;
    }
    /** The checksum of a held slot's part; 0: not known. Relaxed: behind the acquire load of gen
     * by which the slot is held. */
    uint64_t checksum(uint32_t slot, uint32_t part, uint32_t parts) const {
        if (part == 0) return slots_[slot].checksum.load_relaxed();
        uint64_t offset = header().checksums.load_relaxed() +
                          (uint64_t{slot} * parts + part) * sizeof(SharedWord);
        return at<SharedWord>(offset)->load_relaxed();
    }
    /** Is a held slot still what it was: the same attempt, or what that attempt published? */
    bool still(uint32_t slot, uint64_t gen) const {
        // The fence puts the reads of bytes before this load of gen. Pairs with the fence in
        // settle_limbo, which puts a fresh gen before the bytes of whoever gets the slot next.
        fabric::fence_acquire();
        uint64_t now = slots_[slot].gen.load_relaxed();
        return now == gen || (odd(gen) && now == gen + 1);
    }
    /** As look, with the slot held by `cell`, until somebody stores 0 there; on a miss the cell is
     * 0, by a release as in Cells::give. */
    Look hold(const Key& key, uint64_t hash, uint64_t version, uint64_t now, SharedWord& cell,
              Found& out, uint32_t guess = kNoSlot) const {
        if (right_guess(guess, key, version, now, &cell, out)) return Look::hit;
        return scan(key, hash, version, now, &cell, out);
    }

  private:
    static constexpr int kRetries = 64;

    template <typename T>
    T* at(uint64_t offset) const {
        return reinterpret_cast<T*>(base_ + offset);
    }
    static uint32_t count(uint64_t table) { return static_cast<uint32_t>(table >> 32); }
    static bool odd(uint64_t word) { return (word & 1) != 0; }

    /** A header that tells of this block under one even gen is the block, wherever the slot's
     * number came from; only absence needs the scan. */
    bool right_guess(uint32_t guess, const Key& key, uint64_t version, uint64_t now,
                     SharedWord* cell, Found& out) const {
        return guess != kNoSlot && check(guess, key, version, now, cell, out) == Check::right;
    }

    Look scan(const Key& key, uint64_t hash, uint64_t version, uint64_t now, SharedWord* cell,
              Found& out) const {
        for (int retry = 0; retry < kRetries; retry++) {
            // Acquire, both: pair with the release stores by which Table::split and a Change end:
            // an even sequence is seen with the entries that it stands for. These are relaxed.
            uint64_t table = header().table.load_acquire();
            if (odd(table)) continue;
            const Bucket* bucket = &buckets_[bucket_of(hash, count(table))];
            uint64_t link = bucket->link.load_acquire();
            if (odd(link)) continue;
            bool again = false;
            for (const Bucket* part = bucket; !again;) {
                for (const SharedWord& word : part->entries) {
                    uint64_t entry = word.load_relaxed();
                    if (static_cast<uint32_t>(entry >> 32) != tag_of(hash) ||
                        static_cast<uint32_t>(entry) == 0) {
                        continue;
                    }
                    switch (check(static_cast<uint32_t>(entry) - 1, key, version, now, cell, out)) {
                        case Check::right:
                            return Look::hit;
                        case Check::wrong:
                            break;
                        case Check::changed:
                            again = true;
                            break;
                    }
                }
                auto next = static_cast<uint32_t>(part->link.load_relaxed() >> 32);
                if (next == 0 || next >= buckets_max_) break;
                part = &overflow_[next];
            }
            // An entry may have moved past the scan, or the table grown: then absence proves
            // nothing. The fence pairs with the release fence of a Change behind its odd sequence
            // (and behind the table's): who saw a changed entry sees that sequence.
            fabric::fence_acquire();
            if (!again && bucket->link.load_relaxed() == link &&
                header().table.load_relaxed() == table) {
                return Look::miss;
            }
        }
        return Look::ask;
    }

    enum class Check : uint8_t { right, wrong, changed };

    Check check(uint32_t slot, const Key& key, uint64_t version, uint64_t now, SharedWord* cell,
                Found& out) const {
        if (slot >= slots_max_) return Check::wrong;
        const SlotHeader& header = slots_[slot];
        // Pairs with the release store of an even gen in Namespace::publish, behind the header.
        uint64_t gen = header.gen.load_acquire();
        // Not there; if it moved, the bucket's sequence tells. 0: a header that was never laid out,
        // or whose stores have not arrived, and whose other words would be those of key 0.
        if (odd(gen) || gen == 0) return Check::wrong;
        if (cell != nullptr) {
            // Pairs with the node's seq_cst fence between its store of an odd gen and its scan of
            // the cells: one of the two sees the other. From here on the header stays as it is.
            fabric::store_and_fence(*cell, uint64_t{slot} + 1);
            if (header.gen.load_acquire() != gen) {
                cell->store_release(0);
                return Check::changed;
            }
        }
        bool right = header.key_hi.load_relaxed() == key.hi &&
                     header.key_lo.load_relaxed() == key.lo &&
                     header.version.load_relaxed() == version;
        uint64_t expiry = header.expiry.load_relaxed();
        uint64_t place = header.place.load_relaxed();
        uint64_t size = header.size.load_relaxed();
        out = {slot,
               static_cast<uint32_t>(place >> 32),
               static_cast<uint32_t>(place),
               gen,
               size & ~kParentKnown,
               header.checksum.load_relaxed(),
               expiry,
               (size & kParentKnown) != 0};
        if (cell == nullptr) {
            // Pairs with the fence in settle_limbo between an odd gen and any change of the header:
            // who read something changed sees the gen changed.
            fabric::fence_acquire();
            if (header.gen.load_relaxed() != gen) return Check::changed;
        }
        if (right && (expiry == 0 || now < expiry)) return Check::right;
        if (cell != nullptr) cell->store_release(0);
        return Check::wrong;
    }

    std::byte* base_ = nullptr;
    Bucket* buckets_ = nullptr;
    Bucket* overflow_ = nullptr;
    SlotHeader* slots_ = nullptr;
    uint64_t slots_max_ = 0;
    uint64_t buckets_max_ = 0;
};

}  // namespace weft
