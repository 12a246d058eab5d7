// A 64-bit word in memory that several processes map. Every access to shared memory that is not
// block bytes goes through this class, so that the simulator can replace it (shared_word_sim.h,
// chosen at compile time by WEFT_SIM): there each access is a yield point, stores wait in a buffer
// and relaxed loads may be stale. Here each access is one machine instruction.
//
// Invariants: a word is 8 bytes, 8-aligned, and valid when it is all zeros; nobody accesses it but
// through these functions. What an access pairs with, and why its order is enough, stands where it
// is made.
#pragma once
#ifdef WEFT_SIM
#include "fabric/memory/shared_word_sim.h"
#else
#include <atomic>
#include <cstdint>

namespace weft::fabric {

class SharedWord {
  public:
    uint64_t load_relaxed() const { return ref().load(std::memory_order_relaxed); }
    uint64_t load_acquire() const { return ref().load(std::memory_order_acquire); }
    void store_relaxed(uint64_t value) { ref().store(value, std::memory_order_relaxed); }
    void store_release(uint64_t value) { ref().store(value, std::memory_order_release); }
    uint64_t exchange(uint64_t value) { return ref().exchange(value, std::memory_order_acq_rel); }
    uint64_t fetch_add_relaxed(uint64_t value) {
        return ref().fetch_add(value, std::memory_order_relaxed);
    }

  private:
    std::atomic_ref<uint64_t> ref() const {
        return std::atomic_ref<uint64_t>(const_cast<uint64_t&>(raw_));
    }
    alignas(8) uint64_t raw_;
};

inline void fence_acquire() { std::atomic_thread_fence(std::memory_order_acquire); }
inline void fence_release() { std::atomic_thread_fence(std::memory_order_release); }
inline void fence_seq_cst() { std::atomic_thread_fence(std::memory_order_seq_cst); }

/** A hazard store and the full fence behind it, which pairs with the node's fence_seq_cst in
 * Namespace::settle_limbo. On x86 one exchange is both, and cheaper than a store and mfence. */
inline void store_and_fence(SharedWord& word, uint64_t value) {
#if defined(__x86_64__)
    word.exchange(value);
    std::atomic_signal_fence(std::memory_order_seq_cst);
#else
    word.store_release(value);
    fence_seq_cst();
#endif
}

}  // namespace weft::fabric
#endif
