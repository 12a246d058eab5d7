// Memory that holds up whoever touches it until the test lets go: a thread that copies to or from
// it stands in the middle of its copy, for as long as the test wants, and goes on as if nothing had
// been.
//
// Invariants: one at a time in a process, since a signal's handler has no argument; a fault
// elsewhere is what it was before.
#pragma once
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>

namespace weft {

class HeldMemory {
  public:
    static constexpr size_t kBytes = 65536;

    HeldMemory()
        : memory_(
              mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
        if (memory_ == MAP_FAILED) abort();
        current() = this;
        struct sigaction action{};
        action.sa_sigaction = faulted;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGSEGV, &action, &before_);
    }
    ~HeldMemory() {
        release();
        sigaction(SIGSEGV, &before_, nullptr);
        current() = nullptr;
        munmap(memory_, kBytes);
    }
    HeldMemory(const HeldMemory&) = delete;
    HeldMemory& operator=(const HeldMemory&) = delete;

    std::byte* data() const { return static_cast<std::byte*>(memory_); }
    /** From now on whoever touches it stands still. */
    void hold() {
        reached_ = false;
        held_ = true;
        mprotect(memory_, kBytes, PROT_NONE);
    }
    /** Until somebody stands still in it; false: nobody has in ten seconds. */
    bool reached() const {
        for (int waited = 0; waited < 10000 && !reached_; waited++) usleep(1000);
        return reached_;
    }
    void release() {
        mprotect(memory_, kBytes, PROT_READ | PROT_WRITE);
        held_ = false;
    }

  private:
    static HeldMemory*& current() {
        static HeldMemory* one = nullptr;
        return one;
    }
    static void faulted(int, siginfo_t* info, void*) {
        HeldMemory& held = *current();
        auto* at = static_cast<std::byte*>(info->si_addr);
        if (at < held.data() || at >= held.data() + kBytes) {
            sigaction(SIGSEGV, &held.before_, nullptr);
            return;  // it faults again
        }
        held.reached_ = true;
        while (held.held_) usleep(1000);
    }

    void* memory_;
    std::atomic<bool> held_{false};
    std::atomic<bool> reached_{false};
    struct sigaction before_{};
};

}  // namespace weft
