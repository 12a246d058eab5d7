// The one clock that processes of a host share: CLOCK_BOOTTIME in nanoseconds. Leases, expiries and
// deadlines are instants on it. Core never reads it: instants are passed in.
#pragma once
#include <time.h>

#include <cstdint>

namespace weft::fabric {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kMillisecond = 1'000'000;

inline uint64_t boot_time() {
    timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<uint64_t>(now.tv_sec) * kSecond + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace weft::fabric
