// What differs between processors: the three loops under copy.h. copy.cpp chooses one set at the
// first call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::fabric {

struct CopyKernels {
    void (*copy)(void* to, const void* from, size_t size);
    /** One chunk: copies it and returns its XXH3 under `seed`. */
    uint64_t (*copy_and_hash)(void* to, const void* from, size_t size, uint64_t seed);
    uint64_t (*hash)(const void* data, size_t size, uint64_t seed);
    /** Orders streaming stores before those that follow. */
    void (*fence)();
};

/** Null where the build or this processor has no AVX2. */
const CopyKernels* avx2_kernels();

}  // namespace weft::fabric
