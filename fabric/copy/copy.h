// Copies of block bytes, with and without the checksum that a part carries.
//
// The checksum of a part is the sum, modulo 2^64, of one XXH3-64 per 64 KiB chunk of it (the last
// may be short), each seeded with its chunk's index in the part. So ranges that begin at a chunk
// may be summed in any order, by any number of processes, and bytes in the wrong place do not
// match. Every build and every processor makes the same sums.
//
// Functions of their arguments alone: any thread may call them at any time. When one returns, its
// stores are ordered before whatever the thread stores next, streaming stores included, so that a
// release store publishes them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::fabric {

inline constexpr size_t kChunkBytes = 65536;

/** Copies size bytes; the two do not overlap. */
void copy(void* to, const void* from, size_t size);

/** Copies size bytes and returns the sum of the source's chunks, the first of which is the part's
 * `first_chunk`. */
uint64_t copy_and_hash(void* to, const void* from, size_t size, uint64_t first_chunk);

/** The sum alone. */
uint64_t hash(const void* data, size_t size, uint64_t first_chunk);

}  // namespace weft::fabric
