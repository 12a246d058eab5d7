// A file that the driver and all workers of a run map: what they tell each other outside of Weft,
// and what they count.
//
// Invariants: every word is atomic. `floor` is written only after an advance to it has returned,
// and `relayed` only after the event of the save, so that whoever reads them may hold Weft to its
// word from then on.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace load {

constexpr uint32_t kRounds = 64;
constexpr uint32_t kWorkers = 64;

struct Counts {
    std::atomic<uint64_t> hits, misses, saves, fenced, unreachable, refused, odd, wrong;
};

struct Board {
    std::atomic<uint64_t> stop, floor, relayed, ready, strict;
    std::atomic<uint64_t> deaths_wanted[kRounds], computed[kRounds];
    Counts counts[kWorkers];

    static Board& open(const char* path) {
        const int file = ::open(path, O_RDWR);
        void* at = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (file < 0 || at == MAP_FAILED) {
            std::fprintf(stderr, "worker: cannot map the board %s of %zu bytes\n", path,
                         sizeof(Board));
            std::exit(2);
        }
        close(file);
        return *static_cast<Board*>(at);
    }
};
static_assert(sizeof(Board) == (5 + 2 * kRounds + 8 * kWorkers) * 8,
              "run.py reads it as 64-bit words");

}  // namespace load
