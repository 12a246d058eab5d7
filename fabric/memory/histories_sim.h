// The model of memory for long random runs (tests/sim/seeds): as weak as C++'s, at a cost that
// grows with the words that are shared and not with the run.
//
// For each word that is stored to it keeps the last few stores; for each process a clock: how much
// of every process's past it must have seen. Each store and each load of a shared word is an event
// of its process. A load may return any kept store that is not older than one which an event in the
// loader's past wrote or read; so a store that waits in a buffer and a line that is stale in a
// cache are the same thing, a store that is not read yet. A release hands the storer's clock on
// with the value, an acquire takes it over, and fences do so for the relaxed accesses around them.
// Block bytes are no atomics: an access that is not ordered behind the other processes' is reported
// as a race.
//
// A seq_cst fence orders no process behind another; it only says what a load may not return any
// more ([atomics.order] 4): if fence Y comes before fence X in their one order, a load behind X
// returns no store older than one which an event before Y wrote or read. "Behind" and "before" are
// happens-before. So each fence has a view: all that happened before it or an earlier one; a clock
// names the newest fence in its past, whose view holds the others'; and a load is bound by its
// process's clock and by that view, a race by the clock alone.
//
// Invariants: what is forgotten (old stores, old reads) only ever forbids, so every outcome is one
// that C++ allows; threads of one process share a clock, as if they ran on one processor; a store
// is seen by everybody some time after it was made, which C++ leaves open and machines do not.
#pragma once
#include <array>
#include <cstddef>
#include <vector>

#include "fabric/memory/shared_word_sim.h"

namespace weft::fabric::sim {

constexpr uint32_t kProcessesMax = 24;  // of one run, dead ones too

struct Clock {
    std::array<uint32_t, kProcessesMax> at{};  // what happened before
    uint32_t fence = 0;                        // the newest seq_cst fence that did, by number
    void join(const Clock& other) {
        for (uint32_t i = 0; i < kProcessesMax; i++)
            if (other.at[i] > at[i]) at[i] = other.at[i];
        if (other.fence > fence) fence = other.fence;
    }
};

/** Who decides. */
class Chance {
  public:
    virtual ~Chance() = default;
    /** The current process is about to look at memory that others store to, or to store to memory
     * that others look at. */
    virtual void yield() = 0;
    /** Which of `count` (at least 2) stores a load returns: 0 is the newest. */
    virtual uint32_t choose(uint32_t count) = 0;
    virtual uint64_t now() const = 0;
};

class Histories : public Model {
  public:
    static constexpr size_t kWords = size_t{8} << 20;
    static constexpr size_t kBytesMax = size_t{1} << 30;  // of plain memory
    static constexpr size_t kGranule = 1024;              // races are found between these
    static constexpr uint32_t kOutside = UINT32_MAX;      // no process acts: accesses are plain

    Histories();
    ~Histories() override;
    /** Zeroes the words, forgets everything. visible: ns after which everybody sees a store. */
    void reset(Chance& chance, uint64_t visible);
    void set_process(uint32_t process) { process_ = process; }
    uint64_t* words() { return words_; }
    std::byte* bytes() { return bytes_; }

    /** The clocks go with messages and other things that order processes. */
    const Clock& clock(uint32_t process) const { return clocks_[process].now; }
    void learn(uint32_t process, const Clock& of) { clocks_[process].now.join(of); }
    /** Accesses to plain memory, of any length. False: a race. */
    bool read_bytes(const std::byte* from, size_t size) { return touch(from, size, false); }
    bool write_bytes(const std::byte* to, size_t size) { return touch(to, size, true); }

    uint64_t load(const uint64_t* raw, Order order) override;
    void store(uint64_t* raw, uint64_t value, Order order) override;
    uint64_t update(uint64_t* raw, uint64_t value, bool add, bool acquire_release) override;
    void fence(Order order) override;
    void fence_seq_cst() override;
    uint64_t stale_loads() const { return stale_loads_; }

  private:
    static constexpr uint32_t kStores = 6;
    static constexpr uint32_t kSights = 4;
    struct Store {
        uint64_t value;
        uint64_t made;   // when
        uint32_t carry;  // a clock in carries_; 0: none
    };
    /** An event of a process that wrote or read a store: whoever has seen it reads that or newer.
     */
    struct Sight {
        uint32_t event;
        uint32_t store;
    };
    struct Sights {
        std::array<Sight, kSights> last;
        uint32_t count = 0;
    };
    struct Word {
        uint64_t* raw;
        uint32_t stores = 0;   // ever; the last kStores are kept, at their number modulo kStores
        uint32_t storers = 0;  // a bit a process
        uint32_t seers = 0;    // likewise: who loaded it or stored to it
        std::array<Store, kStores> last;
        std::array<Sights, kProcessesMax> sights;
    };
    struct Process {
        Clock now;
        Clock acquired;         // what an acquire fence adds
        uint32_t released = 0;  // the clock that relaxed stores carry
    };
    struct Granule {
        uint32_t run = 0;
        uint32_t writer = 0;
        uint32_t written = 0;
        std::array<uint32_t, kProcessesMax> read{};
    };

    Word* find(const uint64_t* raw) const;
    Word& know(uint64_t* raw);
    uint32_t oldest_for(const Word& word, const Process& process) const;
    Word& about_to_store(uint64_t* raw);
    uint32_t keep(const Clock& clock);
    void see(Word& word, uint32_t store);
    void append(Word& word, uint64_t value, uint32_t carry);
    bool touch(const std::byte* at, size_t size, bool write);

    uint64_t* words_;
    std::byte* bytes_;
    uint32_t* number_;  // by word: 1 + index in known_, 0: never stored to
    Granule* granules_;
    std::vector<Word> known_;
    size_t known_count_ = 0;
    std::vector<Clock> carries_;
    std::array<Process, kProcessesMax> clocks_;
    Clock fenced_;  // what happened before some seq_cst fence
    Chance* chance_ = nullptr;
    uint64_t visible_ = 0;
    uint32_t process_ = kOutside;
    uint32_t run_ = 0;
    uint64_t stale_loads_ = 0;
};

}  // namespace weft::fabric::sim
