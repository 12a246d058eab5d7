// Where the bytes of an op are in the caller's memory: in a row, or in a page of a pool; and a
// pool's description as text.
//
// Invariants: a Place is made only of what lies inside its region. Bytes of a part are addressed by
// where they are in the part, whatever order the caller's memory has.
#pragma once
#include <memory>
#include <string>

#include "core/base/result.h"
#include "fabric/copy/copy.h"
#include "fabric/device/pages.h"

namespace weft {

/** The bytes of a part from `start` on. */
struct Place {
    std::byte* flat = nullptr;  // nullptr: in the page of a pool
    const fabric::Pages* pages = nullptr;
    uint64_t page = 0;
    uint64_t start = 0;

    /** Copies `size` bytes, from `at` on, into a slot. */
    void read(std::byte* to, uint64_t at, uint64_t size) const {
        if (flat != nullptr) return fabric::copy(to, flat + at, size);
        pages->gather(to, page, start + at, size);
    }
    /** The same with the sum of its chunks; start + at begins one. */
    uint64_t read_and_hash(std::byte* to, uint64_t at, uint64_t size) const {
        if (flat == nullptr) return pages->gather_and_hash(to, page, start + at, size);
        return fabric::copy_and_hash(to, flat + at, size, (start + at) / fabric::kChunkBytes);
    }
    /** Copies out of a slot. */
    void write(const std::byte* from, uint64_t at, uint64_t size) const {
        if (flat != nullptr) return fabric::copy(flat + at, from, size);
        pages->scatter(from, page, start + at, size);
    }
};

/** The pool that weft_pool_open's text and addresses describe. */
Result<std::unique_ptr<fabric::Pages>> describe_pool(const char* layout, const uint64_t* bases,
                                                     uint32_t count);

}  // namespace weft
