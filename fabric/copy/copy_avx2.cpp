// The kernels for x86-64 with AVX2, compiled for it by attribute and chosen at run time.
//
// copy_and_hash is one pass: each 64-byte stripe is loaded, goes into XXH3's accumulators and
// leaves by a streaming store. Hashing hides behind the memory, and the destination is not read
// first. That needs the steps under XXH3_64bits_withSeed, which xxhash.h gives to those who inline
// it; tests/unit/copy_test.cpp compares with the public function at every length where the steps
// differ. Measured on an EPYC (family 25), 1 MiB blocks, p50 in us, memfd arenas of 1 GiB touched
// first: to a random place (cold), to 32 places in turn, to one place that stays in L3 (warm):
//                                      cold   32 places   warm
//     memcpy                            146         148     83
//     rep movsb                         140         144     81
//     streaming stores                  102         100     83
//     one pass, with XXH3                99         100     89
//     memcpy, then XXH3 a chunk         163           -    109
//     streaming, then XXH3 a chunk      121           -    107
// So copy streams from kStreamBytes on, where a destination is likely to be one of a list that
// exceeds the caches. Below, memcpy leaves it in the core's own cache for whoever reads it next
// (256 KiB, warm: streaming takes 1.08 of memcpy's time, cold 0.66). AVX-512 was not tried: these
// loops wait for memory.
#include "fabric/copy/kernels.h"

#if defined(__x86_64__)

#include <assert.h>
#include <immintrin.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

// Only C headers stand above, and nothing but this file's own static functions below: an inline
// function shared with other files must not be compiled for AVX2 here, or the linker may pick it
// for a processor without.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX2
#include <xxhash.h>

namespace weft::fabric {
namespace {

constexpr size_t kStreamBytes = size_t{1} << 20;
constexpr size_t kOnePassBytes = 8192;
constexpr size_t kStripe = 64;
// How far ahead the source is asked for.
constexpr size_t kAhead = 512;

inline void stream_stripe(char* to, const char* from) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32));
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), low);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + 32), high);
}

void avx2_copy(void* to, const void* from, size_t size) {
    auto* out = static_cast<char*>(to);
    const auto* in = static_cast<const char*>(from);
    if (size < kStreamBytes) {
        memcpy(out, in, size);
        return;
    }
    const size_t head = -reinterpret_cast<uintptr_t>(out) % kStripe;
    memcpy(out, in, head);
    size_t at = head;
    for (; at + 2 * kStripe <= size; at += 2 * kStripe) {
        stream_stripe(out + at, in + at);
        stream_stripe(out + at + kStripe, in + at + kStripe);
    }
    memcpy(out + at, in + at, size - at);
}

uint64_t avx2_hash(const void* data, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(data, size, seed);
}

/** XXH3's long form, size > 240, over stripes that are copied as they pass; `to` is aligned to a
 * stripe. */
uint64_t one_pass(char* to, const char* from, size_t size, uint64_t seed) {
    XXH_ALIGN(64) unsigned char secret[XXH_SECRET_DEFAULT_SIZE];
    XXH_ALIGN(64) xxh_u64 sums[XXH_ACC_NB] = XXH3_INIT_ACC;
    XXH3_initCustomSecret(secret, seed);
    auto pass = [&](size_t at, const unsigned char* key)
                    __attribute__((target("avx2"), always_inline)) {
                        XXH_PREFETCH(from + at + kAhead);
                        XXH3_accumulate_512(sums, from + at, key);
                        stream_stripe(to + at, from + at);
                    };
    constexpr size_t kKeys = (sizeof secret - XXH_STRIPE_LEN) / XXH_SECRET_CONSUME_RATE;
    size_t at = 0;
    for (size_t block = 0; block < (size - 1) / (kStripe * kKeys); ++block) {
        for (size_t i = 0; i < kKeys; ++i, at += kStripe)
            pass(at, secret + i * XXH_SECRET_CONSUME_RATE);
        XXH3_scrambleAcc(sums, secret + sizeof secret - XXH_STRIPE_LEN);
    }
    const unsigned char* key = secret;
    for (; at + kStripe < size; at += kStripe, key += XXH_SECRET_CONSUME_RATE) pass(at, key);
    memcpy(to + at, from + at, size - at);
    XXH3_accumulate_512(sums, from + size - kStripe,
                        secret + sizeof secret - XXH_STRIPE_LEN - XXH_SECRET_LASTACC_START);
    return XXH3_mergeAccs(sums, secret + XXH_SECRET_MERGEACCS_START, size * XXH_PRIME64_1);
}

uint64_t avx2_copy_and_hash(void* to, const void* from, size_t size, uint64_t seed) {
    if (size >= kOnePassBytes && reinterpret_cast<uintptr_t>(to) % kStripe == 0) {
        return one_pass(static_cast<char*>(to), static_cast<const char*>(from), size, seed);
    }
    memcpy(to, from, size);
    return XXH3_64bits_withSeed(from, size, seed);
}

void avx2_fence() { _mm_sfence(); }

}  // namespace

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const CopyKernels* avx2_kernels() {
    static constexpr CopyKernels kAvx2 = {avx2_copy, avx2_copy_and_hash, avx2_hash, avx2_fence};
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") != 0 ? &kAvx2 : nullptr;
}

}  // namespace weft::fabric

#else

namespace weft::fabric {
const CopyKernels* avx2_kernels() { return nullptr; }
}  // namespace weft::fabric

#endif
