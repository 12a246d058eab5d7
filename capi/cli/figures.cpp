/** The bodies of figures.h. Counts of a node that is another one since are not taken away. */
#include "figures.h"

#include <algorithm>
#include <cstdio>

namespace weft::cli {
namespace {

struct Histogram {
    std::vector<uint64_t> bounds, counts;
    uint64_t sum_ns = 0;
};

void add(Histogram& out, const Json& stats, const std::string& verb, const Json& before) {
    const Json& now = stats.at("calls").at(verb);
    const auto counts = now.at("counts").get<std::vector<uint64_t>>();
    std::vector<uint64_t> earlier(counts.size());
    uint64_t earlier_sum = 0;
    if (!before.is_null() && before.at("calls").contains(verb)) {
        earlier = before["calls"][verb].at("counts").get<std::vector<uint64_t>>();
        earlier_sum = before["calls"][verb].at("sum_ns").get<uint64_t>();
    }
    out.bounds = stats.at("bounds_ns").get<std::vector<uint64_t>>();
    out.counts.resize(counts.size());
    for (size_t i = 0; i < counts.size() && i < earlier.size(); i++)
        out.counts[i] += counts[i] - std::min(counts[i], earlier[i]);
    const auto sum = now.at("sum_ns").get<uint64_t>();
    out.sum_ns += sum - std::min(sum, earlier_sum);
}

/** The bound below which this share of the counts lies; beyond the last one, the mean of all. */
double quantile(const Histogram& of, uint64_t total, double share, double beyond) {
    double left = share * static_cast<double>(total);
    for (size_t i = 0; i < of.bounds.size(); i++) {
        left -= static_cast<double>(of.counts[i]);
        if (left <= 0) return static_cast<double>(of.bounds[i]);
    }
    return std::max(beyond, of.bounds.empty() ? 0 : static_cast<double>(of.bounds.back()));
}

Calls calls_of(const Histogram& of) {
    Calls calls;
    for (const uint64_t count : of.counts) calls.count += count;
    if (calls.count == 0) return calls;
    calls.mean_ns = static_cast<double>(of.sum_ns) / static_cast<double>(calls.count);
    calls.p50_ns = quantile(of, calls.count, 0.5, calls.mean_ns);
    calls.p99_ns = quantile(of, calls.count, 0.99, calls.mean_ns);
    return calls;
}

std::string scaled(double amount, double step, const std::vector<const char*>& units) {
    size_t unit = 0;
    while (unit + 1 < units.size() && amount >= step) {
        amount /= step;
        unit++;
    }
    char text[32];
    const bool whole = unit == 0 && amount >= 10;
    std::snprintf(text, sizeof text, whole || amount >= 100 ? "%.0f%s" : "%.1f%s", amount,
                  units[unit]);
    return text;
}

}  // namespace

Calls calls_of(const Json& stats, const std::string& verb, const Json& before) {
    Histogram of;
    add(of, stats, verb, before);
    return calls_of(of);
}

Calls calls_of_all(const Json& stats, const Json& before) {
    Histogram of;
    for (const auto& [verb, reading] : stats.at("calls").items())
        if (verb != "wait") add(of, stats, verb, before);
    return calls_of(of);
}

uint64_t misses_of(const Json& space) {
    uint64_t misses = 0;
    for (const auto& [reason, count] : space.at("misses").items()) misses += count.get<uint64_t>();
    return misses;
}

std::string hit_text(uint64_t hits, uint64_t misses) {
    if (hits + misses == 0) return "-";
    char text[16];
    std::snprintf(text, sizeof text, "%.1f %%",
                  100.0 * static_cast<double>(hits) / static_cast<double>(hits + misses));
    return text;
}

std::string time_text(double nanoseconds) {
    if (nanoseconds <= 0) return "-";
    return scaled(nanoseconds, 1000, {" ns", " us", " ms", " s"});
}

std::string amount_text(double amount) {
    if (amount < 1000 && amount == static_cast<double>(static_cast<int64_t>(amount)))
        return std::to_string(static_cast<int64_t>(amount));
    return scaled(amount, 1000, {"", " k", " M", " G"});
}

uint64_t held_bytes(const Json& process) {
    uint64_t bytes = 0;
    for (const char* kind :
         {"viewed_bytes", "pinned_bytes", "writing_bytes", "quarantined_bytes", "stocked_bytes"})
        bytes += process.at(kind).get<uint64_t>();
    return bytes;
}

std::vector<Json> by_held(const Json& processes) {
    std::vector<std::pair<uint64_t, size_t>> order;
    for (const Json& process : processes) order.emplace_back(held_bytes(process), order.size());
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
        return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    std::vector<Json> rows;
    for (const auto& [bytes, at] : order) rows.push_back(processes[at]);
    return rows;
}

std::string process_text(const Json& process) {
    const auto pid = process.at("pid").get<int64_t>();
    const auto name = process.at("process").get<std::string>();
    if (pid <= 0) return name.empty() ? "of another PID namespace" : name;
    const std::string apart =
        process.at("connected").get<bool>()
            ? ""
            : ", not connected for " + std::to_string(process.at("apart_s").get<int64_t>()) + " s";
    return std::to_string(pid) + (name.empty() ? "" : " " + name) + apart;
}

}  // namespace weft::cli
