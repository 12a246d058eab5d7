// The twin of shared_word.h for the simulators (WEFT_SIM): the same classes and functions over a
// model of memory that is as weak as C++'s, so that a fence which x86 alone would hide can be
// missed and found missing. There are two models: Machine (machine_sim.h) for executions that are
// explored exhaustively, Histories (histories_sim.h) for long ones that are drawn at random.
//
// Invariants: one model at a time lives, and each access goes to it. Out of both models: loads that
// return a store which was made only because of them.
#pragma once
#include <cstdint>

namespace weft::fabric {
namespace sim {

enum class Order : uint8_t { relaxed, acquire, release };

/** Memory that actors share. The accesses of SharedWord reach it through `model()`. */
class Model {
  public:
    Model();
    virtual ~Model();
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    virtual uint64_t load(const uint64_t* raw, Order order) = 0;
    virtual void store(uint64_t* raw, uint64_t value, Order order) = 0;
    /** A read-modify-write: returns what was there. */
    virtual uint64_t update(uint64_t* raw, uint64_t value, bool add, bool acquire_release) = 0;
    virtual void fence(Order order) = 0;
    virtual void fence_seq_cst() = 0;
};

Model& model();

}  // namespace sim

class SharedWord {
  public:
    uint64_t load_relaxed() const { return sim::model().load(&raw_, sim::Order::relaxed); }
    uint64_t load_acquire() const { return sim::model().load(&raw_, sim::Order::acquire); }
    void store_relaxed(uint64_t value) { sim::model().store(&raw_, value, sim::Order::relaxed); }
    void store_release(uint64_t value) { sim::model().store(&raw_, value, sim::Order::release); }
    uint64_t exchange(uint64_t value) { return sim::model().update(&raw_, value, false, true); }
    uint64_t fetch_add_relaxed(uint64_t value) {
        return sim::model().update(&raw_, value, true, false);
    }

  private:
    alignas(8) uint64_t raw_;
};

inline void fence_acquire() { sim::model().fence(sim::Order::acquire); }
inline void fence_release() { sim::model().fence(sim::Order::release); }
inline void fence_seq_cst() { sim::model().fence_seq_cst(); }

/** As where an exchange is not the fence: off x86. */
inline void store_and_fence(SharedWord& word, uint64_t value) {
    word.store_release(value);
    fence_seq_cst();
}

}  // namespace weft::fabric
