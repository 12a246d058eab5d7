// Fibers: entered by setcontext, and from then on switched by setjmp and longjmp, which save no
// signal mask and so call no system.
#include "tests/sim/seeds/scheduler.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace weft::seeds {
namespace {

constexpr size_t kStackBytes = size_t{256} << 10;
constexpr size_t kFibersMax = 256;

Scheduler* the_scheduler = nullptr;  // the C library's calls have no place for it

std::byte* stacks() {
    static void* area = mmap(nullptr, kStackBytes * kFibersMax, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) abort();
    return static_cast<std::byte*>(area);
}

}  // namespace

Scheduler* scheduler() { return the_scheduler; }

Scheduler::Scheduler(uint64_t seed, Histories& memory) : random_(seed), memory_(memory) {
    if (the_scheduler != nullptr) abort();
    the_scheduler = this;
    static constexpr uint64_t kOften[] = {2, 4, 10, 30, 100};
    switch_one_in_ = kOften[random_.below(5)];
    stale_one_in_ = kOften[random_.below(4)];
    static constexpr uint64_t kSeldom[] = {0, 50, 200, 2000};
    preempt_one_in_ = kSeldom[random_.below(4)];
    memory_.reset(*this, random_.one_in(2) ? 1'000'000 : 50'000'000);
}

Scheduler::~Scheduler() { the_scheduler = nullptr; }

Proc& Scheduler::start_process(const std::string& name, std::function<void()> main) {
    auto id = static_cast<uint32_t>(procs_.size());
    if (id >= fabric::sim::kProcessesMax) abort();
    procs_.push_back({id, name});
    Proc& proc = procs_.back();
    // A process begins behind everything that was.
    for (const Proc& other : procs_) memory_.learn(id, memory_.clock(other.id));
    spawn(proc, std::move(main));
    return proc;
}

uint32_t Scheduler::spawn(Proc& proc, std::function<void()> body) {
    // The place, and the stack, of one that never runs again.
    uint32_t number = 0;
    auto over = [](const Fiber& one) { return !one.proc->alive || (one.done && one.joined); };
    while (number < fibers_.size() &&
           (fibers_[number].get() == current_ || !over(*fibers_[number])))
        number++;
    if (number >= kFibersMax) abort();
    if (number == fibers_.size()) fibers_.emplace_back();
    fibers_[number] = std::make_unique<Fiber>();
    Fiber& fiber = *fibers_[number];
    fiber.proc = &proc;
    fiber.body = std::move(body);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks() + number * kStackBytes;
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &enter, 0);
    return number;
}

void Scheduler::enter() {
    Scheduler& self = *the_scheduler;
    self.current_->body();
    self.current_->done = true;
    self.wake(self.current_, true);
    self.give_way();
}

void Scheduler::run() {
    if (_setjmp(main_) == 0) switch_to(pick());
    current_ = nullptr;
    memory_.set_process(Histories::kOutside);
}

void Scheduler::stop() {
    stopping_ = true;
    give_way();
}

void Scheduler::fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
    trace("VIOLATION: " + what);
    stop();
}

/** Who goes on: any that can, time moving on until somebody can; nullptr: the run is over. */
Fiber* Scheduler::pick() {
    if (stopping_) return nullptr;
    do {
        ready_.clear();
        for (const std::unique_ptr<Fiber>& fiber : fibers_) {
            if (fiber->done || !fiber->proc->alive || fiber->proc->paused_until > time_) continue;
            bool waits = fiber->waits_for != nullptr && fiber->wake_at > time_;
            if (!waits) ready_.push_back(fiber.get());
        }
    } while (ready_.empty() && advance());
    if (ready_.empty()) {
        failure_ = "nobody goes on: all wait for each other";
        return nullptr;
    }
    return ready_[random_.below(ready_.size())];
}

/** To the next instant at which somebody can go on. False: there is none. */
bool Scheduler::advance() {
    uint64_t next = kNever;
    for (const std::unique_ptr<Fiber>& fiber : fibers_) {
        if (fiber->done || !fiber->proc->alive) continue;
        uint64_t able = fiber->waits_for != nullptr ? fiber->wake_at : 0;
        next = std::min(next, std::max(able, fiber->proc->paused_until));
    }
    if (next == kNever) return false;
    time_ = std::max(time_, next);
    return true;
}

void Scheduler::switch_to(Fiber* next) {
    current_ = next;
    if (next == nullptr) _longjmp(main_, 1);
    if (next->waits_for != nullptr) {
        next->timed_out = true;  // nobody woke it
        next->waits_for = nullptr;
    }
    memory_.set_process(next->proc->id);
    if (next->begun) _longjmp(next->place, 1);
    next->begun = true;
    setcontext(&next->context);
}

void Scheduler::give_way() {
    Fiber* self = current_;
    Fiber* next = pick();
    if (next == self) {
        self->timed_out = self->waits_for != nullptr;
        self->waits_for = nullptr;
        return;
    }
    if (_setjmp(self->place) == 0) switch_to(next);
}

void Scheduler::yield() {
    if (current_ == nullptr) return;
    Proc& proc = *current_->proc;
    time_ += 10 + random_.below(120);
    proc.steps++;
    if (++steps_ > kStepsMax) fail("the run does not end");
    if (proc.steps >= proc.kill_at) kill(proc);
    if (proc.steps >= proc.pause_at) {
        proc.pause_at = kNever;
        pause(proc, proc.pause_ns);
    }
    if (!proc.alive || proc.paused_until > time_) return give_way();
    // Its processor is taken from this thread for a while.
    if (preempt_one_in_ != 0 && random_.one_in(preempt_one_in_))
        return sleep(
            random_.between(kMicrosecond, (random_.one_in(4) ? 5000 : 200) * kMicrosecond));
    if (random_.one_in(switch_one_in_)) give_way();
}

/** Stale loads come in runs: what one order alone keeps apart is a stale word beside a new one. */
uint32_t Scheduler::choose(uint32_t count) {
    Proc& proc = *current_->proc;
    if (proc.lags == 0) {
        if (!random_.one_in(stale_one_in_)) return 0;
        proc.lags = random_.scale(1, 16);
    }
    proc.lags--;
    if (random_.one_in(2)) return 0;
    return random_.one_in(2) ? count - 1 : static_cast<uint32_t>(random_.below(count));
}

bool Scheduler::wait(const void* key, uint64_t deadline) {
    Fiber& self = *current_;
    self.waits_for = key != nullptr ? key : &self;
    self.wake_at = deadline;
    self.timed_out = false;
    give_way();
    return self.timed_out;
}

void Scheduler::wake(const void* key, bool all) {
    std::vector<Fiber*>& waiting = ready_;
    waiting.clear();
    for (const std::unique_ptr<Fiber>& fiber : fibers_) {
        if (fiber->waits_for == key && !fiber->done && fiber->proc->alive)
            waiting.push_back(fiber.get());
    }
    if (!all && waiting.size() > 1) waiting = {waiting[random_.below(waiting.size())]};
    for (Fiber* fiber : waiting) {
        fiber->waits_for = nullptr;
        fiber->wake_at = kNever;
    }
}

void Scheduler::kill(Proc& proc) {
    if (!proc.alive) return;
    trace("kill -9 of " + proc.name);
    proc.alive = false;
    if (on_death) on_death(proc);
    if (current_ != nullptr && current_->proc == &proc) give_way();
}

void Scheduler::pause(Proc& proc, uint64_t ns) {
    trace("SIGSTOP of " + proc.name + " for " + std::to_string(ns / 1000) + " us");
    proc.paused_until = time_ + ns;
    proc.pauses++;
    if (on_pause) on_pause(proc);
}

void Scheduler::trace(const std::string& what) {
    if (!tracing) return;
    uint64_t ns = time_ - 1000 * uint64_t{1'000'000'000};
    std::printf("%4llu.%06llu %-9s %s\n", static_cast<unsigned long long>(ns / 1'000'000'000),
                static_cast<unsigned long long>(ns / 1000 % 1'000'000),
                current_ != nullptr ? current_->proc->name.c_str() : "", what.c_str());
}

}  // namespace weft::seeds
