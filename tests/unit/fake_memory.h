// Memory for tests that need no second process: anonymous, sparse, and without descriptors. It
// counts what was asked of it and can be told to fail.
//
// Invariants: nothing here can be mapped by another process, so `map` always fails.
#pragma once
#include <sys/mman.h>

#include "capi/weft.h"
#include "fabric/memory/memory.h"

namespace weft {

class FakeMemory final : public fabric::Memory {
  public:
    Result<fabric::SharedFile> create_data(uint64_t size, bool) override {
        if (data_fails) return Failure{WEFT_ENOMEM, "the fake has none"};
        data_files++;
        return create(size);
    }
    Result<fabric::SharedFile> create_index(uint64_t size) override { return create(size); }
    Status reserve(const fabric::SharedFile&, uint64_t, uint64_t size) override {
        reserved += size;
        return Nothing{};
    }
    void punch(fabric::SharedFile& file) override {
        file.mapping = fabric::Mapping();
        punched++;
    }
    Result<fabric::Mapping> map(const fabric::Descriptor&, uint64_t, fabric::Access,
                                bool) override {
        return Failure{WEFT_ENOMEM, "the fake cannot be mapped again"};
    }

    bool data_fails = false;
    uint64_t data_files = 0;
    uint64_t reserved = 0;
    uint64_t punched = 0;

  private:
    static Result<fabric::SharedFile> create(uint64_t size) {
        void* area = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (area == MAP_FAILED) return Failure{WEFT_ENOMEM, "mmap"};
        fabric::SharedFile file;
        file.mapping = fabric::Mapping(area, size);
        return file;
    }
};

}  // namespace weft
