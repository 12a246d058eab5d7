// Runs the actors of a scenario in every order and with every outcome of every load that the model
// allows: depth first over the decisions, each execution from the start. A state that was reached
// before is not gone on from, so that the cost is that of the states and not of the orders that
// lead to them.
//
// Invariants: actors are fibers of this thread and deterministic but for the decisions; a decision
// is either who acts next or which store a load returns; an execution that is cut short (a known
// state, a violation) runs to its end with the machine stopped, so that whatever its actors own is
// destroyed, and what it finds then is not believed.
#pragma once
#include <ucontext.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "fabric/memory/machine_sim.h"
#include "fabric/memory/shared_word.h"

namespace weft::sim {

using fabric::sim::kActorsMax;
using fabric::sim::Machine;

/** What one execution runs; made anew for each, with the machine's memory zeroed before. */
class Run {
  public:
    virtual ~Run() = default;
    std::vector<std::function<void()>> actors;
    /** How often an actor may be left that could go on; beyond that it goes on. A bound for what
     * has too many orders. */
    uint32_t switches = UINT32_MAX;
    /** A word's name in a trace. */
    virtual std::string name(const uint64_t* word) const = 0;
};

struct Exploration {
    uint64_t executions = 0;
    uint64_t states = 0;
    uint64_t cut = 0;  // executions that went on for too long; nothing is known of what follows
    std::string violation;  // empty: none
    std::string trace;      // of the violation
};

class Explorer : public fabric::sim::Decider {
  public:
    using Make = std::function<std::unique_ptr<Run>(Explorer&)>;
    static constexpr uint32_t kStepsMax = 1000;  // decisions and yields of one execution

    explicit Explorer(Machine& machine);
    Exploration explore(const Make& make);
    /** An actor has seen what must not be. */
    void fail(const std::string& what);
    Machine& machine() { return machine_; }

    /** Either may be: an actor's own chance, not memory's. */
    uint32_t chance(uint32_t count);
    void yield() override;
    uint32_t choose(uint32_t count) override;
    void race(const uint64_t* word) override;
    void saw(const char* what, const uint64_t* word, uint64_t value, uint32_t stale) override;

  private:
    struct Decision {
        uint8_t chosen;
        uint8_t count;
    };
    struct Fiber {
        ucontext_t context;
        std::vector<char> stack;
        bool begun = false;  // came to its first access
        bool done = true;
    };

    void execute(const Make& make);
    bool next_decisions();
    uint32_t next_actor();
    static void enter(uint32_t low, uint32_t high);
    void run_actor();

    Machine& machine_;
    Exploration result_;
    std::unordered_set<uint64_t> visited_;
    std::vector<Decision> decisions_;
    size_t at_ = 0;
    uint32_t steps_ = 0;
    uint32_t switches_ = 0;
    std::unique_ptr<Run> run_;
    std::array<Fiber, kActorsMax> fibers_;
    ucontext_t main_;
    bool tracing_ = false;
};

}  // namespace weft::sim
