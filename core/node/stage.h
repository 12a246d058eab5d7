// Who owns an operation: its state's stage, changed by whoever wins the exchange, and the mark by
// which others ask its owner to end it.
//
// Invariants: a state never returns, as its generation grows with each op; the new stage is stored
// before the mark is looked at, and the mark before the stage, both seq_cst, so that one of the two
// sees the other. An exchange that moves the stage is seq_cst, so also the acquire that pairs with
// the release of the owner before.
#pragma once
#include "core/node/queue.h"

namespace weft {

constexpr uint64_t kStageBits = 8;

inline uint64_t with_stage(uint64_t state, Stage stage) {
    return (state & ~((uint64_t{1} << kStageBits) - 1)) | static_cast<uint64_t>(stage);
}
inline Stage stage_of(uint64_t state) { return static_cast<Stage>(state & 0xff); }

inline bool move_stage(Operation& operation, uint64_t expected, Stage to) {
    return operation.state.compare_exchange_strong(expected, with_stage(expected, to),
                                                   std::memory_order_seq_cst);
}

inline bool cancelled(const Operation& operation) {
    // Seq_cst: see end_now. State relaxed: its generation is the caller's own.
    return operation.cancel.load(std::memory_order_seq_cst) ==
           (operation.state.load(std::memory_order_relaxed) >> kStageBits) + 1;
}

/** Ends the op that is in `state`, or has it end as soon as its owner gives it on: either the
 * owner, who stores the new stage before it looks at `cancel`, sees the mark, or this sees that
 * stage. False: the caller has nothing to end; true: the operation is the caller's, to fail. */
inline bool end_now(Operation& operation, uint64_t state) {
    uint64_t mark = (state >> kStageBits) + 1;
    uint64_t before = operation.cancel.load(std::memory_order_relaxed);
    // Never back to an earlier op of this place. The first load is a guess for the exchange, which
    // is seq_cst, before the load of state.
    while (before < mark && !operation.cancel.compare_exchange_weak(before, mark)) {
    }
    state = operation.state.load(std::memory_order_seq_cst);
    bool idle = stage_of(state) == Stage::waiting || stage_of(state) == Stage::queued;
    return idle && (state >> kStageBits) + 1 == mark &&
           move_stage(operation, state, Stage::running);
}

}  // namespace weft
