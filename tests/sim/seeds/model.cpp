// The rules. Times are the simulated machine's; what "afterwards" means to memory is told by
// clocks: whoever is held to an event has heard of it.
#include "tests/sim/seeds/model.h"

#include <cstring>

namespace weft::seeds {
namespace {

constexpr uint64_t kMark = 0x5eed0000;
constexpr uint64_t kTtlLeast = 1'000'000'000;  // ns: of any put or touch that has one

uint64_t word_of(uint32_t put, uint64_t place) {
    if (place % 128 == 0) return kMark << 32 | put;
    return (put * 0x9e3779b97f4a7c15) ^ (place * 0xd6e8feb86659fd93);
}

uint64_t now() { return host().scheduler.now(); }
void learn(const Clock& clock) { host().memory.learn(host().scheduler.process().id, clock); }
const Clock& known() { return host().memory.clock(host().scheduler.process().id); }

}  // namespace

void Model::fill(std::byte* to, size_t size, uint64_t start, uint32_t put) {
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = word_of(put, (start + at) / 8);
        memcpy(to + at, &word, 8);
    }
}

uint32_t Model::whose(const std::byte* from, size_t size, uint64_t start, std::string& torn) {
    uint64_t first = 0;
    memcpy(&first, from, 8);
    auto put = static_cast<uint32_t>(first);
    if (first >> 32 != kMark) torn = "bytes that no put wrote";
    for (size_t at = 0; at < size && torn.empty(); at += 8) {
        uint64_t word = 0;
        memcpy(&word, from + at, 8);
        if (word == word_of(put, (start + at) / 8)) continue;
        uint64_t mark = 0;
        memcpy(&mark, from + at / 1024 * 1024, 8);
        torn = "bytes of put " + std::to_string(put) + " up to " + std::to_string(at) +
               ", then of put " + std::to_string(static_cast<uint32_t>(mark));
    }
    return torn.empty() ? put : 0;
}

uint32_t Model::begin_put(const Name& name, uint32_t writer, uint32_t ttl_s) {
    auto number = static_cast<uint32_t>(puts_.size());
    Put put;
    put.name = name;
    put.writer = writer;
    put.began = now();
    put.excuses = excuses(name.space);
    put.floor = floor(name.space);
    learn(floors_[name.space].known);
    // When a block of several parts comes whole, and so expires, one part's writer does not know.
    bool alone = host().set.parts == 1 || name.space != 0;
    if (ttl_s != 0) expire_.insert({name.space, name.version, name.key, 0});
    put.expires = ttl_s == 0 || !alone ? kNever : uint64_t{ttl_s} * 1'000'000'000;
    puts_.push_back(put);
    by_name_[name].push_back(number);
    return number;
}

void Model::commit_put(uint32_t number) { puts_[number].floor = floor(puts_[number].name.space); }

void Model::end_put(uint32_t number, Outcome outcome, bool published) {
    Put& put = puts_[number];
    put.ended = now();
    put.outcome = outcome;
    put.published = published;
    published_ = published_ || published;
    put.known = known();
    if (put.expires != kNever) put.expires += put.ended;
    if (outcome == Outcome::done && put.name.version < std::min(put.floor, floor(put.name.space)))
        broken("P2: a put below the floor is taken", Get{put.name}, number);
}

Get Model::begin_get(const Name& name) {
    Get get{name, now()};
    get.node_floor = node_floor(name.space);
    // Whoever does not hear of them is not held to what others did meanwhile: memory may be as late
    // as it can. But a block that it has heard of is still there, though replaced since.
    Heard& heard = heard_[{host().scheduler.process().id, name}];
    if (!host().scheduler.random().one_in(3)) {
        get.since = heard.since;
        get.excuses = heard.excuses;
        return get;
    }
    get.heard = true;
    get.floor = floor(name.space);
    for (const Removal& removal : removals_[name]) learn(removal.known);
    learn(floors_[name.space].known);
    Name any = name;
    for (any.part = 0; any.part < host().set.parts; any.part++) {
        for (uint32_t number : by_name_[any]) {
            const Put& put = puts_[number];
            if (put.outcome != Outcome::done || !put.published) continue;
            learn(put.known);
            get.since = put.began;
            get.excuses = put.excuses;
        }
    }
    heard = {get.since, get.excuses};
    return get;
}

void Model::broken(const std::string& what, const Get& get, uint32_t number) {
    const Put& put = puts_[number];
    host().scheduler.fail(what + ": key " + std::to_string(get.name.key) + " at version " +
                          std::to_string(get.name.version) + ", put " + std::to_string(number) +
                          " of writer " + std::to_string(put.writer));
}

/** Since when the block of these parts has been there, for certain; kNever: not known. */
uint64_t Model::there_since(const Name& base, const std::vector<uint32_t>& parts) const {
    bool alone = host().set.parts == 1 || base.space != 0;
    if (!alone && parts.size() < host().set.parts) return kNever;
    uint64_t since = 0;
    bool published = false;
    for (uint32_t number : parts) {
        since = std::max(since, puts_[number].ended);
        published = published || puts_[number].published;
    }
    return published ? since : kNever;
}

void Model::hit(const Get& get, const std::vector<uint32_t>& parts) {
    uint64_t since = parts[0] == 0 ? kNever : there_since(get.name, parts);
    for (const Removal& removal : removals_[get.name]) {
        if (get.heard && since < removal.began && removal.ended < get.began)
            return broken("P6: a block that was removed", get, parts[0]);
    }
    for (uint32_t number : parts) {
        if (number == 0 || number >= puts_.size()) return broken("P1: bytes of no put", get, 0);
        const Put& put = puts_[number];
        Name name = get.name;
        name.part = put.name.part;
        if (put.name != name) return broken("P1: another block's bytes", get, number);
        if (put.outcome == Outcome::failed)
            return broken("P1: bytes of a put that failed", get, number);
        if (put.writer != puts_[parts[0]].writer)
            return broken("P1: parts of two writers", get, number);
        if (get.name.version < std::min(get.floor, floor(get.name.space)))
            return broken("P2: a block below the floor", get, number);
        if (put.outcome == Outcome::done && put.expires < get.began &&
            !touched_.contains(get.name) && !pinned_.contains(get.name))
            return broken("P1: a block that has expired", get, number);
        if (!get.heard || since == kNever || parts.size() > 1) continue;
        for (uint32_t other : by_name_[name]) {
            const Put& later = puts_[other];
            if (put.ended < later.began && later.ended < get.began && later.published)
                return broken("P6: a block that was replaced", get, number);
        }
    }
}

void Model::miss(const Get& get) {
    if (get.since == 0 || get.excuses == 0 || get.until < now()) return;
    const Removes& removes = removes_[get.name];
    uint64_t excuses_now = excuses(get.name.space);
    bool other_node = get.excuses >> 32 != excuses_now >> 32;
    // Nothing expires within a second of its put, or of a touch behind that.
    bool may_expire = now() + get.ahead >= get.since + kTtlLeast &&
                      (touched_.contains(get.name) || expire_.contains(get.name));
    bool gone = !get.pinned && (get.excuses != excuses_now || may_expire);
    if (other_node || gone || may_be_fenced(get.name)) return;
    if (removes.under_way > 0 || removes.last_end >= get.since) return;
    broken(get.pinned ? "P3: a pinned block is not found" : "P6: a block is not found", get, 0);
}

void Model::begin_advance(uint32_t space, uint64_t version) {
    floors_[space].begun = std::max(floors_[space].begun, version);
}

void Model::end_advance(uint32_t space, uint64_t version) {
    Floor& floor = floors_[space];
    floor.acknowledged = std::max(floor.acknowledged, version);
    floor.known.join(known());
}

void Model::end_remove(const Name& name, uint64_t began, Outcome outcome) {
    Removes& removes = removes_[name];
    removes.last_end = std::max(removes.last_end, now());
    // One whose answer is lost may still be carried out.
    if (outcome != Outcome::unknown) removes.under_way--;
    if (outcome == Outcome::done) removals_[name].push_back({began, now(), known()});
}

}  // namespace weft::seeds
