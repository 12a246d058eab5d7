// How segments come and go (protocols 1): a new one is announced to every process that has the
// namespace open, and no slot of it is given out before each has confirmed it or is late: nobody
// waits more than a second for a process, nor again before it confirmed one. An emptied segment is
// unmapped by every process, then punched. Memory moves between classes and namespaces in no other
// way.
#include <algorithm>

#include "capi/weft.h"
#include "core/cache.h"
#include "fabric/clock/clock.h"

namespace weft {
namespace {

/** Some of it is on its way out: its memory has not come free yet. */
bool retires(Slots& slots) {
    return std::ranges::any_of(slots.segments(),
                               [](const auto& entry) { return entry.second->retiring; });
}

}  // namespace

void Cache::push_new_segments(Space& space) {
    std::set<uint32_t>& known = announced_[&space];
    for (auto& [id, segment] : space.space->slots().segments()) {
        // What is on its way out is not announced again.
        if (segment->retiring || !known.insert(id).second) continue;
        for (auto [opening, session] : space.openings) {
            // Rights may have gone since it was opened; what is mapped stays, more does not come.
            uint32_t may = rights(session, space);
            if ((may & (kRead | kWrite)) == 0) continue;
            bool write = (may & kWrite) != 0;
            Session& of = sessions_.at(session);
            if (!of.process->push_segment(opening, *segment, write) && !of.late)
                segment->waiting.insert(opening);
        }
    }
}

void Cache::confirm_segment(uint64_t opening, uint32_t id, uint64_t now) {
    for (auto& [name, space] : spaces_) {
        auto found = space->openings.find(opening);
        if (found == space->openings.end()) continue;
        sessions_.at(found->second).late = false;
        Segment* segment = space->space->slots().segment(id);
        if (segment != nullptr && !segment->retiring) segment->waiting.erase(opening);
        move_segments(*space, now);
    }
}

void Cache::confirm_drop(uint64_t opening, uint32_t id, uint64_t now) {
    for (auto& [name, space] : spaces_) {
        if (space->openings.count(opening) == 0) continue;
        Segment* segment = space->space->slots().segment(id);
        if (segment != nullptr && segment->retiring) segment->waiting.erase(opening);
        move_segments(*space, now);
    }
}

/** Who has a segment for a second without confirming it is late. It asks for the descriptors that
 * it lacks. */
void Cache::pass_over_late(Space& space, uint64_t now) {
    auto& segments = space.space->slots().segments();
    auto session_of = [&](uint64_t opening) -> Session& {
        return sessions_.at(space.openings.at(opening));
    };
    for (auto& [id, segment] : segments) {
        if (segment->retiring || now <= segment->opened + fabric::kSecond) continue;
        for (uint64_t opening : segment->waiting) session_of(opening).late = true;
    }
    for (auto& [id, segment] : segments) {
        if (segment->retiring) continue;
        std::erase_if(segment->waiting, [&](uint64_t opening) { return session_of(opening).late; });
    }
}

void Cache::move_segments(Space& space, uint64_t now) {
    Slots& slots = space.space->slots();
    std::set<uint32_t>& known = announced_[&space];
    pass_over_late(space, now);
    bool room = false;
    for (uint32_t id : space.space->empty_segments()) {
        Segment& segment = *slots.segment(id);
        if (known.erase(id) != 0) {
            segment.waiting.clear();
            for (auto [opening, session] : space.openings) {
                if (!sessions_.at(session).process->drop_segment(opening, id))
                    segment.waiting.insert(opening);
            }
        }
        if (!segment.waiting.empty()) continue;
        slots.drop_segment(id);
        room = true;
    }
    std::vector<Held> held = std::move(held_);
    held_.clear();
    for (Held& one : held) {
        std::erase_if(one.segments, [&](uint32_t id) {
            Segment* segment = one.space->space->slots().segment(id);
            return segment == nullptr || segment->retiring || segment->waiting.empty();
        });
        if (one.segments.empty()) {
            answers_.push_back(std::move(one.answer));
        } else {
            held_.push_back(std::move(one));
        }
    }
    if (!room) return;
    for (auto& [name, other] : spaces_) {
        other->writing->changed(Writing::kRoom, now);
        collect(*other);
    }
}

/** A class that cannot help itself gets a segment's memory from the class that holds the most.
 * True: it is on its way. What a view or a stopped process keeps for longer than a second is not.
 */
bool Cache::reclaim(Space& of, uint64_t bytes, uint64_t now) {
    uint64_t slot_bytes = slot_bytes_for(bytes);
    uint64_t quota = of.space->config().quota;
    if (slot_bytes > options_.memory ||
        (quota != 0 && of.space->slots().data_bytes() + slot_bytes > quota)) {
        return false;
    }
    uint64_t coming = 0;
    std::map<const Space*, uint64_t> stuck;
    for (auto& [name, space] : spaces_) {
        for (auto& [id, segment] : space->space->slots().segments()) {
            if (segment->retiring)
                (now < segment->retired + fabric::kSecond ? coming : stuck[space.get()]) +=
                    segment->file.mapping.size();
        }
    }
    std::vector<std::pair<uint64_t, std::pair<Space*, SizeClass*>>> holders;
    for (auto& [name, space] : spaces_) {
        for (auto& [size, other] : space->space->slots().classes()) {
            uint64_t held = 0;
            for (auto& [id, segment] : space->space->slots().segments()) {
                if (segment->slot_bytes == size && !segment->retiring)
                    held += segment->file.mapping.size();
            }
            if (held > 0 && (space.get() != &of || size != slot_bytes))
                holders.push_back({held, {space.get(), &other}});
        }
    }
    std::sort(holders.begin(), holders.end(),
              [](const auto& a, const auto& b) { return a.first > b.first; });
    uint64_t wanted = slot_bytes + (uint64_t{1} << 20);
    for (auto& [held, holder] : holders) {
        // Who keeps these would keep the next ones as well: no more is emptied for nothing.
        if (stuck[holder.first] >= wanted) continue;
        while (coming + budget_.left() < wanted) {
            Segment* segment = holder.first->space->coldest_segment(*holder.second);
            if (segment == nullptr) break;
            coming += segment->file.mapping.size();
            holder.first->space->retire(*segment, now);
            holder.first->space->settle_limbo(now);
        }
    }
    return coming > 0;
}

/** Namespaces that evicted since the last look and hold less than an equal share take a segment
 * from the one that holds the most. */
void Cache::rebalance(uint64_t now) {
    uint64_t active = 0;
    Space* largest = nullptr;
    uint64_t most = 0;
    for (auto& [name, space] : spaces_) {
        uint64_t bytes = space->space->slots().data_bytes();
        if (bytes == 0) continue;
        active++;
        // One segment that a view or a stopped process keeps is enough to wait for: it would keep
        // the next ones as well, and a namespace would be emptied for nothing.
        if (bytes > most && !retires(space->space->slots())) {
            most = bytes;
            largest = space.get();
        }
    }
    bool starving = false;
    for (auto& [name, space] : spaces_) {
        uint64_t evicted = space->space->stats().evicted;
        uint64_t quota = space->space->config().quota;
        uint64_t bytes = space->space->slots().data_bytes();
        uint64_t segment = bytes / 4 + (uint64_t{2} << 20);
        if (evicted > space->evicted_before && active > 1 &&
            bytes + segment < options_.memory / active &&
            (quota == 0 || bytes + segment <= quota)) {
            starving = true;
        }
        space->evicted_before = evicted;
    }
    if (!starving || largest == nullptr || most <= options_.memory / active ||
        budget_.left() > most / 8)
        return;
    SizeClass* biggest = nullptr;
    for (auto& [size, of] : largest->space->slots().classes()) {
        if (biggest == nullptr ||
            of.segments * of.slot_bytes > biggest->segments * biggest->slot_bytes)
            biggest = &of;
    }
    Segment* segment = largest->space->coldest_segment(*biggest);
    if (segment == nullptr) return;
    largest->space->retire(*segment, now);
    largest->space->settle_limbo(now);
}

}  // namespace weft
