// The C library's calls for threads, locks, time and chance, in the simulator's own program: inside
// a run they are the scheduler's, so that code which keeps time, locks and starts threads runs as
// it ships. Outside a run there is one thread, which no lock stops.
//
// Invariants: a lock that is all zeros is free; a lock dies with its process. No call here reaches
// the machine.
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

#include "tests/sim/seeds/scheduler.h"

using weft::seeds::Fiber;
using weft::seeds::kNever;
using weft::seeds::Scheduler;
using weft::seeds::scheduler;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;

bool inside() { return scheduler() != nullptr && scheduler()->inside(); }

/** In a mutex's own memory: who has it, 0: nobody. */
int& holder(pthread_mutex_t* mutex) { return *reinterpret_cast<int*>(mutex); }

void lock(pthread_mutex_t* mutex) {
    while (holder(mutex) != 0) scheduler()->wait(mutex, kNever);
    holder(mutex) = 1;
}

void unlock(pthread_mutex_t* mutex) {
    holder(mutex) = 0;
    scheduler()->wake(mutex, false);
}

/** Now and then nobody has signalled: that may be. */
int wait(pthread_cond_t* condition, pthread_mutex_t* mutex, uint64_t deadline) {
    unlock(mutex);
    bool spurious = scheduler()->random().one_in(50);
    bool timed_out = !spurious && scheduler()->wait(condition, deadline);
    if (spurious) scheduler()->yield();
    lock(mutex);
    return timed_out ? ETIMEDOUT : 0;
}

uint64_t nanoseconds(const timespec& time) {
    if (time.tv_sec > static_cast<time_t>(kNever / kSecond / 2)) return kNever;
    return static_cast<uint64_t>(time.tv_sec) * kSecond + static_cast<uint64_t>(time.tv_nsec);
}

}  // namespace

#pragma GCC visibility push(default)  // libstdc++ is to find them
extern "C" {

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
    if (!inside()) return 0;
    scheduler()->yield();
    lock(mutex);
    return 0;
}

int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
    if (!inside()) return 0;
    if (holder(mutex) != 0) return EBUSY;
    holder(mutex) = 1;
    return 0;
}

int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept {
    if (inside()) unlock(mutex);
    return 0;
}

int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
    return inside() ? wait(condition, mutex, kNever) : 0;
}

int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                           const timespec* until) {
    return inside() ? wait(condition, mutex, nanoseconds(*until)) : ETIMEDOUT;
}

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t,
                           const timespec* until) {
    return pthread_cond_timedwait(condition, mutex, until);
}

int pthread_cond_signal(pthread_cond_t* condition) noexcept {
    if (inside()) scheduler()->wake(condition, false);
    return 0;
}

int pthread_cond_broadcast(pthread_cond_t* condition) noexcept {
    if (inside()) scheduler()->wake(condition, true);
    return 0;
}

int pthread_create(pthread_t* thread, const pthread_attr_t*, void* (*body)(void*),
                   void* argument) noexcept {
    if (!inside()) return EAGAIN;
    *thread = scheduler()->spawn(scheduler()->process(), [body, argument] { body(argument); });
    return 0;
}

int pthread_join(pthread_t thread, void**) {
    Fiber& fiber = scheduler()->fiber(static_cast<uint32_t>(thread));
    while (!fiber.done) scheduler()->wait(&fiber, kNever);
    fiber.joined = true;
    return 0;
}

int pthread_setname_np(pthread_t, const char*) noexcept { return 0; }

int sched_yield() noexcept {
    if (inside()) scheduler()->sleep(1000);
    return 0;
}

int usleep(useconds_t microseconds) {
    if (inside()) scheduler()->sleep(uint64_t{microseconds} * 1000);
    return 0;
}

int clock_gettime(clockid_t clock, timespec* out) noexcept {
    if (!inside()) return static_cast<int>(syscall(SYS_clock_gettime, clock, out));
    out->tv_sec = static_cast<time_t>(scheduler()->now() / kSecond);
    out->tv_nsec = static_cast<long>(scheduler()->now() % kSecond);
    return 0;
}

ssize_t getrandom(void* buffer, size_t size, unsigned) {
    uint64_t word = inside() ? scheduler()->random().next() : 1;
    memcpy(buffer, &word, size < sizeof word ? size : sizeof word);
    return static_cast<ssize_t>(size);
}

}  // extern "C"
#pragma GCC visibility pop
