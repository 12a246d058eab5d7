// Copies and checksums, against memcmp and against XXH3's public function, at the lengths and
// alignments where the kernels change their way, on whatever kernels this processor gets and on the
// portable ones' public equivalent.
#include "fabric/copy/copy.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace {

using weft::fabric::kChunkBytes;

std::vector<unsigned char> noise(size_t size) {
    std::vector<unsigned char> out(size);
    uint64_t state = 1;
    for (auto& byte : out) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        byte = static_cast<unsigned char>(state >> 56);
    }
    return out;
}

uint64_t expected_sum(const unsigned char* data, size_t size, uint64_t first_chunk) {
    uint64_t sum = 0;
    for (size_t at = 0; at < size; at += kChunkBytes, ++first_chunk) {
        const size_t length = size - at < kChunkBytes ? size - at : kChunkBytes;
        sum += XXH3_64bits_withSeed(data + at, length, first_chunk);
    }
    return sum;
}

const size_t kSizes[] = {0,     1,     8,      63,     64,      65,      128,     240,     241,
                         512,   1023,  1024,   1025,   4096,    8191,    8192,    8193,    8255,
                         8256,  8257,  9215,   9216,   9217,    65472,   65535,   65536,   65537,
                         73727, 73728, 131072, 200001, 1048575, 1048576, 1048577, 1048703, 3000001};

}  // namespace

TEST_CASE(
    "a copy is the source's bytes, at every length and alignment, and touches nothing around "
    "them") {
    const auto source = noise(3000001 + 256);
    std::vector<unsigned char> place(source.size() + 256);
    for (size_t size : kSizes) {
        for (size_t offset : {size_t{0}, size_t{1}, size_t{31}, size_t{64}}) {
            for (bool hashed : {false, true}) {
                std::memset(place.data(), 0xa5, place.size());
                unsigned char* to =
                    place.data() + 64 - reinterpret_cast<uintptr_t>(place.data()) % 64 + offset;
                const unsigned char* from = source.data() + (offset * 3) % 37;
                CAPTURE(size);
                CAPTURE(offset);
                if (hashed) {
                    CHECK(weft::fabric::copy_and_hash(to, from, size, 7) ==
                          expected_sum(from, size, 7));
                } else {
                    weft::fabric::copy(to, from, size);
                }
                CHECK(std::memcmp(to, from, size) == 0);
                CHECK(to[-1] == 0xa5);
                CHECK(to[size] == 0xa5);
            }
        }
    }
}

TEST_CASE("the sum is XXH3 of each chunk under its index, and copying makes the same sum") {
    const auto source = noise(3000001);
    for (size_t size : kSizes) {
        for (uint64_t first : {uint64_t{0}, uint64_t{1}, uint64_t{65535}}) {
            CAPTURE(size);
            CHECK(weft::fabric::hash(source.data(), size, first) ==
                  expected_sum(source.data(), size, first));
        }
    }
}

TEST_CASE("ranges that begin at a chunk may be summed in any order") {
    const auto source = noise(5 * kChunkBytes + 100);
    std::vector<unsigned char> place(source.size());
    const uint64_t whole = weft::fabric::hash(source.data(), source.size(), 0);
    auto range = [&](size_t first, size_t bytes) {
        return weft::fabric::copy_and_hash(place.data() + first * kChunkBytes,
                                           source.data() + first * kChunkBytes, bytes, first);
    };
    uint64_t sum = range(3, 2 * kChunkBytes + 100);
    sum += range(0, kChunkBytes);
    sum += range(1, 2 * kChunkBytes);
    CHECK(sum == whole);
    CHECK(place == source);
}

TEST_CASE("a changed byte, and equal chunks in exchanged places, change the sum") {
    auto source = noise(3 * kChunkBytes);
    const uint64_t before = weft::fabric::hash(source.data(), source.size(), 0);
    for (size_t at : {size_t{0}, kChunkBytes - 1, kChunkBytes, 3 * kChunkBytes - 1}) {
        source[at] ^= 1;
        CHECK(weft::fabric::hash(source.data(), source.size(), 0) != before);
        source[at] ^= 1;
    }
    CHECK(weft::fabric::hash(source.data(), source.size(), 0) == before);
    std::vector<unsigned char> exchanged(source.begin() + kChunkBytes,
                                         source.begin() + 2 * kChunkBytes);
    exchanged.insert(exchanged.end(), source.begin(), source.begin() + kChunkBytes);
    exchanged.insert(exchanged.end(), source.begin() + 2 * kChunkBytes, source.end());
    CHECK(weft::fabric::hash(exchanged.data(), exchanged.size(), 0) != before);
}
