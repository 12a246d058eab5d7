// Reports become families, one a metric; prometheus-cpp's serializer writes them (its quoting and
// its numbers are that format's own). A series a namespace, and none a process: what changes with
// each client does not belong into a time series' labels.
#include "core/stats/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <sstream>

#include "capi/weft.h"
#include "core/cache.h"

namespace weft {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

class Families {
  public:
    void begin(const char* name, MetricType type, const char* help) {
        families_.push_back({name, help, type, {}});
    }
    void add(Labels labels, double value) {
        ClientMetric metric;
        metric.label = std::move(labels);
        if (families_.back().type == MetricType::Counter) {
            metric.counter.value = value;
        } else {
            metric.gauge.value = value;
        }
        families_.back().metric.push_back(std::move(metric));
    }
    void add(Labels labels, const Latency::Reading& reading) {
        ClientMetric metric;
        metric.label = std::move(labels);
        uint64_t count = 0;
        for (size_t i = 0; i < Latency::kBoundsNs.size(); i++) {
            count += reading.counts[i];
            metric.histogram.bucket.push_back(
                {count, static_cast<double>(Latency::kBoundsNs[i]) * 1e-9});
        }
        metric.histogram.sample_count = reading.total();
        metric.histogram.sample_sum = static_cast<double>(reading.sum_ns) * 1e-9;
        families_.back().metric.push_back(std::move(metric));
    }
    void one(const char* name, MetricType type, const char* help, double value) {
        begin(name, type, help);
        add({}, value);
    }
    std::string text() const {
        std::ostringstream out;
        prometheus::TextSerializer().Serialize(out, families_);
        return out.str();
    }

  private:
    std::vector<MetricFamily> families_;
};

/** A metric with a series for each namespace. */
struct OfSpace {
    const char* name;
    MetricType type;
    uint64_t (*value)(const SpaceReport&);
    const char* help;
};

constexpr MetricType kCounter = MetricType::Counter;
constexpr MetricType kGauge = MetricType::Gauge;

constexpr OfSpace kOfSpace[] = {
    {"weft_blocks", kGauge, [](const SpaceReport& of) { return of.blocks; },
     "Blocks that are published."},
    {"weft_data_bytes", kGauge, [](const SpaceReport& of) { return of.data_bytes; },
     "Memory of the namespace's segments: blocks, and slots that are free for its next ones."},
    {"weft_free_bytes", kGauge, [](const SpaceReport& of) { return of.free_bytes; },
     "Of weft_data_bytes, slots that hold nothing."},
    {"weft_index_bytes", kGauge, [](const SpaceReport& of) { return of.index_bytes; },
     "Memory of the shared index: look-up table and slot headers."},
    {"weft_private_bytes", kGauge, [](const SpaceReport& of) { return of.private_bytes; },
     "The node's own memory for the namespace: policy, and why blocks left."},
    {"weft_segments", kGauge, [](const SpaceReport& of) { return of.segments; },
     "Memory files of the namespace, at most 64 a size class."},
    {"weft_floor_version", kGauge, [](const SpaceReport& of) { return of.floor; },
     "The lowest version that may still be read or written; it only grows."},
    {"weft_openings", kGauge, [](const SpaceReport& of) { return of.openings; },
     "How often the namespace is open, over all processes."},
    {"weft_hits_total", kCounter, [](const SpaceReport& of) { return of.stats.hits; },
     "Blocks that look-ups found, as their readers counted them."},
    {"weft_loaded_bytes_total", kCounter,
     [](const SpaceReport& of) { return of.stats.loaded_bytes; },
     "Bytes that readers got: copied by loads, in place by views."},
    {"weft_saved_blocks_total", kCounter, [](const SpaceReport& of) { return of.stats.saved; },
     "Blocks that were published."},
    {"weft_saved_bytes_total", kCounter, [](const SpaceReport& of) { return of.stats.saved_bytes; },
     "Bytes of the blocks that were published."},
    {"weft_evicted_blocks_total", kCounter, [](const SpaceReport& of) { return of.stats.evicted; },
     "Blocks that left to make room."},
    {"weft_expired_blocks_total", kCounter, [](const SpaceReport& of) { return of.stats.expired; },
     "Blocks whose time to live was over."},
    {"weft_removed_blocks_total", kCounter, [](const SpaceReport& of) { return of.stats.removed; },
     "Blocks that were removed by REMOVE, flush or drop."},
    {"weft_fenced_blocks_total", kCounter, [](const SpaceReport& of) { return of.stats.fenced; },
     "Blocks below the floor that were reclaimed."},
    {"weft_replaced_blocks_total", kCounter,
     [](const SpaceReport& of) { return of.stats.replaced; },
     "Blocks that a new generation of them replaced."},
    {"weft_attempts", kGauge, [](const SpaceReport& of) { return of.attempts; },
     "Blocks that are being written."},
    {"weft_abandoned_attempts_total", kCounter,
     [](const SpaceReport& of) { return of.stats.abandoned; },
     "Attempts that ended without a block: aborted, timed out, fenced, or their writer died."},
    {"weft_quarantined_slots", kGauge, [](const SpaceReport& of) { return of.quarantined; },
     "Slots of attempts that ended while their writer may still write: not reused until it says "
     "so or is dead."},
    {"weft_claims", kGauge, [](const SpaceReport& of) { return of.claims; },
     "Claims: rights to compute a chain's missing blocks while others wait."},
    {"weft_waiting_blocks", kGauge, [](const SpaceReport& of) { return of.waiting; },
     "Items of ops that wait for a writer, a claim or room."},
    {"weft_limbo_slots", kGauge, [](const SpaceReport& of) { return of.limbo; },
     "Slots of blocks that left while a view of them lives."},
    {"weft_namespace_pinned_blocks", kGauge, [](const SpaceReport& of) { return of.pinned; },
     "Blocks of the namespace that pins keep loadable; weft_pinned_blocks is their sum."},
};

void add_spaces(const std::vector<SpaceReport>& spaces, Families& out) {
    for (const OfSpace& metric : kOfSpace) {
        out.begin(metric.name, metric.type, metric.help);
        for (const SpaceReport& space : spaces)
            out.add({{"namespace", space.name}}, static_cast<double>(metric.value(space)));
    }
    out.begin("weft_misses_total", kCounter,
              "Look-ups that found no block, by reason, as their readers counted them.");
    for (const SpaceReport& space : spaces) {
        for (uint32_t reason = 1; reason < kMissReasons; reason++)
            out.add({{"namespace", space.name}, {"reason", kMissWords[reason]}},
                    static_cast<double>(space.stats.misses[reason]));
    }
}

void add_node(const NodeReport& node, Families& out) {
    out.begin("weft_build_info", kGauge, "1; what runs is in the labels.");
    out.add({{"abi", std::to_string(WEFT_ABI)}, {"version", weft_version()}}, 1);
    out.one("weft_memory_limit_bytes", kGauge, "memory=, the limit of all that the node takes.",
            static_cast<double>(node.memory));
    out.one("weft_memory_used_bytes", kGauge, "What of memory= is taken by segments and indexes.",
            static_cast<double>(node.memory_used));
    out.one("weft_clients", kGauge, "Processes that hold a session, the node's own included.",
            static_cast<double>(node.sessions));
    out.one("weft_clients_limit", kGauge, "Sessions that the node admits.", Cache::kSessionsMax);
    out.one("weft_pinned_blocks", kGauge, "Blocks that pins keep loadable.",
            static_cast<double>(node.pins));
    out.one("weft_pinned_blocks_limit", kGauge, "pins=, the limit of them.",
            static_cast<double>(node.pins_max));
}

void add_process(const ProcessReport& process, Families& out) {
    out.one("process_cpu_seconds_total", kCounter, "Processor time of the node's process.",
            process.cpu_seconds);
    out.one("process_resident_memory_bytes", kGauge, "Resident memory of the node's process.",
            static_cast<double>(process.resident_bytes));
    out.one("process_open_fds", kGauge, "Descriptors that are open.",
            static_cast<double>(process.open_fds));
    out.one("process_max_fds", kGauge, "Descriptors that may be open.",
            static_cast<double>(process.max_fds));
    out.one("process_start_time_seconds", kGauge, "When it started, since the epoch.",
            process.start_seconds);
}

}  // namespace

std::string metrics_text(const NodeReport& node, const Latencies& latencies,
                         const ProcessReport& process) {
    Families out;
    add_node(node, out);
    add_spaces(node.spaces, out);
    out.begin(
        "weft_call_duration_seconds", MetricType::Histogram,
        "Calls of other processes, from their arrival to their answer, waiting for a writer or "
        "for room included. Look-ups and loads that need no call are not among them.");
    for (uint32_t verb = 0; verb < kVerbs; verb++)
        out.add({{"verb", kVerbWords[verb]}}, latencies[verb].read());
    add_process(process, out);
    return out.text();
}

}  // namespace weft
