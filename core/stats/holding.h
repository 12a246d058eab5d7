// What a process keeps from others in one namespace: memory that cannot be given away, and keys
// that others wait for.
#pragma once
#include <cstdint>

namespace weft {

struct Holding {
    struct Slots {
        uint64_t count = 0;
        uint64_t bytes = 0;
        void add(uint64_t slots, uint64_t slot_bytes) {
            count += slots;
            bytes += slots * slot_bytes;
        }
    };
    uint64_t openings = 0;
    Slots viewed;       // under its views, each block once
    Slots pinned;       // by its pins
    Slots writing;      // blocks that it writes
    Slots quarantined;  // of ended attempts, until it says that it writes there no more
    Slots stocked;      // slots that it may fill without asking
    uint64_t claims = 0;
    uint64_t waiting = 0;  // items of its ops that wait
};

}  // namespace weft
