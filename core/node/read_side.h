// Short calls against those who take something away: a call is inside between enter and leave;
// whoever has unhooked a thing waits in synchronize until no call that may still see it is inside.
// Two counters, used in turn (as sleepable RCU does), so that new calls do not keep the waiter.
//
// Invariants: what is inside is short and waits for nobody: it finds a thing and counts itself in
// there, or puts its hazard on a block, or looks at a bounded number of blocks; copies and lists
// are outside. synchronize is not called from inside, nor under a lock that others wait for.
#pragma once
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <mutex>

#include "fabric/clock/clock.h"

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
    /** Release: pairs with the load in `empty`, behind which nothing of this call is left. */
    void leave(uint32_t phase) { inside_[phase].fetch_sub(1, std::memory_order_release); }

    /** Until no call is inside that was when this began. False: the deadline came first. */
    bool synchronize(uint64_t deadline = UINT64_MAX) {
        Patience patience(deadline);
        while (!lock_.try_lock()) {
            if (!patience.wait()) return false;
        }
        std::lock_guard<std::mutex> guard(lock_, std::adopt_lock);
        uint32_t before = phase_.load(std::memory_order_relaxed) & 1;  // changed under the lock
        // One that gave up may have left calls inside with the other count.
        while (!empty(before ^ 1)) {
            if (!patience.wait()) return false;
        }
        // Seq_cst, and so the loads in `empty`: the flip before the look at the count, as enter
        // counts before it looks.
        phase_.fetch_add(1, std::memory_order_seq_cst);
        while (!empty(before)) {
            if (!patience.wait()) return false;
        }
        return true;
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
    /** Gives its processor away, then sleeps, until the deadline. */
    class Patience {
      public:
        explicit Patience(uint64_t deadline) : deadline_(deadline) {}
        bool wait() {
            if (fabric::boot_time() >= deadline_) return false;
            if (turns_++ < 100) {
                sched_yield();
            } else {
                usleep(100);
            }
            return true;
        }

      private:
        uint64_t deadline_;
        uint32_t turns_ = 0;
    };
    bool empty(uint32_t phase) const { return inside_[phase].load(std::memory_order_seq_cst) == 0; }

    std::atomic<uint32_t> phase_{0};
    std::atomic<uint64_t> inside_[2] = {0, 0};
    std::mutex lock_;  // one synchronize at a time
};

}  // namespace weft
