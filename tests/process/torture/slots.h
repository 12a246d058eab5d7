// The file that the driver (board.py) and all processes of a torture run map: what the driver asks
// of them, and what each has counted, in all languages at the same places.
//
// Invariants: it is 64-bit words, each written by one side only, whole. What a process counts
// outlives it: who takes its slot next goes on from there, so that a stamp is used once in a run.
// `floor` is written only after an advance to it has returned, so that whoever reads it may hold
// Weft to its word from then on. `node` changes before anything is done to the node, and is odd
// while somebody has no descriptor left: a pinned block may then be out of reach.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace torture {

constexpr uint32_t kSlots = 16;

struct Slot {
    std::atomic<uint64_t> stamps;  // used for attempts
    std::atomic<uint64_t> beat;    // steps: one that does not grow is a hang
    std::atomic<uint64_t> starts, hits, misses, saves, refused, unreachable, fenced, odd, wrong;
    std::atomic<uint64_t> copying;  // 1: in the middle of writing in place, 2: of a SAVE
    std::atomic<uint64_t> kills;    // of a storm: clients that it killed
    std::atomic<uint64_t> spare[3];
};

struct Board {
    std::atomic<uint64_t> stop, floor, node, pause_us;
    std::atomic<uint64_t> spare[12];
    Slot slots[kSlots];

    static Board& open(const char* path) {
        const int file = ::open(path, O_RDWR | O_CLOEXEC);
        void* at = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (file < 0 || at == MAP_FAILED) {
            std::fprintf(stderr, "torture: cannot map the board %s of %zu bytes\n", path,
                         sizeof(Board));
            std::exit(2);
        }
        close(file);
        return *static_cast<Board*>(at);
    }
};
static_assert(sizeof(Slot) == 16 * 8 && sizeof(Board) == (16 + 16 * kSlots) * 8,
              "board.py and the workers in other languages read it as 64-bit words");

}  // namespace torture
