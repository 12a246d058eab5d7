// How long calls took: how many were within each of some fixed bounds, and the sum, as a Prometheus
// histogram has them. Bounds are those of a call over a UNIX socket (tens of microseconds) up to a
// node that gets no processor (seconds).
//
// Invariants: counts only grow; they are no one's lock, so that a reading while calls end may lack
// the last of them. Any thread.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

namespace weft {

class Latency {
  public:
    static constexpr std::array<uint64_t, 16> kBoundsNs = {
        10'000,      25'000,      50'000,        100'000,       250'000,    500'000,
        1'000'000,   2'500'000,   5'000'000,     10'000'000,    25'000'000, 50'000'000,
        100'000'000, 250'000'000, 1'000'000'000, 10'000'000'000};

    void observe(uint64_t nanoseconds) {
        size_t at = 0;
        while (at < kBoundsNs.size() && nanoseconds > kBoundsNs[at]) at++;
        // Relaxed: nothing is read by the counts of another word.
        counts_[at].fetch_add(1, std::memory_order_relaxed);
        sum_ns_.fetch_add(nanoseconds, std::memory_order_relaxed);
    }
    struct Reading {
        std::array<uint64_t, kBoundsNs.size() + 1> counts{};  // the last: beyond all bounds
        uint64_t sum_ns = 0;
        uint64_t total() const {
            uint64_t total = 0;
            for (uint64_t count : counts) total += count;
            return total;
        }
    };
    Reading read() const {
        Reading reading;
        for (size_t i = 0; i < counts_.size(); i++)
            reading.counts[i] = counts_[i].load(std::memory_order_relaxed);
        reading.sum_ns = sum_ns_.load(std::memory_order_relaxed);
        return reading;
    }

  private:
    std::array<std::atomic<uint64_t>, kBoundsNs.size() + 1> counts_{};
    std::atomic<uint64_t> sum_ns_{0};
};

}  // namespace weft
