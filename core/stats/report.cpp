// Reading a node's counters, and the JSON of them.
#include "core/stats/report.h"

#include <nlohmann/json.hpp>

#include "capi/weft.h"
#include "core/cache.h"
#include "fabric/clock/clock.h"

namespace weft {

using nlohmann::json;

json to_json(const SpaceReport& report) {
    const NamespaceStats& stats = report.stats;
    json misses = json::object();
    for (uint32_t reason = 1; reason < kMissReasons; reason++)
        misses[kMissWords[reason]] = stats.misses[reason];
    return {{"name", report.name},
            {"floor", report.floor},
            {"blocks", report.blocks},
            {"data_bytes", report.data_bytes},
            {"free_bytes", report.free_bytes},
            {"index_bytes", report.index_bytes},
            {"private_bytes", report.private_bytes},
            {"openings", report.openings},
            {"saved", stats.saved},
            {"saved_bytes", stats.saved_bytes},
            {"loaded_bytes", stats.loaded_bytes},
            {"hits", stats.hits},
            {"misses", misses},
            {"evicted", stats.evicted},
            {"expired", stats.expired},
            {"removed", stats.removed},
            {"fenced", stats.fenced},
            {"replaced", stats.replaced},
            {"abandoned", stats.abandoned},
            {"attempts", report.attempts},
            {"quarantined", report.quarantined},
            {"claims", report.claims},
            {"waiting", report.waiting},
            {"limbo", report.limbo},
            {"segments", report.segments}};
}

SpaceReport Cache::report(Space& space) {
    Namespace& of = *space.space;
    SpaceReport report;
    report.name = of.name();
    report.floor = of.floor();
    report.blocks = of.blocks();
    report.data_bytes = of.slots().data_bytes();
    report.free_bytes = of.free_bytes();
    report.index_bytes = of.slots().index_bytes();
    report.private_bytes = of.private_bytes() + of.slots().infos().bytes();
    report.openings = space.openings.size();
    report.stats = of.stats_now();
    report.attempts = space.writing->attempts();
    report.quarantined = space.writing->quarantined();
    report.claims = space.writing->claims();
    report.waiting = space.writing->waiting();
    report.limbo = of.limbo();
    report.segments = of.slots().segments().size();
    return report;
}

NodeReport Cache::report(uint64_t now) const {
    NodeReport report;
    report.memory = budget_.limit();
    report.memory_used = budget_.used();
    report.sessions = sessions_.size();
    report.pins = pinned_blocks_;
    report.pins_max = options_.pins_max;
    report.up_s = now > options_.began ? (now - options_.began) / fabric::kSecond : 0;
    std::map<std::string, uint64_t> pinned;
    for (const auto& [id, pin] : pins_) pinned[pin.space] += pin.slots.size();
    for (const auto& [name, space] : spaces_) {
        report.spaces.push_back(Cache::report(*space));
        report.spaces.back().pinned = pinned[name];
    }
    return report;
}

std::string Cache::name_of(uint32_t session) const {
    auto found = sessions_.find(session);
    if (found == sessions_.end()) return "a process that is gone";
    const Session& of = found->second;
    std::string name = of.pid > 0 ? "process " + std::to_string(of.pid) : "a process";
    return of.name.empty() ? name : name + " (" + of.name + ")";
}

/** What each session holds in a namespace. */
std::map<uint32_t, Holding> Cache::holdings(Space& space) const {
    std::map<uint32_t, Holding> by_session;
    space.writing->count_held(by_session);
    std::map<uint64_t, Holding*> by_opening;
    for (const auto& [opening, session] : space.openings)
        by_opening[opening] = &by_session[session];
    space.space->count_viewed(by_opening);
    for (const auto& [id, pin] : pins_) {
        if (pin.space != space.space->name()) continue;
        Slots& slots = space.space->slots();
        for (const auto& [slot, gen] : pin.slots) {
            // A block that left since took its pins with it.
            if (slots.header(slot).gen.load_relaxed() == gen)
                by_session[pin.session].pinned.add(1, slots.segment_of(slot).slot_bytes);
        }
    }
    return by_session;
}

/** A row for each process and namespace that it has open, of those that the grants name. */
json Cache::processes(const Grants& grants, uint64_t now) const {
    json rows = json::array();
    for (const auto& [name, space] : spaces_) {
        if (rights_on(grants, name) == 0) continue;
        for (const auto& [session, holding] : holdings(*space)) {
            auto of = sessions_.find(session);
            if (of == sessions_.end()) continue;
            uint64_t apart = of->second.apart_since;
            rows.push_back({{"session", session},
                            {"pid", of->second.pid},
                            {"process", of->second.name},
                            {"connected", apart == 0},
                            {"apart_s", apart == 0 ? 0 : (now - apart) / fabric::kSecond},
                            {"namespace", name},
                            {"openings", holding.openings},
                            {"viewed", holding.viewed.count},
                            {"viewed_bytes", holding.viewed.bytes},
                            {"pinned", holding.pinned.count},
                            {"pinned_bytes", holding.pinned.bytes},
                            {"writing", holding.writing.count},
                            {"writing_bytes", holding.writing.bytes},
                            {"quarantined", holding.quarantined.count},
                            {"quarantined_bytes", holding.quarantined.bytes},
                            {"stocked", holding.stocked.count},
                            {"stocked_bytes", holding.stocked.bytes},
                            {"claims", holding.claims},
                            {"waiting", holding.waiting}});
        }
    }
    return rows;
}

}  // namespace weft
