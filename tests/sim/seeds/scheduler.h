// The simulated machine's processor: processes made of fibers on one thread, one clock, and one
// source of chance, so that a seed decides who acts when, who is stopped or killed at which step,
// and which of the stores that it may read a load returns.
//
// Invariants: one fiber runs at a time and gives way only at a yield point (an access of
// shared memory, a lock, a wait, a piece of a copy); time passes with steps, and jumps when all
// wait; a dead process's fibers never run again, in the middle of whatever they did, and nothing of
// them is destroyed. One Scheduler lives at a time: the C library's calls for threads and time
// reach it (libc.cpp).
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fabric/memory/histories_sim.h"

namespace weft::seeds {

using fabric::sim::Clock;
using fabric::sim::Histories;

constexpr uint64_t kNever = UINT64_MAX;
constexpr uint64_t kMicrosecond = 1000;

/** splitmix64 (Steele et al., OOPSLA 2014). */
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t word = state_ += 0x9e3779b97f4a7c15;
        word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
        word = (word ^ word >> 27) * 0x94d049bb133111eb;
        return word ^ word >> 31;
    }
    /** 0 to count - 1. */
    uint64_t below(uint64_t count) {
        return static_cast<uint64_t>(static_cast<unsigned __int128>(next()) * count >> 64);
    }
    uint64_t between(uint64_t least, uint64_t most) { return least + below(most - least + 1); }
    bool one_in(uint64_t count) { return below(count) == 0; }
    /** Mostly small, at times large: each doubling as likely as the next. */
    uint64_t scale(uint64_t least, uint64_t most) {
        uint64_t top = least;
        while (top < most && !one_in(4)) top *= 2;
        return between(least, std::min(top, most));
    }

  private:
    uint64_t state_;
};

struct Proc {
    uint32_t id = 0;
    std::string name;
    bool alive = true;
    uint64_t paused_until = 0;
    uint64_t steps = 0;
    uint64_t kill_at = kNever;   // a step
    uint64_t pause_at = kNever;  // a step
    uint64_t pause_ns = 0;
    uint32_t pauses = 0;   // so far
    uint32_t copying = 0;  // threads in the middle of a copy
    uint32_t closing = 0;  // threads that close what they had open
    uint64_t lags = 0;     // of its next loads that may be stale, many are
};

struct Fiber {
    Proc* proc = nullptr;
    std::function<void()> body;
    ucontext_t context;
    jmp_buf place;
    bool begun = false;
    bool done = false;
    bool joined = false;
    const void* waits_for = nullptr;
    uint64_t wake_at = kNever;
    bool timed_out = false;
};

class Scheduler final : public fabric::sim::Chance {
  public:
    static constexpr uint64_t kStepsMax = 4'000'000;

    Scheduler(uint64_t seed, Histories& memory);
    ~Scheduler() override;

    Proc& start_process(const std::string& name, std::function<void()> main);
    uint32_t spawn(Proc& proc, std::function<void()> body);
    Fiber& fiber(uint32_t number) { return *fibers_[number]; }
    /** Until somebody stops it, or fails, or nobody can go on. */
    void run();
    void stop();
    /** What must not be is; ends the run. */
    void fail(const std::string& what);
    const std::string& failure() const { return failure_; }

    // From within a fiber.
    void yield() override;
    uint32_t choose(uint32_t count) override;
    uint64_t now() const override { return time_; }
    void sleep(uint64_t ns) { wait(nullptr, time_ + ns); }
    /** Until `wake`, or the deadline: then true. */
    bool wait(const void* key, uint64_t deadline);
    void wake(const void* key, bool all);
    void kill(Proc& proc);
    void pause(Proc& proc, uint64_t ns);
    bool inside() const { return current_ != nullptr; }
    const Proc& process(uint32_t id) const { return procs_[id]; }
    Proc& process() { return *current_->proc; }
    Random& random() { return random_; }
    /** Told of each death, before anybody acts again. */
    std::function<void(Proc&)> on_death;
    std::function<void(Proc&)> on_pause;

    bool tracing = false;
    void trace(const std::string& what);
    uint64_t steps() const { return steps_; }

  private:
    static void enter();
    void give_way();
    Fiber* pick();
    bool advance();
    void switch_to(Fiber* next);

    Random random_;
    Histories& memory_;
    uint64_t time_ = 1000 * uint64_t{1'000'000'000};
    uint64_t switch_one_in_;
    uint64_t stale_one_in_;
    uint64_t preempt_one_in_;  // 0: never
    uint64_t steps_ = 0;
    std::deque<Proc> procs_;
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<Fiber*> ready_;
    Fiber* current_ = nullptr;
    jmp_buf main_;
    bool stopping_ = false;
    std::string failure_;
};

/** The one that lives; nullptr: none does. */
Scheduler* scheduler();

}  // namespace weft::seeds
