// Answers in JSON to questions in words: what a node knows of itself, a namespace's blocks, why a
// key missed; and the administrative verbs drop and flush. The words are capi/weft.h's
// (weft_query).
#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "capi/weft.h"
#include "core/cache.h"
#include "fabric/clock/clock.h"

namespace weft {

using nlohmann::json;

namespace {

constexpr uint64_t kBlocksMost = 10000;

Result<Key> parse_key(const std::string& text) {
    Key key;
    bool good = text.size() == 32;
    if (good) {
        auto high = std::from_chars(text.data(), text.data() + 16, key.hi, 16);
        auto low = std::from_chars(text.data() + 16, text.data() + 32, key.lo, 16);
        good = high.ptr == text.data() + 16 && low.ptr == text.data() + 32;
    }
    if (!good)
        return Failure{WEFT_EINVAL, "key=" + text + ": 32 hexadecimal digits, the high half first"};
    return key;
}

/** Relaxed, as all loads of header words here: the node's own, under its lock. */
Key key_at(Slots& slots, uint32_t slot) {
    return {slots.header(slot).key_hi.load_relaxed(), slots.header(slot).key_lo.load_relaxed()};
}

json list_blocks(Namespace& space, uint64_t version, const Key& after, bool from_start,
                 uint64_t limit, uint64_t now) {
    std::vector<std::pair<Key, uint32_t>> found;
    Slots& slots = space.slots();
    for (uint32_t slot = 0; slot < slots.slots_used(); slot++) {
        if (static_cast<SlotState>(slots.info(slot).state) != SlotState::published) continue;
        uint64_t expiry = slots.header(slot).expiry.load_relaxed();
        if (slots.header(slot).version.load_relaxed() != version || (expiry != 0 && now >= expiry))
            continue;
        Key key = key_at(slots, slot);
        if (from_start || key > after) found.emplace_back(key, slot);
    }
    size_t count = std::min<size_t>(limit, found.size());
    std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count),
                      found.end());
    json blocks = json::array();
    for (size_t i = 0; i < count; i++) {
        auto [key, slot] = found[i];
        SlotHeader& header = slots.header(slot);
        json block = {{"key", key_text(key)},
                      {"bytes", slots.block_size(slot)},
                      {"pins", slots.info(slot).pins}};
        uint64_t expiry = header.expiry.load_relaxed();
        if (expiry != 0) block["expires_in_s"] = (expiry - now) / fabric::kSecond;
        blocks.push_back(block);
    }
    return {{"blocks", blocks}, {"more", found.size() > count}};
}

}  // namespace

std::string key_text(const Key& key) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (uint64_t half : {key.hi, key.lo}) {
        for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[half >> shift & 15];
    }
    return text;
}

Result<std::string> Cache::query_node(uint32_t session, const std::string& verb, uint64_t now) {
    const Grants& grants = sessions_.at(session).grants;
    if (verb == "processes") return json{{"processes", processes(grants, now)}}.dump();
    json list = json::array();
    for (auto& [name, space] : spaces_) {
        if (rights_on(grants, name) == 0) continue;
        if (verb == "stats") {
            list.push_back(to_json(report(*space)));
        } else {
            list.push_back({{"name", name},
                            {"floor", space->space->floor()},
                            {"blocks", space->space->blocks()},
                            {"config", to_json(space->space->config())}});
        }
    }
    if (verb == "namespaces") return json{{"namespaces", list}}.dump();
    json calls = json::object();
    for (uint32_t of = 0; of < kVerbs; of++) {
        Latency::Reading reading = latencies_[of].read();
        calls[kVerbWords[of]] = {{"counts", reading.counts}, {"sum_ns", reading.sum_ns}};
    }
    return json{{"version", weft_version()},
                {"up_s", (now - std::min(now, options_.began)) / fabric::kSecond},
                {"memory", budget_.limit()},
                {"memory_used", budget_.used()},
                {"sessions", sessions_.size()},
                {"sessions_max", kSessionsMax},
                {"pins", pinned_blocks_},
                {"pins_max", options_.pins_max},
                {"bounds_ns", Latency::kBoundsNs},
                {"calls", calls},
                {"namespaces", list}}
        .dump();
}

/** flush and drop: the verbs that empty a namespace. */
Result<std::string> Cache::empty_space(Space& space, uint32_t may, const std::string& verb,
                                       Options& options, uint64_t now) {
    Namespace& of = *space.space;
    if ((may & kAdmin) == 0)
        return Failure{WEFT_EDENIED,
                       "the token does not allow " + verb + " in namespace " + of.name()};
    bool all = !options.has("version");
    Result<uint64_t> version = verb == "flush" ? options.take_number("version", 0, 0, INT64_MAX)
                                               : Result<uint64_t>(uint64_t{0});
    if (!version) return version.failure();
    Status rest = options.finish(verb == "flush" ? "version" : "none");
    if (!rest) return rest.failure();
    if (verb == "drop" && space.openings.size() > 1) {
        return Failure{WEFT_EBUSY, "namespace " + of.name() + " is open " +
                                       std::to_string(space.openings.size()) + " times"};
    }
    uint64_t count = of.flush(all ? std::nullopt : std::optional<uint64_t>(*version), now);
    json answer = {{"removed", count}};
    if (verb == "drop") {
        answer["dropped"] = of.name();
        space.dropped = true;
        Status dropped = drop(of.name(), now);
        if (!dropped) return dropped.failure();
    }
    return answer.dump();
}

Result<std::string> Cache::query_space(const Session& session, Opening& opening, Space& space,
                                       uint32_t may, const std::string& verb,
                                       const std::string& arguments, uint64_t now) {
    Result<Options> options = Options::parse_bounded(arguments);
    if (!options) return options.failure();
    Namespace& of = *space.space;
    json answer;
    std::string known;
    if (verb == "stats") {
        answer = to_json(report(space));
    } else if (verb == "layout") {
        answer = to_json(of.config());
        answer["name"] = of.name();
        answer["version"] = opening.version;
        answer["floor"] = of.floor();
    } else if (verb == "blocks") {
        known = "after, limit";
        std::optional<std::string> after = options->take("after");
        Result<uint64_t> limit = options->take_number("limit", 1000, 1, kBlocksMost);
        if (!limit) return limit.failure();
        Result<Key> key = after ? parse_key(*after) : Result<Key>(Key{});
        if (!key) return key.failure();
        answer = list_blocks(of, opening.version, *key, !after, *limit, now);
    } else if (verb == "explain") {
        known = "key";
        Result<Key> key = parse_key(options->take("key").value_or(""));
        if (!key) return key.failure();
        answer = explain(session.grants, opening, space, *key, now);
    } else if (verb == "flush" || verb == "drop") {
        return empty_space(space, may, verb, *options, now);
    } else {
        return Failure{
            WEFT_EINVAL,
            "query \"" + verb + "\": of a space: stats, layout, blocks, explain, drop, flush"};
    }
    Status rest = options->finish(known);
    if (!rest) return rest.failure();
    return answer.dump();
}

Result<std::string> Cache::query(uint32_t session, uint64_t opening, const std::string& words,
                                 uint64_t now) {
    size_t space_at = words.find(' ');
    if (sessions_.count(session) == 0) return Failure{WEFT_ECLOSED, "the session has ended"};
    std::string verb = words.substr(0, space_at);
    std::string arguments = space_at == std::string::npos ? "" : words.substr(space_at + 1);
    if (opening != 0) {
        Space* space = nullptr;
        Opening* of = opening_of(session, opening, space);
        if (of == nullptr) return Failure{WEFT_ECLOSED, "the namespace is not open"};
        uint32_t may = rights(session, *space);
        if (may == 0)
            return Failure{WEFT_EDENIED,
                           "the token does not allow namespace " + space->space->name()};
        return query_space(sessions_.at(session), *of, *space, may, verb, arguments, now);
    }
    if (verb == "stats" || verb == "processes" || verb == "namespaces")
        return query_node(session, verb, now);
    if (verb == "flush" || verb == "drop") {
        uint64_t count = 0;
        std::vector<std::string> names;
        for (auto& [name, space] : spaces_) {
            if ((rights_on(sessions_.at(session).grants, name) & kAdmin) != 0)
                names.push_back(name);
        }
        if (names.empty() && !spaces_.empty())
            return Failure{WEFT_EDENIED, "the token does not allow " + verb};
        for (const std::string& name : names) {
            Space& space = *spaces_.at(name);
            count += space.space->flush(std::nullopt, now);
            if (verb == "drop" && space.openings.empty()) {
                Status dropped = drop(name, now);
                if (!dropped) return dropped.failure();
            }
        }
        return json{{"removed", count}}.dump();
    }
    return Failure{
        WEFT_EINVAL,
        "query \"" + verb +
            "\": known are about, stats, processes, namespaces, error, drop, flush, reload"};
}

/** The namespace is gone once its last opening has closed. Its floor is remembered. */
Status Cache::drop(const std::string& name, uint64_t now) {
    auto found = spaces_.find(name);
    Space& space = *found->second;
    for (auto& [id, segment] : space.space->slots().segments()) {
        if (!segment->retiring) space.space->retire(*segment, now);
    }
    space.space->settle_limbo(now);
    move_segments(space, now);
    if (!space.openings.empty()) return Nothing{};
    std::vector<uint64_t> pins;
    for (const auto& [id, pin] : pins_) {
        if (pin.space == name) pins.push_back(id);
    }
    for (uint64_t id : pins) unpin(id);
    announced_.erase(&space);
    if (space.space->floor() > 0) dropped_floors_[name] = space.space->floor();
    spaces_.erase(found);  // and with it the name, where it is the space's own
    return persist();
}

}  // namespace weft
