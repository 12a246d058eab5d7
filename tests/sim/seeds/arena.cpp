// operator new and delete of the simulator's program.
#include "tests/sim/seeds/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace weft::seeds {
namespace {

constexpr size_t kArenaBytes = size_t{4} << 30;
constexpr size_t kHead = 16;
constexpr size_t kPoisonMost = 4096;

std::byte* area = nullptr;
size_t taken = 0;
bool entered = false;

}  // namespace

void enter_arena() {
    if (area == nullptr) {
        void* room = mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (room == MAP_FAILED) abort();
        area = static_cast<std::byte*>(room);
    }
    taken = 0;
    entered = true;
}

void leave_arena() { entered = false; }

static void* take(size_t size, size_t alignment) {
    if (!entered) {
        void* memory = alignment > kHead
                           ? aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1))
                           : malloc(std::max<size_t>(size, 1));
        if (memory == nullptr) abort();
        return memory;
    }
    size_t at = (taken + kHead + alignment - 1) & ~(alignment - 1);
    taken = at + size;
    if (taken > kArenaBytes) abort();
    memcpy(area + at - sizeof(size_t), &size, sizeof(size_t));
    return area + at;
}

static void give(void* memory) {
    auto* at = static_cast<std::byte*>(memory);
    if (at < area || at >= area + kArenaBytes) return free(memory);
    size_t size = 0;
    memcpy(&size, at - sizeof(size_t), sizeof(size_t));
    memset(at, 0xdb, std::min(size, kPoisonMost));
}

}  // namespace weft::seeds

void* operator new(size_t size) { return weft::seeds::take(size, 16); }
void* operator new[](size_t size) { return weft::seeds::take(size, 16); }
void* operator new(size_t size, std::align_val_t alignment) {
    return weft::seeds::take(size, std::max<size_t>(16, static_cast<size_t>(alignment)));
}
void* operator new[](size_t size, std::align_val_t alignment) {
    return weft::seeds::take(size, std::max<size_t>(16, static_cast<size_t>(alignment)));
}
void operator delete(void* memory) noexcept { weft::seeds::give(memory); }
void operator delete[](void* memory) noexcept { weft::seeds::give(memory); }
void operator delete(void* memory, size_t) noexcept { weft::seeds::give(memory); }
void operator delete[](void* memory, size_t) noexcept { weft::seeds::give(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { weft::seeds::give(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { weft::seeds::give(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { weft::seeds::give(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept {
    weft::seeds::give(memory);
}
