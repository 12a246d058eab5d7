// What blocks hold, so that any reader can judge every byte of them.
//
// Invariants: a block's first word is a stamp, used once by one writer for one attempt; all other
// words follow from stamp, key, version, part and place. So bytes of another key, version, part,
// place or attempt are found, and a mix of two attempts too.
#pragma once
#include <cstdint>
#include <cstring>

#include "weft.hpp"

namespace load {

inline uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

inline weft::Key key_of(uint64_t number) {
    return {mix(number + 1), mix(number + 0x9e3779b97f4a7c15)};
}

/** Of a namespace with blocks of any size: the size is the key's, so that a wrong one shows. */
inline size_t size_of(uint64_t number) {
    static constexpr size_t kSizes[] = {256, 4096, 40000, 262144};
    return kSizes[number % 4];
}

inline uint64_t seed_of(uint64_t number, uint64_t version, uint32_t part, uint64_t stamp) {
    return mix(stamp ^ mix(number ^ mix(version ^ mix(part + 7))));
}

/** Writes bytes [start, start + size) of a part; both are multiples of 8. */
inline void fill(std::byte* to, uint64_t number, uint64_t version, uint32_t part, uint64_t stamp,
                 size_t start, size_t size) {
    const uint64_t seed = seed_of(number, version, part, stamp);
    for (size_t at = start; at < start + size; at += 8) {
        const uint64_t word = at == 0 ? stamp : seed ^ (at * 0x9e3779b97f4a7c15);
        std::memcpy(to + (at - start), &word, 8);
    }
}

/** The stamp of a whole part whose bytes are all right, else 0. */
inline uint64_t stamp_of(const std::byte* from, size_t size, uint64_t number, uint64_t version,
                         uint32_t part) {
    uint64_t stamp = 0;
    std::memcpy(&stamp, from, 8);
    const uint64_t seed = seed_of(number, version, part, stamp);
    for (size_t at = 8; at < size; at += 8) {
        uint64_t word = 0;
        std::memcpy(&word, from + at, 8);
        if (word != (seed ^ (at * 0x9e3779b97f4a7c15))) return 0;
    }
    return stamp;
}

}  // namespace load
