// One seed: a node, its clients, and what befalls them, from the first connect to the audit at the
// end.
#pragma once
#include <functional>
#include <set>
#include <string>

#include "tests/sim/seeds/host.h"

namespace weft::seeds {

/** What a failing seed is made smaller by: each takes away some of what it does. */
struct Less {
    uint32_t clients = UINT32_MAX;
    uint32_t operations = UINT32_MAX;
    uint32_t keys = UINT32_MAX;
    bool kills = true;
    bool pauses = true;
    bool cuts = true;
    bool node_ends = true;
    bool failures = true;       // of memory, maps and the disk
    std::string words() const;  // as arguments of the command
};

struct Ran {
    std::string failure;  // empty: none
    std::set<std::string> events;
    uint64_t steps = 0;
    uint64_t stale_loads = 0;
    uint64_t simulated_ns = 0;
};

Ran run_seed(uint64_t seed, const Less& less, Histories& memory, bool trace);
/** Events that a thousand seeds are to show, each in a hundredth of them. */
const std::vector<std::string>& named_events();

}  // namespace weft::seeds
