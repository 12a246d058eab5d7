/** The checks of doctor.h at a node: what it has counted, made into what to do. Thresholds are
 * those at which a user would act; each stands beside its advice. */
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "command.h"
#include "doctor.h"
#include "figures.h"
#include "json.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr double kSlowCallNs = 10e6;       // a hundred times what a call takes on an idle machine
constexpr uint64_t kEnoughLookUps = 1000;  // before shares of them mean anything

/** What the most frequent reason of a namespace's misses asks for. */
std::string advice_for(const std::string& reason, const Json& space) {
    if (reason == "evicted")
        return "Give the node more memory (--memory), or this namespace more quota=; "
               "policy=windowed "
               "helps where much is read once.";
    if (reason == "expired") return "ttl_s= is shorter than the time between two uses.";
    if (reason == "fenced") return "Engines still open an old version: restart or reopen them.";
    if (reason == "partial")
        return "Look-ups come while blocks are written, or writers give up: see abandoned and "
               "attempts in weft stats; WEFT_WAIT_WRITER waits instead of missing.";
    if (reason == "unreachable")
        return "The node did not answer in time: it was stopped, or gets too little processor.";
    if (reason == "far") return "Processes lack descriptors or memory to map what others saved.";
    if (space.at("saved").get<uint64_t>() == 0)
        return "Nothing was ever saved here: is the engine that saves connected to this namespace?";
    return "Prompts share nothing, or keys differ between engines: hash seed, tokenizer, block "
           "size "
           "and LoRA must agree. weft doctor NAMESPACE --key KEY explains one.";
}

void check_misses(const Json& stats, Findings& findings) {
    for (const Json& space : stats.at("namespaces")) {
        const auto hits = space.at("hits").get<uint64_t>();
        const uint64_t misses = misses_of(space);
        if (hits + misses == 0) continue;
        std::string found = space.at("name").get<std::string>() + ": " + hit_text(hits, misses) +
                            " of " + amount_text(static_cast<double>(hits + misses)) +
                            " look-ups hit";
        std::vector<std::pair<uint64_t, std::string>> reasons;
        for (const auto& [reason, count] : space.at("misses").items())
            if (count != 0) reasons.emplace_back(count.get<uint64_t>(), reason);
        std::sort(reasons.rbegin(), reasons.rend());
        for (const auto& [count, reason] : reasons)
            found += (reason == reasons[0].second ? "; misses: " : ", ") + reason + " " +
                     amount_text(static_cast<double>(count));
        const bool poor = hits + misses >= kEnoughLookUps && misses > hits;
        const bool advise = !reasons.empty() && (poor || hits == 0);
        findings.push_back({poor     ? Level::kWarning
                            : advise ? Level::kNote
                                     : Level::kOk,
                            "misses", found, advise ? advice_for(reasons[0].second, space) : ""});
    }
}

/** Who keeps memory from being given to others; what eviction may take is not held. */
void check_holders(const Json& stats, const std::vector<Json>& processes, Findings& findings) {
    const auto memory = stats.at("memory").get<uint64_t>();
    std::string found = bytes_text(stats.at("memory_used")) + " of " + bytes_text(memory) + " used";
    uint64_t held = 0;
    for (const Json& process : processes) held += held_bytes(process);
    found += "; " + bytes_text(held) + " of it cannot be evicted";
    for (size_t i = 0; i < std::min<size_t>(3, processes.size()); i++) {
        if (held_bytes(processes[i]) == 0) break;
        found += (i == 0 ? ": " : ", ") + process_text(processes[i]) + " holds " +
                 bytes_text(held_bytes(processes[i]));
    }
    const bool much = held > memory / 2;  // then saving competes for the other half
    findings.push_back(
        {much ? Level::kWarning : Level::kOk, "holders", found,
         much ? "weft stats --processes says by what: views that are not released, pins "
                "(pin_s=), blocks that are never finished (write_s=)."
              : ""});
    uint64_t quarantined = 0;
    for (const Json& space : stats.at("namespaces"))
        quarantined += space.at("quarantined").get<uint64_t>();
    if (quarantined > 0)
        findings.push_back(
            {Level::kWarning, "quarantine",
             std::to_string(quarantined) + " slots wait for the word of a writer that was too late",
             "Its process is stopped or hangs; weft stats --processes names it. They are free when "
             "it "
             "goes on or ends."});
    const auto pins = stats.at("pins").get<uint64_t>(), most = stats.at("pins_max").get<uint64_t>();
    if (pins > most / 10 * 9)
        findings.push_back({Level::kWarning, "pins",
                            std::to_string(pins) + " of " + std::to_string(most) + " are taken",
                            "MATCH with WEFT_PIN fails beyond: release pins, or raise pins=."});
}

void check_calls(const Json& stats, Findings& findings) {
    const Calls calls = calls_of_all(stats);
    if (calls.count == 0) return;
    const bool slow = calls.p99_ns > kSlowCallNs;
    findings.push_back(
        {slow ? Level::kWarning : Level::kOk, "calls",
         amount_text(static_cast<double>(calls.count)) + " calls; half were answered within " +
             time_text(calls.p50_ns) + ", 99 % within " + time_text(calls.p99_ns),
         slow
             ? "Waiting for writers and for room counts in; where nothing waits, the node gets too "
               "little processor: see weft top, and weft doctor --speed."
             : ""});
}

double now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

template <typename Work>
double median_ns(size_t rounds, Work work) {
    std::vector<double> times;
    for (size_t i = 0; i <= rounds; i++) {
        const double start = now_ns();
        work(i);
        if (i > 0) times.push_back(now_ns() - start);  // the first one warms
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

constexpr size_t kBlocks = 8;
constexpr size_t kBlockBytes = size_t{1} << 20;
constexpr size_t kKeys = 1000;

/** What an engine would wait for: a look-up, a call, the load of blocks; beside memcpy. */
void measure(const Store& store, const Namespace& space, Findings& findings) {
    Queue queue(store);
    std::vector<std::byte> from(kBlocks * kBlockBytes, std::byte{7}), to(from.size());
    std::vector<weft_item> blocks(kBlocks), absent(kKeys);
    for (size_t i = 0; i < kKeys; i++) absent[i].key_lo = 1'000'000 + i;
    for (size_t i = 0; i < kBlocks; i++) {
        blocks[i].key_lo = i + 1;
        blocks[i].size = kBlockBytes;
        blocks[i].offset = reinterpret_cast<uintptr_t>(from.data() + i * kBlockBytes);
    }
    require(store, queue.run(space.list(WEFT_OP_SAVE, blocks.data(), kBlocks)), "save");
    for (size_t i = 0; i < kBlocks; i++)
        blocks[i].offset = reinterpret_cast<uintptr_t>(to.data() + i * kBlockBytes);
    const double look = median_ns(200, [&](size_t) {
        for (weft_item& item : absent) check(weft_match(store.get(), space.space(), &item, 1));
    });
    const double call = median_ns(200, [&](size_t i) {
        queue.run(space.op(WEFT_OP_TOUCH, Key{9, i + 1}));  // a miss that the node alone decides
    });
    const double load = median_ns(20, [&](size_t) {
        require(store, queue.run(space.list(WEFT_OP_LOAD, blocks.data(), kBlocks)), "load");
    });
    const double copy =
        median_ns(20, [&](size_t) { std::memcpy(to.data(), from.data(), to.size()); });
    const double gib = static_cast<double>(to.size()) / (1 << 30) * 1e9;
    char text[160];
    std::snprintf(
        text, sizeof text,
        "a look-up takes %s, a call %s; loads run at %.1f GiB/s, memcpy at %.1f: %.2f of it",
        time_text(look / kKeys).c_str(), time_text(call).c_str(), gib / load, gib / copy,
        copy / load);
    const bool slow = call > kSlowCallNs || copy / load < 0.5;
    findings.push_back(
        {slow ? Level::kWarning : Level::kOk, "speed", text,
         slow
             ? "The cache is slow here: is the processor shared by too many (see weft top), or the "
               "node of another memory node?"
             : "The cache is not what is slow: time that a request takes beyond these is the "
               "engine's own. Compare with its numbers."});
}

void check_speed(const Store& store, Findings& findings) {
    const std::string name = "weft-doctor/" + std::to_string(getpid());
    try {
        const Namespace space(store, name, "parts=1,part_bytes=0");
        try {
            measure(store, space, findings);
        } catch (...) {
            store.query("drop", space.space());
            throw;
        }
        store.query("drop", space.space());
    } catch (const Error& problem) {
        findings.push_back({Level::kNote, "speed", "not measured: " + std::string(problem.what()),
                            problem.code() == WEFT_EDENIED
                                ? "It needs a token with write and admin on weft-doctor/*."
                                : "See weft top and the node's log."});
    }
}

Json explain(const Store& store, const Doctor& doctor, Findings& findings) {
    const Namespace space = open_existing(
        store, doctor.name, doctor.version.empty() ? "" : "version=" + doctor.version);
    const Key key = doctor.key.empty() ? Key::of(doctor.key_name) : Key::from_text(doctor.key);
    const Json answer = Json::parse(store.query("explain key=" + key.text(), space.space()));
    const bool there = answer.at("there").get<bool>();
    std::string found = key.text() + ": " + answer.at("why").get<std::string>();
    if (there) {
        found += ", " + bytes_text(answer.at("bytes")) + ", used " +
                 answer.at("used_s_ago").dump() + " s ago";
        if (answer.contains("expires_in_s"))
            found += ", expires in " + answer["expires_in_s"].dump() + " s";
    }
    findings.push_back(
        {there ? Level::kOk : Level::kNote, "key", found,
         there ? "" : "Reason of the miss: " + answer.at("reason").get<std::string>()});
    return answer;
}

}  // namespace

Json check_use(const Store& store, const Doctor& doctor, Findings& findings) {
    const Json stats = Json::parse(store.query("stats"));
    check_misses(stats, findings);
    check_holders(stats, by_held(rows_of(Json::parse(store.query("processes")), "processes")),
                  findings);
    check_calls(stats, findings);
    if (doctor.speed) check_speed(store, findings);
    if (doctor.key.empty() && doctor.key_name.empty()) return Json();
    return explain(store, doctor, findings);
}

}  // namespace weft::cli
