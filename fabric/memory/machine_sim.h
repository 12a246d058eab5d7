// The model of memory for exhaustive exploration (tests/sim/explorer.h).
//
// It keeps, for each word that actors share, every store made to it, and for each actor a view: the
// oldest store of each word that it may still read. A load may return any store from there on, so a
// store that still waits in its writer's buffer and a stale line in its reader's cache are one
// thing here: a store that this reader does not read yet. A release hands the storer's view on with
// the value, an acquire takes it over, fences do so for the relaxed accesses around them, and
// seq_cst fences also join one view of all, of words: they order plain accesses only as the fences
// that they are besides. This is RC11 (Lahav et al., PLDI 2017) run forward.
//
// Invariants: one actor alone stores to a word, but for plain bytes, whose writers must be in order
// (else it is a race); a yield point precedes each load of a word that
// another actor stores to, and each seq_cst fence. A store needs none: made early, it may still be
// read late. Words that only one actor uses, or that nobody stores to, cost nothing. Actors see
// nothing of each other but through these words.
#pragma once
#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "fabric/memory/shared_word_sim.h"

namespace weft::fabric::sim {

constexpr uint32_t kActorsMax = 4;
constexpr uint32_t kSharedMax = 124;  // words that more than one actor uses, one of them to store

/** What an actor must see: per actor its count of plain accesses, per shared word the number of a
 * store. */
using View = std::array<uint8_t, kActorsMax + kSharedMax>;

/** Who decides, and is told. */
class Decider {
  public:
    virtual ~Decider() = default;
    /** The current actor is about to act; others may go first. */
    virtual void yield() = 0;
    /** Which of `count` (at least 2) stores a load returns: 0 is the newest. */
    virtual uint32_t choose(uint32_t count) = 0;
    virtual void race(const uint64_t* word) = 0;
    virtual void saw(const char* what, const uint64_t* word, uint64_t value, uint32_t stale) = 0;
};

class Machine : public Model {
  public:
    explicit Machine(size_t words);

    uint64_t* memory() { return memory_.data(); }
    /** Zeroes the memory; accesses are plain until `begin`. */
    void reset();
    /** From here on each access is one of an actor's, until `stop`. */
    void begin(Decider& decider);
    void stop() { running_ = false; }
    bool running() const { return running_; }
    void set_actor(uint32_t actor) { actor_ = actor; }
    uint32_t actor() const { return actor_; }
    /** Forgets which words are shared: other actors come. */
    void forget();
    /** Takes words that were found to be shared into account; false: there were none. What was
     * explored before does not count. */
    bool grow();
    /** Of all that can bear on what happens next, given that actors are deterministic. */
    uint64_t state() const;
    /** The current actor goes on in one of several ways. */
    void note(uint64_t way) { remember(actors_[actor_], way); }

    uint64_t load(const uint64_t* raw, Order order) override;
    void store(uint64_t* raw, uint64_t value, Order order) override;
    uint64_t update(uint64_t* raw, uint64_t value, bool add, bool acquire_release) override;
    void fence(Order order) override;
    void fence_seq_cst() override;
    /** Bytes that are no atomics: an access not ordered behind the other actors' is a race,
     * reported. */
    uint64_t plain_load(const uint64_t* raw);
    void plain_store(uint64_t* raw, uint64_t value);

  private:
    struct Store {
        uint64_t value;
        View view;
    };
    struct Shared {
        uint64_t* raw;
        std::vector<Store> stores;
        uint32_t writer = 0;  // of plain bytes: who, and at which of its counts
        uint8_t written = 0;
        std::array<uint8_t, kActorsMax> read{};
    };
    struct Actor {
        View now{};
        View acquired{};  // what an acquire fence adds
        View released{};  // what relaxed stores carry since the last release fence
        uint64_t past = 0;
    };
    enum Use : uint8_t { kLoads = 0, kStores = kActorsMax };

    Shared* shared(const uint64_t* raw, Use use, bool plain = false);
    void append(Shared& word, uint64_t value, const View& carried);
    static void remember(Actor& actor, uint64_t value);
    uint64_t hash_plain(const Shared& word) const;

    std::vector<uint64_t> memory_;
    std::vector<uint8_t> number_;  // by word: 1 + index in shared_, 0: not shared
    std::vector<uint8_t>
        users_;  // by word: who loaded, who stored, in all executions since `forget`
    std::vector<uint64_t*> found_;
    std::vector<uint64_t*> dirty_;
    std::vector<Shared> shared_;
    std::array<Actor, kActorsMax> actors_;
    View fenced_{};  // by seq_cst fences; of words only
    uint64_t memory_hash_ = 0;
    uint32_t actor_ = 0;
    bool running_ = false;
    Decider* decider_ = nullptr;
};

}  // namespace weft::fabric::sim
