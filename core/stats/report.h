// What a node holds and has counted, as plain values: read once under the node's lock, then made
// into JSON (weft_query) or into metrics without it.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/space/namespace.h"
#include "core/stats/latency.h"
#include "core/write/request.h"

namespace weft {

/** The words for WEFT_MISS_*, in their order. */
constexpr const char* kMissWords[kMissReasons] = {"",       "absent",  "evicted",     "expired",
                                                  "fenced", "partial", "unreachable", "far"};
/** The words for Verb, in its order. */
constexpr const char* kVerbWords[kVerbs] = {"stock", "publish", "reserve", "commit",
                                            "abort", "locate",  "wait",    "match",
                                            "touch", "remove",  "advance", "release"};

/** Latencies of calls, by verb, from a call's arrival to its answer. */
using Latencies = std::array<Latency, kVerbs>;

struct SpaceReport {
    std::string name;
    uint64_t floor = 0;
    uint64_t blocks = 0;
    uint64_t data_bytes = 0;
    uint64_t free_bytes = 0;  // of data_bytes
    uint64_t index_bytes = 0;
    uint64_t private_bytes = 0;
    uint64_t openings = 0;
    NamespaceStats stats;
    uint64_t attempts = 0;
    uint64_t quarantined = 0;
    uint64_t claims = 0;
    uint64_t waiting = 0;
    uint64_t limbo = 0;
    uint64_t segments = 0;
    uint64_t pinned = 0;  // blocks; of a NodeReport's only
};

struct NodeReport {
    uint64_t memory = 0;
    uint64_t memory_used = 0;
    uint64_t sessions = 0;
    uint64_t pins = 0;
    uint64_t pins_max = 0;
    uint64_t up_s = 0;
    std::vector<SpaceReport> spaces;
};

nlohmann::json to_json(const SpaceReport& report);
/** 32 hexadecimal digits, the high half first. */
std::string key_text(const Key& key);

}  // namespace weft
