// Short calls against those who take something away: a call is inside between enter and leave;
// whoever has unhooked a thing waits in synchronize until no call that may still see it is inside.
// Two counters, used in turn (as sleepable RCU does), so that new calls do not keep the waiter.
//
// Invariants: what is inside never blocks for long; synchronize is not called from inside.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>

namespace weft {

class ReadSide {
  public:
    uint32_t enter() {
        for (;;) {
            // Relaxed: only a guess, which the second load proves.
            uint32_t phase = phase_.load(std::memory_order_relaxed) & 1;
            // Seq_cst: pairs with the flip in synchronize. Either that sees this call, or this call
            // sees the flip's effects.
            inside_[phase].fetch_add(1, std::memory_order_seq_cst);
            if ((phase_.load(std::memory_order_seq_cst) & 1) == phase) return phase;
            inside_[phase].fetch_sub(1, std::memory_order_release);  // as in leave
        }
    }
    /** Release: pairs with the load in synchronize, behind which nothing of this call is left. */
    void leave(uint32_t phase) { inside_[phase].fetch_sub(1, std::memory_order_release); }

    void synchronize() {
        std::lock_guard<std::mutex> guard(lock_);
        // Both seq_cst: the flip before the look at the count, as enter counts before it looks.
        uint32_t before = phase_.fetch_add(1, std::memory_order_seq_cst) & 1;
        while (inside_[before].load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
    }

    class Section {
      public:
        explicit Section(ReadSide& side) : side_(side), phase_(side.enter()) {}
        ~Section() { side_.leave(phase_); }
        Section(const Section&) = delete;
        Section& operator=(const Section&) = delete;

      private:
        ReadSide& side_;
        uint32_t phase_;
    };

  private:
    std::atomic<uint32_t> phase_{0};
    std::atomic<uint64_t> inside_[2] = {0, 0};
    std::mutex lock_;  // one synchronize at a time
};

}  // namespace weft
