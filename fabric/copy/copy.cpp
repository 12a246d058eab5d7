// The choice of kernels, the walk over chunks, and the portable kernels: memcpy, and XXH3 as the
// target's baseline has it (SSE2, NEON). They hash a chunk right after its copy, while the source
// is still in the core's own cache.
#include "fabric/copy/copy.h"

#include <algorithm>
#include <cstring>

#include "fabric/copy/kernels.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace weft::fabric {
namespace {

void portable_copy(void* to, const void* from, size_t size) { std::memcpy(to, from, size); }

uint64_t portable_hash(const void* data, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(data, size, seed);
}

uint64_t portable_copy_and_hash(void* to, const void* from, size_t size, uint64_t seed) {
    std::memcpy(to, from, size);
    return XXH3_64bits_withSeed(from, size, seed);
}

void portable_fence() {}

const CopyKernels& kernels() {
    static constexpr CopyKernels kPortable = {portable_copy, portable_copy_and_hash, portable_hash,
                                              portable_fence};
    static const CopyKernels* const chosen =
        avx2_kernels() != nullptr ? avx2_kernels() : &kPortable;
    return *chosen;
}

}  // namespace

void copy(void* to, const void* from, size_t size) {
    if (size == 0) return;
    const CopyKernels& kernel = kernels();
    kernel.copy(to, from, size);
    kernel.fence();
}

uint64_t copy_and_hash(void* to, const void* from, size_t size, uint64_t first_chunk) {
    const CopyKernels& kernel = kernels();
    uint64_t sum = 0;
    for (size_t at = 0; at < size; at += kChunkBytes) {
        sum +=
            kernel.copy_and_hash(static_cast<char*>(to) + at, static_cast<const char*>(from) + at,
                                 std::min(kChunkBytes, size - at), first_chunk++);
    }
    kernel.fence();
    return sum;
}

uint64_t hash(const void* data, size_t size, uint64_t first_chunk) {
    const CopyKernels& kernel = kernels();
    uint64_t sum = 0;
    for (size_t at = 0; at < size; at += kChunkBytes) {
        sum += kernel.hash(static_cast<const char*>(data) + at, std::min(kChunkBytes, size - at),
                           first_chunk++);
    }
    return sum;
}

}  // namespace weft::fabric
