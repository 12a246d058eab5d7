// What every look into a mapped index shares: is it current, many look-ups at once, and telling the
// node what was used.
//
// Invariants: nothing here waits or calls the system but for the clock; uses are told deepest
// first, root last, which is the order that makes lists leaf-first (protocols 8).
#pragma once
#include <algorithm>

#include "capi/weft.h"
#include "core/node/mapped.h"
#include "fabric/clock/clock.h"

namespace weft {

constexpr uint32_t kAhead = 32;  // look-ups whose cache lines are on their way

/** A block that was read: its slot, and whether its parent is known. */
struct Use {
    uint32_t slot;
    bool parent_known;
};

/** Spreads threads over the words of the cell map. */
inline uint32_t thread_hint() {
    static thread_local char here;
    return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(&here) >> 12) * 7;
}

/** Acquire: pairs with Store::lost; see Mapped::gone. */
inline bool served(const Mapped& mapped, uint64_t now) {
    return !mapped.gone.load(std::memory_order_acquire) && mapped.reader().serves(now);
}

/** Looks n keys up, the cache lines of the next ones already on their way; calls f(i, hash, guess)
 * in order until it says false. guess: the slot that the key is likely in. */
template <typename F>
void look_ahead(const IndexReader& reader, const weft_item* items, uint32_t count, F f) {
    uint64_t hashes[2 * kAhead];
    uint32_t guesses[2 * kAhead];
    auto hash = [&](uint32_t i) { return hash_key({items[i].key_hi, items[i].key_lo}); };
    auto place = [](uint32_t i) { return i % (2 * kAhead); };
    for (uint32_t i = 0; i < std::min(count, kAhead); i++) {
        hashes[i] = hash(i);
        reader.prefetch_bucket(hashes[i]);
    }
    for (uint32_t i = 0; i < std::min(count, kAhead / 2); i++) {
        guesses[i] = reader.prefetch_slot(hashes[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i + kAhead < count) {
            uint64_t next = hash(i + kAhead);
            hashes[place(i + kAhead)] = next;
            reader.prefetch_bucket(next);
        }
        if (uint32_t next = i + kAhead / 2; next < count) {
            guesses[place(next)] = reader.prefetch_slot(hashes[place(next)]);
        }
        if (!f(i, hashes[place(i)], guesses[place(i)])) return;
    }
}

/** One record for each run of blocks whose parents are known. */
inline void tell_chain(Mapped& mapped, const Use* uses, uint32_t count, uint32_t hint) {
    for (uint32_t end = count; end > 0;) {
        uint32_t begin = end - 1;
        while (begin > 0 && uses[begin].parent_known) begin--;
        mapped.touch({uses[end - 1].slot, end - begin, hint});
        end = begin;
    }
}

}  // namespace weft
