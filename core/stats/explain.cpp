// Why a key misses, in fields for programs and a sentence for people (weft_query "explain"): the
// question that users of caches ask first. The answer is of the instant that it is asked; what left
// longer ago than the namespace remembers (core/stats/ghosts.h) cannot be told from what never was.
//
// Invariants: nothing is said of a namespace that the asker has no right on; nothing changes, no
// look-up is counted and no block becomes younger.
#include <nlohmann/json.hpp>

#include "capi/weft.h"
#include "core/cache.h"
#include "fabric/clock/clock.h"

namespace weft {

using nlohmann::json;

namespace {

constexpr size_t kElsewhereMax = 16;  // places named where the key is too

std::string ago(uint64_t seconds) {
    if (seconds < 120) return std::to_string(seconds) + " s ago";
    if (seconds < 7200) return std::to_string(seconds / 60) + " min ago";
    return std::to_string(seconds / 3600) + " h ago";
}

uint64_t seconds_to(uint64_t instant, uint64_t now) {
    return instant > now ? (instant - now) / fabric::kSecond : 0;
}

/** What left, by what is remembered of it. */
std::string why_left(const Ghosts::Memory& memory, uint32_t reason) {
    switch (reason) {
        case WEFT_MISS_EVICTED:
            return "evicted about " + ago(memory.ago_s) +
                   " to make room: what is used between two uses of it does not fit into memory= "
                   "or "
                   "quota=";
        case WEFT_MISS_EXPIRED:
            return memory.reason == reason ? "its time to live ended about " + ago(memory.ago_s)
                                           : "its time to live has ended";
        case WEFT_MISS_FENCED:
            return "only lower versions of it are known: the model's weights have changed since";
        case WEFT_MISS_PARTIAL:
            return "its writer gave up about " + ago(memory.ago_s) +
                   ": it aborted, died, was too late, or parts of it never came";
        default:
            break;
    }
    if (memory.reason == WEFT_MISS_ABSENT)
        return "removed about " + ago(memory.ago_s) + ": by REMOVE, flush or drop";
    return "never saved at this version, or it left so long ago that it is forgotten. Keys differ "
           "where engines differ in hash seed, tokenizer, block size or LoRA, and a prompt's last "
           "tokens make no block until they fill one";
}

}  // namespace

/** Where else the key is: other versions here, other namespaces. */
json Cache::elsewhere(const Grants& grants, Space& space, uint64_t version, const Key& key,
                      uint64_t now) {
    json places = json::array();
    for (const auto& [name, other] : spaces_) {
        if (rights_on(grants, name) == 0) continue;
        for (uint64_t of : other->space->versions_of(key, now)) {
            if (other.get() == &space && of == version) continue;
            if (places.size() == kElsewhereMax) return places;
            bool same = to_json(other->space->config()) == to_json(space.space->config());
            places.push_back({{"namespace", name},
                              {"version", of},
                              {"floor", other->space->floor()},
                              {"same_layout", same}});
        }
    }
    return places;
}

json Cache::explain(const Grants& grants, const Opening& opening, Space& space, const Key& key,
                    uint64_t now) {
    Namespace& of = *space.space;
    uint32_t slot = of.find(key, opening.version, now);
    json answer = {{"key", key_text(key)},
                   {"version", opening.version},
                   {"floor", of.floor()},
                   {"there", slot != kNoSlot}};
    if (slot != kNoSlot) {
        SlotHeader& header = of.slots().header(slot);
        uint64_t expiry = header.expiry.load_relaxed();
        answer["reason"] = "";
        answer["why"] = "it is there";
        answer["bytes"] = of.slots().block_size(slot);
        answer["pins"] = of.slots().info(slot).pins;
        uint64_t used = uint64_t{of.slots().info(slot).touched} * (fabric::kSecond / 10);
        answer["used_s_ago"] = now > used ? (now - used) / fabric::kSecond : 0;
        if (expiry != 0) answer["expires_in_s"] = seconds_to(expiry, now);
        return answer;
    }
    Ghosts::Memory memory = of.memory_of(key);
    uint32_t reason = of.miss_reason(key, opening.version, now);
    std::string why = why_left(memory, reason);
    if (opening.version < of.floor()) {
        reason = WEFT_MISS_FENCED;
        why = "this opening is of version " + std::to_string(opening.version) +
              ", below the floor " + std::to_string(of.floor()) + ": open the namespace anew";
    } else if (std::optional<Writing::Maker> maker =
                   space.writing->maker_of(key, opening.version)) {
        json who = json::array();
        std::string names;
        for (uint32_t session : maker->sessions) {
            who.push_back(name_of(session));
            names += (names.empty() ? "" : ", ") + name_of(session);
        }
        if (names.empty()) names = "nobody at this instant";
        std::string left = std::to_string(seconds_to(maker->deadline, now)) + " s are left";
        if (maker->writer.empty()) {
            why = "claimed by " + names + ", who computes it; " + left;
        } else {
            reason = WEFT_MISS_PARTIAL;
            why = "being written by " + names + ": " + std::to_string(maker->parts_in) + " of " +
                  std::to_string(of.config().parts) + " parts are in; " + left;
        }
        answer[maker->writer.empty() ? "claimed_by" : "written_by"] = who;
        answer["ends_in_s"] = seconds_to(maker->deadline, now);
    }
    answer["reason"] = kMissWords[reason];
    if (memory.reason != 0) answer["left_s_ago"] = memory.ago_s;
    json places = elsewhere(grants, space, opening.version, key, now);
    if (!places.empty()) {
        const json& first = places[0];
        why += ". It is in namespace " + first["namespace"].get<std::string>() + " at version " +
               std::to_string(first["version"].get<uint64_t>()) +
               (first["same_layout"].get<bool>() ? "" : ", of another layout");
        answer["elsewhere"] = places;
    }
    answer["why"] = why;
    return answer;
}

}  // namespace weft
