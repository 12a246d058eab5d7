// The table of handles. Entering counts the call in before it looks at the entry, and removing
// clears the entry before it looks at the count, both seq_cst, so that one of the two sees the
// other.
#include "capi/handles.h"

#include <pthread.h>

#include <array>
#include <mutex>
#include <thread>

#include "fabric/memory/forked.h"

namespace weft {
namespace {

constexpr uint64_t kMark = uint64_t{0x5ef7} << 48;

/** The last three are stored before `handle` is, and read behind a load of it that found the same
 * handle. */
struct Entry {
    std::atomic<uint64_t> handle{0};  // 0: free or closed
    std::atomic<uint32_t> inside{0};
    std::atomic<uint64_t> generation{0};  // grows under `adding`; else only compared
    uint64_t forks = 0;
    Store* store = nullptr;
    Queue* queue = nullptr;
};

std::array<Entry, Handles::kMost> entries;
// Of this process, counted in the child. Relaxed: changed while the process has one thread.
std::atomic<uint64_t> forks{0};
std::mutex adding;  // guards the search for a free entry
std::once_flag fork_once;

uint32_t place_of(uint64_t handle) { return static_cast<uint32_t>(handle >> 4 & 0xfff); }

}  // namespace

void Handles::prepare_fork() {
    std::call_once(fork_once, [] {
        pthread_atfork(nullptr, nullptr, [] {
            forks.fetch_add(1, std::memory_order_relaxed);
            fabric::close_after_fork();
            // The calls inside are of the parent's other threads, which the child does not have.
            // Relaxed: it has one thread.
            for (Entry& entry : entries) {
                if (entry.inside.load(std::memory_order_relaxed) != 0)
                    entry.inside.store(0, std::memory_order_relaxed);
            }
        });
    });
}

uint64_t Handles::add(Kind kind, Store* store, Queue* queue) {
    std::lock_guard<std::mutex> guard(adding);
    for (uint32_t place = 0; place < kMost; place++) {
        Entry& entry = entries[place];
        // A parent's handle is none here. As in remove: closed before the look at who is inside.
        if (entry.forks != forks.load(std::memory_order_relaxed)) entry.handle.store(0);
        // Inside may be one who comes with a handle that this place had before, and goes again: it
        // counts itself out, so the count is never set here. Seq_cst, both, of which acquire is
        // needed: who sees the 0 that remove stored sees whoever closes inside (it may put the
        // handle back), until the release by which its hold ends.
        if (entry.handle.load() != 0 || entry.inside.load() != 0) continue;
        // Relaxed would do, here and in enter, which compares it with that of a handle that the
        // caller has: it got it behind this.
        uint64_t generation = entry.generation.fetch_add(1) + 1;
        entry.store = store;
        entry.queue = queue;
        entry.forks = forks.load(std::memory_order_relaxed);
        uint64_t handle = kMark | (generation & 0xffffffff) << 16 | uint64_t{place} << 4 | kind;
        entry.handle.store(handle, std::memory_order_seq_cst);  // pairs with the load in enter
        return handle;
    }
    return 0;
}

bool Handles::remove(uint64_t handle, uint32_t left) {
    Entry& entry = entries[place_of(handle)];
    // Seq_cst, as in enter: either the call sees the closed entry, or this sees the call inside.
    uint64_t open = handle;
    if (!entry.handle.compare_exchange_strong(open, 0, std::memory_order_seq_cst)) return false;
    // Pairs with the release by which a hold ends: nothing of that call is left.
    while (entry.inside.load(std::memory_order_seq_cst) > left) std::this_thread::yield();
    return true;
}

void Handles::put_back(uint64_t handle) {
    // As in add.
    entries[place_of(handle)].handle.store(handle, std::memory_order_seq_cst);
}

void Handles::Hold::enter(Kind kind, uint64_t handle) {
    bool ours = handle >> 48 == kMark >> 48 && (handle & 15) == kind && place_of(handle) < kMost;
    if (!ours) {
        status = -WEFT_EINVAL;
        return;
    }
    Entry& entry = entries[place_of(handle)];
    // Seq_cst, both: see remove. That the handle is this one also hands on what `add` stored.
    entry.inside.fetch_add(1, std::memory_order_seq_cst);
    if (entry.handle.load(std::memory_order_seq_cst) != handle) {
        entry.inside.fetch_sub(1, std::memory_order_release);
        bool was = (handle >> 16 & 0xffffffff) <= entry.generation.load() &&
                   (handle >> 16 & 0xffffffff) != 0;
        status = was ? -WEFT_ECLOSED : -WEFT_EINVAL;
        return;
    }
    if (entry.forks != forks.load(std::memory_order_relaxed)) {
        entry.inside.fetch_sub(1, std::memory_order_release);
        status = -WEFT_EFORKED;
        return;
    }
    place_ = place_of(handle);
    store = entry.store;
    queue = entry.queue;
}

/** Release: pairs with the load in remove. */
Handles::Hold::~Hold() {
    if (place_ != UINT32_MAX) entries[place_].inside.fetch_sub(1, std::memory_order_release);
}

}  // namespace weft
