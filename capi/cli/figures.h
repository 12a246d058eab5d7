/**
 * What a node's answers mean in figures: latencies out of its histograms, shares, rates. They are
 * worked out here alone, so that `stats`, `top` and `doctor` say the same.
 */
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "json.h"

namespace weft::cli {

/** Calls of one verb, or of all: how many, and how long they took. Zeros where there were none. */
struct Calls {
    uint64_t count = 0;
    double mean_ns = 0;
    /** Upper bounds: a histogram knows no more than the bucket. */
    double p50_ns = 0;
    double p99_ns = 0;
};

/** Of one verb in weft_query "stats"; `before`: an earlier answer to take away, or null. */
Calls calls_of(const Json& stats, const std::string& verb, const Json& before = Json());
/** Of all that no other process keeps waiting: all but `wait`. */
Calls calls_of_all(const Json& stats, const Json& before = Json());

/** Misses of all reasons. */
uint64_t misses_of(const Json& space);
/** "93.1 %", or "-" where nothing was looked up. */
std::string hit_text(uint64_t hits, uint64_t misses);
/** "1.2 ms" for nanoseconds; "-" for 0. */
std::string time_text(double nanoseconds);
/** "12.3 k" for a count or a rate. */
std::string amount_text(double amount);
/** Bytes that a process holds in one row of weft_query "processes": what eviction cannot take. */
uint64_t held_bytes(const Json& process);
/** Those rows, the ones that hold most first. */
std::vector<Json> by_held(const Json& processes);
/** "4711 python3", or what is known of it. */
std::string process_text(const Json& process);

}  // namespace weft::cli
