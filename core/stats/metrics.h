// A node's metrics in Prometheus' text format. What they mean stands in each one's HELP; names are
// a base unit's, as that format's conventions have them.
#pragma once
#include <string>

#include "core/stats/report.h"

namespace weft {

/** Of the node's process, as the operating system has them. */
struct ProcessReport {
    double cpu_seconds = 0;
    uint64_t resident_bytes = 0;
    uint64_t open_fds = 0;
    uint64_t max_fds = 0;
    double start_seconds = 0;  // since the epoch
};

std::string metrics_text(const NodeReport& node, const Latencies& latencies,
                         const ProcessReport& process);

}  // namespace weft
