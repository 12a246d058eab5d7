// Depth-first search by running again, and the fibers that it runs.
#include "tests/sim/explorer.h"

#include <cstdio>
#include <cstdlib>

namespace weft::sim {
namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr uint32_t kNobody = UINT32_MAX;

}  // namespace

Explorer::Explorer(Machine& machine) : machine_(machine) {
    for (Fiber& fiber : fibers_) fiber.stack.resize(kStackBytes);
}

Exploration Explorer::explore(const Make& make) {
    result_ = Exploration();
    tracing_ = false;
    machine_.forget();
    visited_.clear();
    decisions_.clear();
    do {
        execute(make);
        // Words newly found to be shared had no yield points: from the start.
        if (machine_.grow()) {
            result_ = Exploration();
            visited_.clear();
            decisions_.clear();
            continue;
        }
        if (!result_.violation.empty()) break;
        if (!next_decisions()) break;
    } while (true);
    result_.states = visited_.size();
    if (!result_.violation.empty()) {
        result_.trace.clear();
        tracing_ = true;
        decisions_.resize(at_);
        execute(make);
    }
    return result_;
}

/** The last decision that has another alternative takes it; those behind it are open again. */
bool Explorer::next_decisions() {
    while (!decisions_.empty()) {
        Decision& last = decisions_.back();
        if (++last.chosen < last.count) return true;
        decisions_.pop_back();
    }
    return false;
}

void Explorer::execute(const Make& make) {
    machine_.reset();
    run_ = make(*this);
    at_ = 0;
    steps_ = 0;
    switches_ = 0;
    result_.executions++;
    for (uint32_t i = 0; i < run_->actors.size(); i++) {
        Fiber& fiber = fibers_[i];
        fiber.done = false;
        fiber.begun = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &main_;
        auto self = reinterpret_cast<uintptr_t>(this);
        makecontext(&fiber.context, reinterpret_cast<void (*)()>(&enter), 2,
                    static_cast<uint32_t>(self), static_cast<uint32_t>(self >> 32));
    }
    machine_.begin(*this);
    // Each comes to a stand before its first access to a shared word.
    for (uint32_t i = 0; i < run_->actors.size(); i++) {
        machine_.set_actor(i);
        swapcontext(&main_, &fibers_[i].context);
    }
    uint32_t first = next_actor();
    if (first != kNobody) {
        machine_.set_actor(first);
        swapcontext(&main_, &fibers_[first].context);
    }
    machine_.stop();
    // Cut short: the others run to their ends, one after the other.
    for (uint32_t i = 0; i < run_->actors.size(); i++) {
        if (fibers_[i].done) continue;
        machine_.set_actor(i);
        swapcontext(&main_, &fibers_[i].context);
    }
    run_.reset();
}

void Explorer::enter(uint32_t low, uint32_t high) {
    reinterpret_cast<Explorer*>(uintptr_t{high} << 32 | low)->run_actor();
}

void Explorer::run_actor() {
    uint32_t actor = machine_.actor();
    run_->actors[actor]();
    fibers_[actor].done = true;
    if (fibers_[actor].begun) yield();
}

/** Who acts next: any that is not at its end, the current one first; kNobody: none goes on. */
uint32_t Explorer::next_actor() {
    if (!machine_.running()) return kNobody;
    if (++steps_ > kStepsMax) {
        result_.cut++;
        machine_.stop();
        return kNobody;
    }
    // Behind the decisions that are given: is this where some other execution was?
    bool bounded = run_->switches != UINT32_MAX;
    uint64_t state = machine_.state() + (bounded ? switches_ + 64 * machine_.actor() : 0);
    if (at_ >= decisions_.size() && !tracing_ && !visited_.insert(state).second) {
        machine_.stop();
        return kNobody;
    }
    std::array<uint32_t, kActorsMax> able{};
    uint32_t count = 0;
    auto actors = static_cast<uint32_t>(run_->actors.size());
    for (uint32_t i = 0; i < actors; i++) {
        uint32_t actor = (machine_.actor() + i) % actors;
        if (!fibers_[actor].done) able[count++] = actor;
    }
    if (count == 0) return kNobody;
    bool goes_on = able[0] == machine_.actor();
    if (goes_on && switches_ >= run_->switches) count = 1;
    uint32_t next = able[count > 1 ? choose(count) : 0];
    if (goes_on && next != able[0]) switches_++;
    return machine_.running() ? next : kNobody;
}

void Explorer::yield() {
    uint32_t current = machine_.actor();
    Fiber& fiber = fibers_[current];
    if (!fiber.begun) {
        fiber.begun = true;
        swapcontext(&fiber.context, &main_);
        return;
    }
    uint32_t next = next_actor();
    if (next == kNobody || next == current) return;
    machine_.set_actor(next);
    swapcontext(&fiber.context, &fibers_[next].context);
}

uint32_t Explorer::choose(uint32_t count) {
    if (at_ == decisions_.size()) {
        if (tracing_) {
            machine_.stop();
            return 0;
        }
        decisions_.push_back({0, static_cast<uint8_t>(count)});
    }
    if (decisions_[at_].count != count) {
        std::fprintf(stderr,
                     "sim: an actor is not deterministic: %u alternatives where there were %u\n",
                     count, decisions_[at_].count);
        abort();
    }
    return decisions_[at_++].chosen;
}

uint32_t Explorer::chance(uint32_t count) {
    if (!machine_.running()) return 0;
    uint32_t chosen = choose(count);
    machine_.note(chosen);
    return chosen;
}

void Explorer::fail(const std::string& what) {
    if (!machine_.running()) return;
    if (result_.violation.empty()) result_.violation = what;
    machine_.stop();
}

void Explorer::race(const uint64_t* word) {
    fail(run_->name(word) + " is accessed while another actor may still access it");
}

void Explorer::saw(const char* what, const uint64_t* word, uint64_t value, uint32_t stale) {
    if (!tracing_ || !machine_.running()) return;
    char line[160];
    std::snprintf(line, sizeof(line), "    %*s%s %s %llx%s\n",
                  static_cast<int>(machine_.actor()) * 40, "", what,
                  word == nullptr ? "" : run_->name(word).c_str(),
                  static_cast<unsigned long long>(value),
                  stale > 0 ? (" (" + std::to_string(stale) + " behind)").c_str() : "");
    result_.trace += line;
}

}  // namespace weft::sim
