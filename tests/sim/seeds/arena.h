// The heap of a run: memory that goes as a whole when the run ends, since the processes that are
// killed in it never give theirs back. Its addresses are the same in each run of a seed.
//
// Invariants: what is given back in a run is poisoned and not given out again in it, so a use after
// that shows.
#pragma once
#include <cstddef>

namespace weft::seeds {

/** Until `leave`, operator new takes from the arena, which is empty at first. */
void enter_arena();
void leave_arena();

}  // namespace weft::seeds
