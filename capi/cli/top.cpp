/**
 * `weft top`: a node as it works, in 80 columns: what is looked up and how it ends, what moves, who
 * holds what. A frame is the difference of two looks at the node's counters, so that it says what
 * happens now and not what happened since the node's start. Invariant: looking costs the node two
 * queries a frame; a node that is gone ends a single frame (--once) and is waited for else.
 */
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "command.h"
#include "figures.h"
#include "json.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr size_t kColumns = 80;
constexpr size_t kProcessRows = 10;  // those that hold most
constexpr size_t kSpaceRows = 12;    // those that are looked up most

double now_s() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/** One look at the node. */
struct Look {
    Json stats, processes;
    double at_s = 0;
};

Look look_at(const Store& store) {
    Look look;
    look.stats = Json::parse(store.query("stats"));
    look.at_s = now_s();
    look.processes = rows_of(Json::parse(store.query("processes")), "processes");
    return look;
}

const Json* space_named(const Json& stats, const std::string& name) {
    for (const Json& space : stats.at("namespaces"))
        if (space.at("name") == name) return &space;
    return nullptr;
}

/** A second's growth of a counter, of a namespace that is new from 0; one that fell is of another
 * node. */
double rate(const Json& now, const Json* before, const char* field, double seconds) {
    const auto value = now.at(field).get<uint64_t>();
    const uint64_t earlier = before == nullptr ? 0 : before->value(field, value);
    return value < earlier ? 0 : static_cast<double>(value - earlier) / seconds;
}

Json rates_of(const Json& space, const Json* before, double seconds) {
    Json rates = {{"name", space.at("name")},
                  {"blocks", space.at("blocks")},
                  {"data_bytes", space.at("data_bytes")},
                  {"free_bytes", space.at("free_bytes")},
                  {"quarantined", space.at("quarantined")},
                  {"attempts", space.at("attempts")},
                  {"waiting", space.at("waiting")}};
    for (const char* field : {"hits", "saved", "saved_bytes", "loaded_bytes", "evicted", "expired"})
        rates[std::string(field) + "_per_s"] = rate(space, before, field, seconds);
    const Json& misses = space.at("misses");
    const Json* misses_before = before == nullptr ? nullptr : &before->at("misses");
    Json by_reason = Json::object();
    double missed = 0;
    for (const auto& [reason, count] : misses.items()) {
        by_reason[reason] = rate(misses, misses_before, reason.c_str(), seconds);
        missed += by_reason[reason].get<double>();
    }
    rates["misses_per_s"] = by_reason;
    rates["missed_per_s"] = missed;
    return rates;
}

Json frame_of(const Look& before, const Look& now) {
    const double seconds = std::max(now.at_s - before.at_s, 1e-3);
    Json frame = {{"seconds", seconds}};
    for (const char* field :
         {"version", "up_s", "memory", "memory_used", "sessions", "pins", "pins_max"})
        frame[field] = now.stats.at(field);
    const Calls calls = calls_of_all(now.stats, before.stats);
    frame["calls"] = {{"per_s", static_cast<double>(calls.count) / seconds},
                      {"mean_ns", calls.mean_ns},
                      {"p50_ns", calls.p50_ns},
                      {"p99_ns", calls.p99_ns}};
    frame["namespaces"] = Json::array();
    for (const Json& space : now.stats.at("namespaces"))
        frame["namespaces"].push_back(
            rates_of(space, space_named(before.stats, space.at("name")), seconds));
    frame["processes"] = now.processes;
    return frame;
}

double sum_of(const Json& frame, const char* field) {
    double sum = 0;
    for (const Json& space : frame.at("namespaces")) sum += space.at(field).get<double>();
    return sum;
}

std::string share_text(double part, double rest) {
    return hit_text(static_cast<uint64_t>(part * 1000), static_cast<uint64_t>(rest * 1000));
}

std::string bytes_rate(double bytes) { return bytes_text(static_cast<uint64_t>(bytes)) + "/s"; }

/** The reasons of misses, the most frequent first. */
std::string reasons_text(const Json& frame) {
    std::vector<std::pair<double, std::string>> reasons;
    for (const Json& space : frame.at("namespaces"))
        for (const auto& [reason, count] : space.at("misses_per_s").items()) {
            auto found = std::find_if(reasons.begin(), reasons.end(),
                                      [&](const auto& each) { return each.second == reason; });
            if (found == reasons.end()) found = reasons.insert(found, {0, reason});
            found->first += count.get<double>();
        }
    std::sort(reasons.rbegin(), reasons.rend());
    std::string text;
    for (const auto& [count, reason] : reasons)
        if (count > 0)
            text += (text.empty() ? "" : ", ") + reason + " " + amount_text(count) + "/s";
    return text.empty() ? "none" : text;
}

void heading(const Json& frame, const std::string& address, std::string& out) {
    const auto up = frame.at("up_s").get<uint64_t>();
    char up_text[32];
    std::snprintf(up_text, sizeof up_text, "%llu:%02u:%02u",
                  static_cast<unsigned long long>(up / 3600), static_cast<unsigned>(up / 60 % 60),
                  static_cast<unsigned>(up % 60));
    const auto used = frame.at("memory_used").get<uint64_t>();
    const auto memory = frame.at("memory").get<uint64_t>();
    const Json& calls = frame.at("calls");
    out += "weft " + frame.at("version").get<std::string>() + "  " + address + "  up " + up_text +
           "\n";
    out += "memory   " + bytes_text(used) + " of " + bytes_text(memory) + "  " +
           share_text(static_cast<double>(used), static_cast<double>(memory - used)) +
           "   clients " + frame.at("sessions").dump() + "   pins " + frame.at("pins").dump() +
           " of " + frame.at("pins_max").dump() + "\n";
    const double hits = sum_of(frame, "hits_per_s"), missed = sum_of(frame, "missed_per_s");
    out += "look-ups " + amount_text(hits + missed) + "/s  hits " + share_text(hits, missed) +
           "   misses: " + reasons_text(frame) + "\n";
    out += "blocks   saved " + amount_text(sum_of(frame, "saved_per_s")) + "/s " +
           bytes_rate(sum_of(frame, "saved_bytes_per_s")) + "   loaded " +
           bytes_rate(sum_of(frame, "loaded_bytes_per_s")) + "   evicted " +
           amount_text(sum_of(frame, "evicted_per_s")) + "/s\n";
    out += "calls    " + amount_text(calls.at("per_s")) + "/s   half within " +
           time_text(calls.at("p50_ns")) + "   99 % within " + time_text(calls.at("p99_ns")) + "\n";
}

void spaces_table(const Json& frame, std::string& out) {
    std::vector<Json> spaces = frame.at("namespaces");
    const auto looked_up = [](const Json& space) {
        return space.at("hits_per_s").get<double>() + space.at("missed_per_s").get<double>();
    };
    std::sort(spaces.begin(), spaces.end(), [&](const Json& a, const Json& b) {
        return looked_up(a) != looked_up(b) ? looked_up(a) > looked_up(b)
                                            : a.at("name") < b.at("name");
    });
    std::vector<std::vector<std::string>> rows{
        {"NAMESPACE", "BLOCKS", "MEMORY", "FREE", "HITS", "HITS/s", "MISS/s", "SAVED/s"}};
    for (const Json& space : spaces) {
        if (rows.size() > kSpaceRows) break;
        rows.push_back({space.at("name").get<std::string>().substr(0, 24),
                        amount_text(space.at("blocks")), bytes_text(space.at("data_bytes")),
                        bytes_text(space.at("free_bytes")),
                        share_text(space.at("hits_per_s"), space.at("missed_per_s")),
                        amount_text(space.at("hits_per_s")), amount_text(space.at("missed_per_s")),
                        amount_text(space.at("saved_per_s"))});
    }
    out += "\n" + table_text(rows);
    if (spaces.size() > kSpaceRows)
        out += "and " + std::to_string(spaces.size() - kSpaceRows) + " more namespaces\n";
}

void processes_table(const Json& frame, std::string& out) {
    const std::vector<Json> processes = by_held(frame.at("processes"));
    std::vector<std::vector<std::string>> rows{
        {"PROCESS", "NAMESPACE", "VIEWS", "PINS", "WRITES", "QUAR", "STOCK", "HOLDS"}};
    const auto count = [](const Json& process, const char* field) {
        return amount_text(process.at(field));
    };
    for (const Json& process : processes) {
        if (rows.size() > kProcessRows) break;
        rows.push_back({process_text(process).substr(0, 16),
                        process.at("namespace").get<std::string>().substr(0, 18),
                        count(process, "viewed"), count(process, "pinned"),
                        count(process, "writing"), count(process, "quarantined"),
                        count(process, "stocked"), bytes_text(held_bytes(process))});
    }
    out += "\n" + table_text(rows);
    if (processes.size() > kProcessRows)
        out += "and " + std::to_string(processes.size() - kProcessRows) + " more\n";
}

/** Lines of at most kColumns, as a terminal of that width shows them. */
std::string clipped(const std::string& text) {
    std::string lines;
    for (size_t from = 0; from < text.size();) {
        const size_t end = std::min(text.find('\n', from), text.size());
        lines += text.substr(from, std::min(end - from, kColumns)) + "\n";
        from = end + 1;
    }
    return lines;
}

void show(const Json& frame, const Settings& settings, bool clear) {
    std::string out;
    if (settings.json) {
        out = frame.dump() + "\n";
    } else {
        heading(frame, settings.connect, out);
        spaces_table(frame, out);
        processes_table(frame, out);
        out = (clear ? "\033[H\033[J" : "") + clipped(out);
    }
    std::fwrite(out.data(), 1, out.size(), stdout);
    std::fflush(stdout);
}

void sleep_s(double seconds) {
    timespec left{};
    left.tv_sec = static_cast<time_t>(seconds);
    left.tv_nsec = static_cast<long>((seconds - static_cast<double>(left.tv_sec)) * 1e9);
    nanosleep(&left, nullptr);
}

}  // namespace

int run(const Top& top, const Settings& settings) {
    const Store store = settings.open();
    const bool clear = !top.once && !settings.json && isatty(STDOUT_FILENO) == 1;
    Look before = look_at(store);
    for (;;) {
        sleep_s(top.interval_s);
        try {
            Look now = look_at(store);
            show(frame_of(before, now), settings, clear);
            if (top.once) return kOk;
            before = std::move(now);
        } catch (const Error& problem) {
            if (top.once) throw;
            std::fprintf(stderr, "%sweft: %s; waiting for it\n", clear ? "\033[H\033[J" : "",
                         problem.what());
        }
    }
}

}  // namespace weft::cli
