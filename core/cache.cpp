// Sessions, openings, and the verbs that are not about writing. Queries are in
// core/stats/query.cpp, the moving of segments in core/space/segments.cpp, what outlives a node in
// core/space/state.cpp.
#include "core/cache.h"

#include "capi/weft.h"
#include "fabric/clock/clock.h"

namespace weft {

namespace {

constexpr uint64_t kBlockMost = uint64_t{kPartsMax} << 32;  // parts are below 4 GiB

/** The rights of which one is needed. Whoever may write can also read: the memory is one. */
uint32_t right_for(const Request& request) {
    switch (request.verb) {
        case Verb::stock:
        case Verb::publish:
        case Verb::reserve:
        case Verb::commit:
        case Verb::remove:
            return kWrite;
        case Verb::touch:
            return request.ttl_s != 0 ? kWrite : kRead | kWrite;
        case Verb::wait:
            return (request.flags & WEFT_CLAIM) != 0 ? kWrite : kRead | kWrite;
        case Verb::advance:
            return kAdvance;
        default:
            return kRead | kWrite;
    }
}

}  // namespace

Cache::Cache(const CacheOptions& options, fabric::Memory& memory, StateKeeper* keeper)
    : options_(options),
      memory_(memory),
      keeper_(keeper),
      budget_(options.memory),
      crowd_(options.memory),
      next_id_((options.incarnation & 0xffffffff) << 24 | 1) {}

Cache::~Cache() = default;

Result<uint32_t> Cache::begin_session(Process& process, Grants grants, int pid,
                                      const std::string& name) {
    if (sessions_.size() >= kSessionsMax) {
        return Failure{WEFT_EQUOTA, std::to_string(sessions_.size()) + " sessions are the limit"};
    }
    uint32_t id = next_session_++;
    sessions_[id] = {&process, std::move(grants), pid, name, {}};
    return id;
}

void Cache::set_grants(uint32_t session, Grants grants) {
    auto found = sessions_.find(session);
    if (found != sessions_.end()) found->second.grants = std::move(grants);
}

void Cache::set_connected(uint32_t session, bool connected, uint64_t now) {
    auto found = sessions_.find(session);
    if (found == sessions_.end()) return;
    found->second.apart_since = connected ? 0 : now;
}

void Cache::end_session(uint32_t id, uint64_t now) {
    auto found = sessions_.find(id);
    if (found == sessions_.end()) return;
    while (!found->second.openings.empty()) {
        // The opening is gone also where the disk could not be told: its page must not be looked
        // at.
        Status told = close_opening(id, found->second.openings.begin()->first, now);
    }
    for (auto& [name, space] : spaces_) {
        space->writing->end_session(id, now);
        collect(*space);
    }
    std::vector<uint64_t> pins;
    for (const auto& [pin, kept] : pins_) {
        if (kept.session == id) pins.push_back(pin);
    }
    for (uint64_t pin : pins) unpin(pin);
    sessions_.erase(id);
}

Result<Cache::Space*> Cache::create(const std::string& name, const NamespaceConfig& config,
                                    uint64_t floor) {
    if (spaces_.size() >= kNamespacesMax) {
        return Failure{WEFT_EQUOTA, std::to_string(spaces_.size()) + " namespaces are the limit"};
    }
    auto space = std::make_unique<Space>();
    space->space = std::make_unique<Namespace>(
        name, config, floor, memory_, budget_,
        options_.incarnation * 0x9e3779b97f4a7c15 + spaces_.size() * 2, options_.prefault);
    Status started = space->space->start(serve_until_);
    if (!started) return started.failure();
    Space* raw = space.get();
    space->writing = std::make_unique<Writing>(
        *space->space, next_id_, crowd_,
        [this, raw](uint64_t bytes, uint64_t now) { return reclaim(*raw, bytes, now); });
    space->floor_kept = floor;
    spaces_[name] = std::move(space);
    return raw;
}

Result<Cache::Space*> Cache::find_or_create(const std::string& name,
                                            const NamespaceRequest& request, uint32_t rights,
                                            uint64_t) {
    auto found = spaces_.find(name);
    bool there = found != spaces_.end() && !found->second->dropped;
    if (!there && !request.create)
        return Failure{WEFT_EMISS, "there is no namespace " + name + ", and create=no"};
    if (found != spaces_.end()) {
        Status agrees = check_agreement(name, request, found->second->space->config());
        if (!agrees) return agrees.failure();
        return found->second.get();
    }
    if ((rights & kWrite) == 0)
        return Failure{WEFT_EDENIED,
                       "namespace " + name + " does not exist, and the token may not create it"};
    if (request.config.parts > 1 && request.config.any_size()) {
        return Failure{WEFT_EINVAL, "namespace " + name +
                                        ": parts=" + std::to_string(request.config.parts) +
                                        " needs part_bytes="};
    }
    uint64_t block = request.config.block_bytes();
    if (slot_bytes_for(block) > options_.memory) {
        return Failure{WEFT_EINVAL,
                       "namespace " + name + ": a block of " + std::to_string(block) +
                           " bytes is larger than memory=" + std::to_string(options_.memory)};
    }
    auto floor = dropped_floors_.find(name);
    Result<Space*> made =
        create(name, request.config, floor == dropped_floors_.end() ? 0 : floor->second);
    if (!made) return made;
    Status kept = persist();
    if (!kept) {
        spaces_.erase(name);
        return kept.failure();
    }
    return made;
}

Result<Opened> Cache::open_namespace(uint32_t session, const std::string& name,
                                     const std::string& options, ReaderPage* page,
                                     uint64_t floor_known, uint64_t now) {
    auto session_found = sessions_.find(session);
    if (session_found == sessions_.end()) return Failure{WEFT_ECLOSED, "the session has ended"};
    Session& of = session_found->second;
    Status named = check_name(name);
    if (!named) return named.failure();
    Result<NamespaceRequest> request = parse_namespace_options(options.c_str());
    if (!request) return request.failure();
    uint32_t allowed = rights_on(of.grants, name);
    if (allowed == 0) return Failure{WEFT_EDENIED, "the token does not allow namespace " + name};
    if (of.openings.size() >= kOpeningsMax) {
        return Failure{WEFT_EQUOTA,
                       std::to_string(of.openings.size()) + " openings of a process are the limit"};
    }
    Result<Space*> found = find_or_create(name, *request, allowed, now);
    if (!found) return found.failure();
    Space& space = **found;
    space.dropped = false;
    // Who may only read must not be able to fence; who may write could empty the namespace anyway.
    bool believed = options_.ephemeral && (allowed & (kWrite | kAdvance)) != 0;
    if (believed && floor_known > space.space->floor()) space.space->raise_floor(floor_known);
    uint64_t floor = space.space->floor();
    if (request->version_given && request->version < floor) {
        return Failure{WEFT_EFENCED, "namespace " + name + " has advanced to version " +
                                         std::to_string(floor) + ", beyond " +
                                         std::to_string(request->version)};
    }
    Opening opening;
    opening.id = next_id_++;
    opening.session = session;
    opening.version = request->version_given ? request->version : floor;
    opening.writer =
        request->writer.empty() ? "#" + std::to_string(session) : "=" + request->writer;
    Opening& kept = of.openings[opening.id] = std::move(opening);
    space.openings[kept.id] = session;
    space.writing->add_opening(kept);
    // Relaxed: where the ring begins is a count, ordered by nothing.
    space.space->attach({kept.id, page, page->touch_count.load_relaxed()});
    return Opened{kept.id, space.space.get(), kept.version, allowed};
}

Opening* Cache::opening_of(uint32_t session, uint64_t opening, Space*& space) {
    auto of = sessions_.find(session);
    if (of == sessions_.end()) return nullptr;
    auto found = of->second.openings.find(opening);
    if (found == of->second.openings.end()) return nullptr;
    for (auto& [name, candidate] : spaces_) {
        if (candidate->openings.count(opening) != 0) {
            space = candidate.get();
            return &found->second;
        }
    }
    return nullptr;
}

Namespace* Cache::namespace_of(uint32_t session, uint64_t opening) {
    Space* space = nullptr;
    return opening_of(session, opening, space) == nullptr ? nullptr : space->space.get();
}

uint32_t Cache::rights_in(uint32_t session, uint64_t opening) {
    Space* space = nullptr;
    return opening_of(session, opening, space) == nullptr ? 0 : rights(session, *space);
}

Status Cache::close_opening(uint32_t session, uint64_t id, uint64_t now) {
    Space* space = nullptr;
    Opening* opening = opening_of(session, id, space);
    if (opening == nullptr) return Failure{WEFT_ECLOSED, "the namespace is not open"};
    space->writing->end_opening(*opening, now);
    space->space->detach(id, now);
    space->openings.erase(id);
    for (auto& [segment, kept] : space->space->slots().segments()) kept->waiting.erase(id);
    sessions_.at(session).openings.erase(id);
    collect(*space);
    move_segments(*space, now);
    if (space->dropped && space->openings.empty()) return drop(space->space->name(), now);
    return Nothing{};
}

void Cache::keep_only(uint32_t session, uint64_t id, const std::set<uint64_t>& reservations,
                      const std::set<uint32_t>& stock, uint64_t now) {
    Space* space = nullptr;
    Opening* opening = opening_of(session, id, space);
    if (opening == nullptr) return;
    space->writing->keep_only(*opening, reservations, stock, now);
    collect(*space);
    // What the process was asked to unmap while it was away, it is asked again.
    Process& process = *sessions_.at(session).process;
    for (auto& [segment, kept] : space->space->slots().segments()) {
        if (kept->retiring && kept->waiting.count(id) != 0 && process.drop_segment(id, segment))
            kept->waiting.erase(id);
    }
    move_segments(*space, now);
}

uint32_t Cache::rights(uint32_t session, const Space& space) const {
    return rights_on(sessions_.at(session).grants, space.space->name());
}

/** A request comes from another process: what it says is checked here, once, before anything uses
 * it. */
bool Cache::may_run(uint32_t session, const Space& space, const Request& request,
                    Reply& reply) const {
    const NamespaceConfig& config = space.space->config();
    uint64_t size_most = config.any_size() ? UINT32_MAX : kBlockMost;
    bool good = request.part < config.parts && request.start <= UINT32_MAX;
    for (const RequestItem& item : request.items) good = good && item.size <= size_most;
    bool batch = request.verb == Verb::stock || request.verb == Verb::publish;
    bool claims = request.verb == Verb::wait && (request.flags & WEFT_CLAIM) != 0;
    good = good && (!(batch || claims) || !request.items.empty());
    good = good && (!batch || request.size <= kBlockMost);
    // Blocks of several parts are made by reservations; of one part, as many as a stock has.
    good = good && (request.verb != Verb::publish ||
                    (config.parts == 1 && request.items.size() <= Writing::kStockMax));
    if (!good) {
        reply.status = -WEFT_EINVAL;
        reply.message = "the request is malformed";
        return false;
    }
    // That a process writes no more is always good to hear.
    if (request.verb == Verb::abort) return true;
    if ((rights(session, space) & right_for(request)) != 0) return true;
    reply.status = -WEFT_EDENIED;
    reply.message = std::string("the token does not allow ") +
                    (request.verb == Verb::advance ? "advance" : "this") + " in namespace " +
                    space.space->name();
    return false;
}

void Cache::run(uint32_t session, uint64_t id, Request&& request, Done done, uint64_t now) {
    Space* space = nullptr;
    Reply reply;
    if (request.verb == Verb::release) {
        release(session, request, reply, now);
        return answer(nullptr, std::move(done), std::move(reply));
    }
    Opening* opening = opening_of(session, id, space);
    if (opening == nullptr) {
        reply.status = -WEFT_ECLOSED;
        return answer(nullptr, std::move(done), std::move(reply));
    }
    if (!may_run(session, *space, request, reply)) {
        // Also the COMMIT of one who may not write any more is its word that it does not.
        if (request.verb == Verb::commit && (request.flags & WEFT_MORE) == 0) {
            Reply ended;
            request.items.clear();
            space->writing->abort(*opening, request, ended, now);
            collect(*space);
        }
        return answer(nullptr, std::move(done), std::move(reply));
    }
    bool fenced = opening->version < space->space->floor();
    switch (request.verb) {
        case Verb::stock:
        case Verb::publish:
        case Verb::reserve:
        case Verb::locate:
        case Verb::wait: {
            auto pending = std::make_shared<Pending>();
            pending->request = std::move(request);
            pending->done = std::move(done);
            space->writing->begin(pending, *opening, now);
            collect(*space);
            return;
        }
        case Verb::commit:
            space->writing->commit(*opening, request, reply, now);
            break;
        case Verb::abort:
            space->writing->abort(*opening, request, reply, now);
            break;
        case Verb::advance:
            advance(*space, request, reply, now);
            break;
        default:
            if (fenced) {
                reply.status = -WEFT_EFENCED;
            } else if (request.verb == Verb::match) {
                match(*space, *opening, request, reply, now);
            } else if (request.verb == Verb::touch) {
                touch(*space, *opening, request, reply, now);
            } else {
                remove(*space, *opening, request, reply, now);
            }
    }
    answer(space, std::move(done), std::move(reply));
    collect(*space);
}

/** Finished requests become answers; slots of segments that a process has not confirmed hold an
 * answer back. */
void Cache::collect(Space& space) {
    push_new_segments(space);
    for (const PendingPtr& pending : space.writing->take_finished()) {
        answer(&space, std::move(pending->done), std::move(pending->reply));
    }
}

void Cache::answer(Space* space, Done done, Reply&& reply) {
    Held held{{std::move(done), std::move(reply)}, space, {}};
    if (space != nullptr) {
        for (const std::vector<ReplyItem>* items :
             {&held.answer.reply.items, &held.answer.reply.stock}) {
            for (const ReplyItem& item : *items) {
                if (item.slot == kNoSlot || item.status < 0) continue;
                // What a list settled first may have left, segment and all, before its last one
                // came.
                Segment* segment = space->space->slots().segment_that_had(item.slot);
                if (segment != nullptr && !segment->waiting.empty() && !segment->retiring)
                    held.segments.push_back(segment->id);
            }
        }
    }
    if (held.segments.empty()) {
        answers_.push_back(std::move(held.answer));
    } else {
        held_.push_back(std::move(held));
    }
}

std::vector<Cache::Answer> Cache::take_replies() { return std::move(answers_); }

void Cache::match(Space& space, Opening& opening, const Request& request, Reply& reply,
                  uint64_t now) {
    bool follow = (request.flags & WEFT_FOLLOW) != 0;
    bool pins = (request.flags & WEFT_PIN) != 0;
    uint32_t ttl_s =
        std::min(request.ttl_s == 0 ? UINT32_MAX : request.ttl_s, space.space->config().pin_s);
    uint64_t until = pins ? now + ttl_s * fabric::kSecond : now;
    uint64_t count = 0;
    bool leading = true;
    for (const RequestItem& item : request.items) {
        ReplyItem out;
        uint32_t slot = space.space->find(item.key, opening.version, until);
        if (slot != kNoSlot) {
            out.slot = slot;
            out.value =
                space.space->config().bytes_of(request.part, space.space->slots().block_size(slot));
        } else if (follow && space.writing->being_written(item.key, opening.version) != kNoSlot) {
            out.value = space.space->config().any_size()
                            ? 0
                            : space.space->config().part_bytes[request.part];
        } else {
            out.status = -WEFT_EMISS;
            bool writing = space.writing->being_written(item.key, opening.version) != kNoSlot;
            bool expires = slot == kNoSlot && pins &&
                           space.space->find(item.key, opening.version, now) != kNoSlot;
            out.value = expires   ? uint64_t{WEFT_MISS_EXPIRED}
                        : writing ? uint64_t{WEFT_MISS_PARTIAL}
                                  : space.space->miss_reason(item.key, opening.version, now);
            if (leading) reply.detail = static_cast<uint32_t>(out.value);
            leading = false;
        }
        if (leading) count++;
        reply.items.push_back(out);
        if (!leading && (request.flags & WEFT_EACH) == 0) break;
    }
    reply.value = count;
    if (pins && count > 0) pin(space, opening, request, count, reply, now);
    for (ReplyItem& item : reply.items) item.slot = kNoSlot;
}

void Cache::pin(Space& space, Opening& opening, const Request& request, uint64_t count,
                Reply& reply, uint64_t now) {
    if (pinned_blocks_ + count > options_.pins_max) {
        reply.status = -WEFT_EQUOTA;
        reply.value = 0;
        reply.message = "pins=" + std::to_string(options_.pins_max) +
                        " is reached: " + std::to_string(pinned_blocks_) + " blocks are pinned, " +
                        std::to_string(count) + " more were asked for";
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (reply.items[i].slot == kNoSlot ||
            space.space->slots().info(reply.items[i].slot).pins < UINT16_MAX)
            continue;
        reply.status = -WEFT_EQUOTA;
        reply.value = 0;
        reply.message = "item " + std::to_string(i) + " is pinned " + std::to_string(UINT16_MAX) +
                        " times, which is the limit";
        return;
    }
    Pin pin;
    pin.session = opening.session;
    pin.space = space.space->name();
    uint32_t ttl_s =
        std::min(request.ttl_s == 0 ? UINT32_MAX : request.ttl_s, space.space->config().pin_s);
    pin.deadline = now + ttl_s * fabric::kSecond;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t slot = reply.items[i].slot;
        if (slot == kNoSlot) continue;
        space.space->slots().info(slot).pins++;
        // Relaxed, here and in unpin: the node's own word, under its lock.
        pin.slots.emplace_back(slot, space.space->slots().header(slot).gen.load_relaxed());
    }
    pinned_blocks_ += pin.slots.size();
    reply.handle = uint64_t{4} << 60 | next_id_++;
    pins_[reply.handle] = std::move(pin);
}

void Cache::unpin(uint64_t id) {
    auto found = pins_.find(id);
    auto space = spaces_.find(found->second.space);
    pinned_blocks_ -= found->second.slots.size();
    if (space != spaces_.end()) {
        for (auto [slot, gen] : found->second.slots) space->second->space->unpin(slot, gen);
    }
    pins_.erase(found);
}

void Cache::touch(Space& space, Opening& opening, const Request& request, Reply& reply,
                  uint64_t now) {
    uint64_t expiry = request.ttl_s == 0 ? 0 : now + request.ttl_s * fabric::kSecond;
    std::vector<uint32_t> touched;
    for (const RequestItem& item : request.items) {
        ReplyItem out;
        uint32_t slot = space.space->find(item.key, opening.version, now);
        if (slot == kNoSlot) {
            out.status = -WEFT_EMISS;
            out.value = space.space->miss_reason(item.key, opening.version, now);
        } else {
            if (expiry != 0) space.space->set_expiry(slot, expiry);
            touched.push_back(slot);
        }
        reply.items.push_back(out);
    }
    for (size_t i = touched.size(); i > 0; i--) {
        space.space->touch({touched[i - 1], 1, (request.flags >> 12) & 3}, now);
    }
}

void Cache::remove(Space& space, Opening& opening, const Request& request, Reply& reply,
                   uint64_t now) {
    for (const RequestItem& item : request.items) {
        ReplyItem out;
        uint32_t slot = space.space->find(item.key, opening.version, now);
        if (slot == kNoSlot) {
            out.status = -WEFT_EMISS;
            out.value = space.space->miss_reason(item.key, opening.version, now);
        } else {
            space.space->unpublish(slot, WEFT_MISS_ABSENT);
            space.space->stats().removed++;
        }
        reply.items.push_back(out);
    }
    space.space->settle_limbo(now);
    for (const RequestItem& item : request.items) space.writing->changed(item.key, now);
}

void Cache::advance(Space& space, const Request& request, Reply& reply, uint64_t now) {
    if (request.number > space.space->floor()) {
        // Readers first lose the old blocks, then the disk learns of it, then the caller: a node
        // that dies in between has fenced too much for nobody, since its index ends with its lease.
        space.space->raise_floor(request.number);
        space.writing->end_fenced(now);
    }
    // Also when the floor was there already: the disk may have failed the one who raised it.
    if (space.floor_kept < space.space->floor()) {
        Status kept = persist();
        if (!kept) {
            reply.status = -kept.failure().code;
            reply.message = kept.failure().message;
            return;
        }
    }
    reply.value = space.space->floor();
}

void Cache::release(uint32_t session, const Request& request, Reply& reply, uint64_t now) {
    for (const RequestItem& item : request.items) {
        auto pin = pins_.find(item.key.lo);
        if (pin != pins_.end() && pin->second.session == session) {
            unpin(item.key.lo);
            reply.value++;
            continue;
        }
        for (auto& [name, space] : spaces_) {
            if (!space->writing->release_claim(item.key.lo, session, now)) continue;
            reply.value++;
            collect(*space);
            break;
        }
    }
}

void Cache::set_serve_until(uint64_t instant) {
    serve_until_ = instant;
    for (auto& [name, space] : spaces_) space->space->set_serve_until(instant);
}

void Cache::tick(uint64_t now) {
    std::vector<uint64_t> over;
    for (const auto& [id, pin] : pins_) {
        if (pin.deadline <= now) over.push_back(id);
    }
    for (uint64_t id : over) unpin(id);
    for (auto& [name, space] : spaces_) {
        space->space->drain_touches(now);
        space->space->sweep(now);
        space->space->settle_limbo(now);
        space->writing->expire(now);
        // Who waits for room looks again: it came, or it does not come.
        space->writing->changed(Writing::kRoom, now);
        collect(*space);
    }
    rebalance(now);
    for (auto& [name, space] : spaces_) move_segments(*space, now);
}

}  // namespace weft
