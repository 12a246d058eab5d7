// The block, and the handler in front of the host's.
#include "core/node/reserve.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>

namespace weft {
namespace {

// Relaxed throughout: who exchanges the block for nullptr owns it, and nobody reads what is in it.
std::atomic<void*> block{nullptr};
std::atomic<std::new_handler> hosts{nullptr};
std::once_flag installed;
thread_local bool inside = false;

void give() {
    if (inside) {
        if (void* kept = block.exchange(nullptr, std::memory_order_relaxed)) return std::free(kept);
    }
    if (std::new_handler handler = hosts.load(std::memory_order_relaxed)) return handler();
    throw std::bad_alloc();
}

}  // namespace

bool Reserve::put_by() {
    std::call_once(installed, [] { hosts = std::set_new_handler(give); });
    if (block.load(std::memory_order_relaxed) != nullptr) return true;
    void* made = std::malloc(kBytes);
    if (made == nullptr) return false;
    void* none = nullptr;
    if (!block.compare_exchange_strong(none, made, std::memory_order_relaxed)) std::free(made);
    return true;
}

Reserve::Inside::Inside() : before_(inside) { inside = true; }
Reserve::Inside::~Inside() { inside = before_; }

}  // namespace weft
