// The list has one bit for each number that a descriptor may have, so that neither who opens nor a
// child takes a lock.
#include "fabric/memory/forked.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace weft::fabric {
namespace {

constexpr int kNumbers = 1 << 20;  // Linux gives a process no more, unless fs.nr_open is raised

// Relaxed throughout: the child of a fork has the forking thread alone, and its memory as it was.
std::array<std::atomic<uint64_t>, kNumbers / 64> listed;

bool fits(int fd) { return fd >= 0 && fd < kNumbers; }
uint64_t bit_of(int fd) { return uint64_t{1} << fd % 64; }
std::atomic<uint64_t>& word_of(int fd) { return listed[static_cast<size_t>(fd) / 64]; }

}  // namespace

void close_in_children(int fd) {
    if (fits(fd)) word_of(fd).fetch_or(bit_of(fd), std::memory_order_relaxed);
}

void keep_in_children(int fd) {
    if (fits(fd)) word_of(fd).fetch_and(~bit_of(fd), std::memory_order_relaxed);
}

void close_after_fork() {
    for (size_t word = 0; word < listed.size(); word++) {
        if (listed[word].load(std::memory_order_relaxed) == 0) continue;
        uint64_t bits = listed[word].exchange(0, std::memory_order_relaxed);
        for (; bits != 0; bits &= bits - 1)
            close(static_cast<int>(word * 64) + std::countr_zero(bits));
    }
}

}  // namespace weft::fabric
