/**
 * `weft stats`: what a node has counted, and who holds its memory, as weft_query says it. With
 * --json the answer is the node's own; for people histograms become a line a verb.
 */
#include <algorithm>
#include <cstdio>

#include "command.h"
#include "figures.h"
#include "json.h"
#include "print.h"

namespace weft::cli {
namespace {

/** How long calls took, without their buckets. */
Json calls_in_short(const Json& stats) {
    Json rows = Json::array();
    for (const auto& [verb, reading] : stats.at("calls").items()) {
        const Calls calls = calls_of(stats, verb);
        if (calls.count == 0) continue;
        rows.push_back({{"name", verb},
                        {"calls", calls.count},
                        {"mean", time_text(calls.mean_ns)},
                        {"half within", time_text(calls.p50_ns)},
                        {"99 % within", time_text(calls.p99_ns)}});
    }
    return rows;
}

std::string held_text(const Json& process, const char* kind) {
    const auto count = process.at(kind).get<uint64_t>();
    if (count == 0) return "-";
    const auto bytes = process.at(std::string(kind) + "_bytes").get<uint64_t>();
    return std::to_string(count) + " (" + bytes_text(bytes) + ")";
}

int print_processes(const Json& answer) {
    std::vector<std::vector<std::string>> rows{{"process", "namespace", "views", "pins", "writing",
                                                "quarantine", "stock", "claims", "waits"}};
    for (const Json& process : by_held(rows_of(answer, "processes")))
        rows.push_back({process_text(process), process.at("namespace"),
                        held_text(process, "viewed"), held_text(process, "pinned"),
                        held_text(process, "writing"), held_text(process, "quarantined"),
                        held_text(process, "stocked"),
                        std::to_string(process.at("claims").get<uint64_t>()),
                        std::to_string(process.at("waiting").get<uint64_t>())});
    std::fputs(table_text(rows).c_str(), stdout);
    return kOk;
}

}  // namespace

int run(const Stats& stats, const Settings& settings) {
    const Store store = settings.open();
    if (stats.about && !settings.json)
        std::fputs("weft: of this client; what the node has is in weft stats\n", stderr);
    const char* words = stats.about ? "about" : stats.processes ? "processes" : "stats";
    Json answer = Json::parse(store.query(words));
    if (!settings.json && stats.processes) return print_processes(answer);
    if (!settings.json && !stats.about) {
        answer["calls"] = calls_in_short(answer);
        answer.erase("bounds_ns");
    }
    print_answer(answer, settings.json);
    return kOk;
}

}  // namespace weft::cli
