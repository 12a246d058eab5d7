// Garbage, by a seed: into every byte of memory that a node shared and that may be written, and
// calls whose every number is wrong, or nearly right.
#pragma once
#include <cstdint>
#include <vector>

#include "tests/hostile/raw_client.h"

namespace weft::hostile {

/** Returns how many words were written and calls made. */
uint64_t write_garbage(RawClient& client, uint64_t seed, uint64_t milliseconds);

}  // namespace weft::hostile
