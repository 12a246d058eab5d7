// What the two models of memory allow and forbid, by small programs each of which shows one rule of
// C++: all its executions are run, and the outcomes that may be must come, those that may not must
// not. A model that is too strong hides bugs; one that is too weak finds bugs that are none.
//
// A program is a line a thread. Its words: `x=1` and `x=.1` store (relaxed, release), `x` and `.x`
// load (relaxed, acquire), `x+1` adds (relaxed), `acq`, `rel` and `sc` are fences, `?1` ends the
// thread unless its last load gave 1, `write` and `read` touch plain bytes. An outcome is what the
// loads gave, thread by thread; "race" if plain bytes were touched without an order.
#include <cstdio>
#include <cstring>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "fabric/memory/histories_sim.h"
#include "tests/sim/explorer.h"

namespace weft::sim {
namespace {

using fabric::SharedWord;
using fabric::sim::Histories;
using Outcomes = std::set<std::string>;

struct Litmus {
    const char* name;
    std::vector<const char*> threads;
    std::vector<const char*> may;
    std::vector<const char*> may_not;
};

const std::vector<Litmus>& programs() {
    static const std::vector<Litmus> kPrograms = {
        {"a thread does not read backwards", {"x=1", "x x"}, {"01", "11", "00"}, {"10"}},
        {"store buffering", {"x=1 y", "y=1 x"}, {"00", "01", "10", "11"}, {}},
        {"store buffering, released and acquired", {"x=.1 .y", "y=.1 .x"}, {"00"}, {}},
        {"store buffering, fenced", {"x=1 sc y", "y=1 sc x"}, {"01", "10", "11"}, {"00"}},
        {"store buffering, one fence missing", {"x=1 sc y", "y=1 x"}, {"00"}, {}},
        {"store buffering, one fence acquires only", {"x=1 sc y", "y=1 acq x"}, {"00"}, {}},
        {"a message, relaxed", {"x=1 y=1", "y x"}, {"10", "00", "11", "01"}, {}},
        {"a message, released and acquired", {"x=1 y=.1", ".y x"}, {"00", "01", "11"}, {"10"}},
        {"a message, acquired only", {"x=1 y=1", ".y x"}, {"10"}, {}},
        {"a message, released only", {"x=1 y=.1", "y x"}, {"10"}, {}},
        {"a message by fences", {"x=1 rel y=1", "y acq x"}, {"00", "01", "11"}, {"10"}},
        {"a message by seq_cst fences", {"x=1 sc y=1", "y sc x"}, {"01", "11"}, {"10"}},
        {"a message, fence behind both stores", {"x=1 y=1 sc", "y sc x"}, {"10", "11"}, {}},
        {"a message, fences of others", {"x=1 y=1", ".y x", "sc sc", "z=1 sc"}, {"10"}, {}},
        {"a message handed on", {"x=1 y=.1", ".y ?1 z=.1", ".z x"}, {"111"}, {"110"}},
        {"a message handed on, relaxed", {"x=1 y=.1", "y ?1 z=.1", ".z x"}, {"110"}, {}},
        {"two readers, acquiring", {"x=1", "y=1", ".x .y", ".y .x"}, {"1010", "1111"}, {}},
        {"two readers, fenced", {"x=1", "y=1", "x sc y", "y sc x"}, {"1011"}, {"1010"}},
        {"two readers, one fenced", {"x=1", "y=1", "x sc y", ".y .x"}, {"1010"}, {}},
        // The first fence comes before the second if the first thread's load gives 0.
        {"what fences oblige to is handed on",
         {"x=1 sc z", "z=1 sc y=.1", ".y x"},
         {"011", "110", "000"},
         {"010"}},
        {"what fences oblige to is not handed on, relaxed",
         {"x=1 sc z", "z=1 y=1", ".y x"},
         {"010"},
         {}},
        {"bytes, relaxed", {"write y=1", ".y ?1 read"}, {"race"}, {}},
        {"bytes, released and acquired", {"write y=.1", ".y ?1 read"}, {"1", "0"}, {"race"}},
        {"bytes, handed back", {"read y=.1", ".y ?1 write"}, {"1"}, {"race"}},
        {"bytes by fences", {"write rel y=1", "y acq ?1 read"}, {"1"}, {"race"}},
        {"bytes by seq_cst fences", {"write sc y=1", "y sc ?1 read"}, {"1"}, {"race"}},
        {"bytes, fence behind the store", {"write y=1 sc", "y sc ?1 read"}, {"race"}, {}},
        {"bytes, fences alone order nobody", {"write sc", "sc read"}, {"race"}, {""}},
        {"bytes, nor where the order is known",
         {"write sc z ?0 y=1", "z=1 sc y ?1 read"},
         {"race"},
         {}},
        {"bytes by a seq_cst fence and an acquire",
         {"write sc x=1 y=1", ".y ?1 read", "sc"},
         {"1"},
         {"race"}},
        {"bytes, the writer's fence is of another store",
         {"write x=1 sc z", ".x ?1 sc read"},
         {"race"},
         {}},
        {"bytes, handed on by one who adds",
         {"write y=.1", "y+1", ".y ?2 read"},
         {"2", "0", "1"},
         {"race"}},
    };
    return kPrograms;
}

/** One thread's words, one at a time. */
class Thread {
  public:
    explicit Thread(const char* program) {
        std::istringstream words(program);
        for (std::string word; words >> word;) words_.push_back(word);
    }
    bool over() const { return at_ >= words_.size(); }
    const std::string& got() const { return got_; }
    /** The next one, but for plain bytes, which `bytes` touches (true: to write). */
    template <typename F>
    void step(SharedWord* memory, F bytes) {
        const std::string& word = words_[at_++];
        if (word == "acq") return fabric::fence_acquire();
        if (word == "rel") return fabric::fence_release();
        if (word == "sc") return fabric::fence_seq_cst();
        if (word == "write" || word == "read") return bytes(word == "write");
        if (word[0] == '?') {
            if (got_.empty() || got_.back() != word[1]) at_ = words_.size();
            return;
        }
        bool acquire = word[0] == '.';
        SharedWord& shared = memory[word[acquire ? 1 : 0] - 'x'];
        uint64_t number = static_cast<uint64_t>(word.back() - '0');
        if (word.find('+') != std::string::npos) {
            (void)shared.fetch_add_relaxed(number);
        } else if (word.find("=.") != std::string::npos) {
            shared.store_release(number);
        } else if (word.find('=') != std::string::npos) {
            shared.store_relaxed(number);
        } else {
            got_ += std::to_string(acquire ? shared.load_acquire() : shared.load_relaxed());
        }
    }

  private:
    std::vector<std::string> words_;
    size_t at_ = 0;
    std::string got_;
};

std::string outcome_of(const std::vector<Thread>& threads) {
    std::string outcome;
    for (const Thread& thread : threads) outcome += thread.got();
    return outcome;
}

/** Takes every way through what is decided, one after the other. */
class Ways final : public fabric::sim::Chance {
  public:
    uint32_t choose(uint32_t count) override {
        if (at_ == taken_.size()) taken_.push_back({0, count});
        return taken_[at_++].chosen;
    }
    void yield() override {}
    uint64_t now() const override { return 0; }
    bool next() {
        at_ = 0;
        for (; !taken_.empty(); taken_.pop_back()) {
            if (++taken_.back().chosen < taken_.back().count) return true;
        }
        return false;
    }

  private:
    struct Taken {
        uint32_t chosen;
        uint32_t count;
    };
    std::vector<Taken> taken_;
    size_t at_ = 0;
};

Outcomes by_histories(const Litmus& program) {
    Histories memory;
    Ways ways;
    Outcomes outcomes;
    do {
        memory.reset(ways, UINT64_MAX / 2);
        std::vector<Thread> threads(program.threads.begin(), program.threads.end());
        bool raced = false;
        for (;;) {
            std::vector<uint32_t> able;
            for (uint32_t i = 0; i < threads.size(); i++)
                if (!threads[i].over()) able.push_back(i);
            if (able.empty()) break;
            auto count = static_cast<uint32_t>(able.size());
            uint32_t who = able[count > 1 ? ways.choose(count) : 0];
            memory.set_process(who);
            threads[who].step(reinterpret_cast<SharedWord*>(memory.words()), [&](bool write) {
                raced |= !(write ? memory.write_bytes(memory.bytes(), 8)
                                 : memory.read_bytes(memory.bytes(), 8));
            });
        }
        memory.set_process(Histories::kOutside);
        outcomes.insert(raced ? "race" : outcome_of(threads));
    } while (ways.next());
    return outcomes;
}

class Execution final : public Run {
  public:
    Execution(const Litmus& program, Machine& machine, Outcomes& outcomes)
        : threads_(program.threads.begin(), program.threads.end()), left_(threads_.size()) {
        uint64_t* memory = machine.memory();
        for (Thread& thread : threads_) {
            actors.push_back([this, &thread, &machine, &outcomes, memory] {
                while (!thread.over()) {
                    thread.step(reinterpret_cast<SharedWord*>(memory), [&](bool write) {
                        write ? machine.plain_store(memory + 8, 1)
                              : (void)machine.plain_load(memory + 8);
                    });
                }
                if (--left_ == 0 && machine.running()) outcomes.insert(outcome_of(threads_));
            });
        }
    }
    std::string name(const uint64_t*) const override { return "a word"; }

  private:
    std::vector<Thread> threads_;
    size_t left_;
};

/** Ends at the first race, if one may be. */
Outcomes by_machine(const Litmus& program) {
    Machine machine(16);
    Explorer explorer(machine);
    Outcomes outcomes;
    Exploration explored = explorer.explore(
        [&](Explorer&) { return std::make_unique<Execution>(program, machine, outcomes); });
    if (explored.violation.empty()) return outcomes;
    return {"race"};
}

bool holds(const char* model, const Litmus& program, const Outcomes& outcomes) {
    std::string wrong;
    for (const char* outcome : program.may)
        if (!outcomes.contains(outcome)) wrong += std::string(" not \"") + outcome + "\"";
    for (const char* outcome : program.may_not)
        if (outcomes.contains(outcome)) wrong += std::string(" \"") + outcome + "\"";
    if (!wrong.empty())
        std::printf("FAILED: %s (%s) ends in%s\n", program.name, model, wrong.c_str());
    return wrong.empty();
}

}  // namespace
}  // namespace weft::sim

int main() {
    uint32_t passed = 0;
    uint32_t failed = 0;
    for (const weft::sim::Litmus& program : weft::sim::programs()) {
        (holds("Histories", program, weft::sim::by_histories(program)) ? passed : failed)++;
        // A word has one storer there.
        if (strchr(program.threads[1], '+') != nullptr) continue;
        (holds("Machine", program, weft::sim::by_machine(program)) ? passed : failed)++;
    }
    std::printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
