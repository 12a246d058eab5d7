// Attempts and reservations: from the opening of a part to the publication of its block, or to the
// last holder's word.
#include <algorithm>

#include "capi/weft.h"
#include "core/write/writing.h"
#include "fabric/clock/clock.h"

namespace weft {

bool Ranges::covers(uint64_t begin, uint64_t end) const {
    auto after = ranges_.upper_bound(begin);
    return begin == end || (after != ranges_.begin() && std::prev(after)->second >= end);
}

bool Ranges::overlaps(uint64_t begin, uint64_t end) const {
    auto after = ranges_.lower_bound(end);
    return after != ranges_.begin() && std::prev(after)->second > begin;
}

void Ranges::add(uint64_t begin, uint64_t end) {
    if (begin == end) return;
    auto at = ranges_.upper_bound(begin);
    if (at != ranges_.begin() && std::prev(at)->second >= begin) at = std::prev(at);
    while (at != ranges_.end() && at->first <= end) {
        begin = std::min(begin, at->first);
        end = std::max(end, at->second);
        at = ranges_.erase(at);
    }
    ranges_[begin] = end;
}

void Ranges::remove(uint64_t begin, uint64_t end) {
    auto at = ranges_.upper_bound(begin);
    if (begin == end || at == ranges_.begin()) return;
    auto [first, last] = *--at;
    ranges_.erase(at);
    if (first < begin) ranges_[first] = begin;
    if (end < last) ranges_[end] = last;
}

uint64_t Ranges::prefix() const {
    return ranges_.empty() || ranges_.begin()->first != 0 ? 0 : ranges_.begin()->second;
}

Writing::Attempt* Writing::open_attempt(const Key& key, uint64_t version) {
    auto found = open_.find({key, version});
    return found == open_.end() ? nullptr : &attempts_.at(found->second);
}

uint32_t Writing::being_written(const Key& key, uint64_t version) const {
    auto found = open_.find({key, version});
    return found == open_.end() ? kNoSlot : attempts_.at(found->second).slot;
}

uint64_t Writing::expiry(uint32_t ttl_s, uint64_t now) const {
    uint64_t seconds = ttl_s != 0 ? ttl_s : space_.config().ttl_s;
    return seconds == 0 ? 0 : now + seconds * fabric::kSecond;
}

Result<Writing::Attempt*> Writing::start_attempt(Pending& pending, const RequestItem& item,
                                                 Opening& opening, uint64_t now) {
    const NamespaceConfig& config = space_.config();
    if (opening.quarantined >= kQuarantineMax) {
        return Failure{WEFT_EQUOTA, std::to_string(opening.quarantined) +
                                        " slots wait for this process's COMMIT or ABORT"};
    }
    Result<uint32_t> slot = space_.allocate(config.any_size() ? item.size : config.block_bytes(),
                                            now, SlotState::attempt);
    if (!slot) return slot.failure();
    Attempt attempt;
    attempt.id = next_id_++;
    attempt.key = item.key;
    attempt.version = opening.version;
    attempt.writer = opening.writer;
    attempt.slot = *slot;
    attempt.replace = (pending.request.flags & WEFT_REPLACE) != 0;
    attempt.deadline = now + config.write_s * fabric::kSecond;
    attempt.parts.resize(config.parts);
    for (uint32_t part = 0; part < config.parts; part++)
        attempt.parts[part].size = config.bytes_of(part, item.size);
    open_[{item.key, opening.version}] = attempt.id;
    return &(attempts_[attempt.id] = std::move(attempt));
}

/** The request's process joins the attempt with its part, or a range of it. 0 or a negated code. */
int32_t Writing::join(Attempt& attempt, Pending& pending, uint32_t item, Opening& opening) {
    Request& request = pending.request;
    Part& part = attempt.parts[request.part];
    uint64_t id = pending.reply.handle;
    uint64_t start = request.user ? 0 : request.start;
    uint64_t wanted = request.items[item].size;
    if (start > part.size || wanted > part.size - start) return -WEFT_ERANGE;
    uint64_t size = request.user || wanted == 0 ? part.size - start : wanted;
    if (request.user) {
        if (part.reserved_by != 0 || !part.in_flight.empty()) return -WEFT_EHELD;
        // Also when only some of them are: a follower may have them already.
        if (!part.final.empty()) return -WEFT_EEXISTS;
    } else {
        // Into its own reservation a process may also save.
        if (part.reserved_by != 0 && reservations_.at(part.reserved_by).opening != opening.id)
            return -WEFT_EHELD;
        if (part.final.overlaps(start, start + size)) return -WEFT_EEXISTS;
        if (part.in_flight.overlaps(start, start + size)) return -WEFT_EHELD;
    }
    if (reservations_.size() >= kReservationsMax && reservations_.count(id) == 0) {
        pending.reply.message =
            std::to_string(reservations_.size()) + " reservations of a namespace are the limit";
        return -WEFT_EQUOTA;
    }
    if (request.user) {
        part.reserved_by = id;
    } else {
        part.in_flight.add(start, start + size);
    }
    Reservation& reservation = reservations_[id];
    reservation.opening = opening.id;
    reservation.user = request.user;
    auto behind =
        std::upper_bound(reservation.pieces.begin(), reservation.pieces.end(), item,
                         [](uint32_t wanted, const Piece& other) { return wanted < other.item; });
    reservation.pieces.insert(behind, {attempt.id, request.part, start, size, item});
    attempt.holders.insert(id);
    describe(attempt.slot, part.size, pending.reply.items[item]);
    return 0;
}

bool Writing::complete(const Attempt& attempt) const {
    if (!attempt.holders.empty()) return false;
    for (const Part& part : attempt.parts) {
        if (!part.final.covers(0, part.size) || part.reserved_by != 0) return false;
    }
    return true;
}

int32_t Writing::publish_attempt(uint64_t id, bool returns, uint64_t now) {
    Attempt& attempt = attempts_.at(id);
    uint32_t old = space_.find(attempt.key, attempt.version, now);
    if (old != kNoSlot && !attempt.replace) {
        end_attempt(id, -WEFT_EEXISTS);
        return -WEFT_EEXISTS;
    }
    Publication block;
    block.key = attempt.key;
    block.version = attempt.version;
    block.expiry = expiry(static_cast<uint32_t>(attempt.expiry_ttl_s), now);
    block.parent = attempt.parent;
    block.returns = returns;
    std::vector<uint64_t> checksums;
    for (const Part& part : attempt.parts) {
        checksums.push_back(part.checksum_known ? part.checksum : 0);
    }
    block.checksums = checksums;
    block.size = space_.config().any_size() ? attempt.parts[0].size : space_.config().block_bytes();
    if (!space_.publish(attempt.slot, block, old, now)) {
        end_attempt(id, -WEFT_EQUOTA);
        return -WEFT_EQUOTA;
    }
    Key key = attempt.key;
    uint64_t version = attempt.version;
    open_.erase({key, version});
    attempts_.erase(id);
    published(key, version);
    return 0;
}

void Writing::published(const Key& key, uint64_t version) {
    auto claim = claimed_.find({key, version});
    if (claim != claimed_.end()) {
        auto found = claims_.find(claim->second);
        found->second.keys.erase(key);
        if (found->second.keys.empty()) claims_.erase(found);
        unclaim({key, version});
    }
    wake(key);
}

/** The key is free at once; the slot only when nobody can still write there. */
void Writing::end_attempt(uint64_t id, int32_t how) {
    Attempt& attempt = attempts_.at(id);
    attempt.ended = how;
    open_.erase({attempt.key, attempt.version});
    space_.stats().abandoned++;
    space_.remember(attempt.key, WEFT_MISS_PARTIAL);
    wake(attempt.key);
    if (attempt.holders.empty()) {
        space_.discard(attempt.slot);
        attempts_.erase(id);
        return;
    }
    for (uint64_t holder : attempt.holders) {
        auto opening = openings_.find(reservations_.at(holder).opening);
        if (opening != openings_.end()) opening->second->quarantined++;
    }
}

void Writing::drop_holder(uint64_t id, uint64_t reservation, Opening* opening) {
    auto found = attempts_.find(id);
    if (found == attempts_.end()) return;
    Attempt& attempt = found->second;
    auto holder = attempt.holders.find(reservation);
    if (holder == attempt.holders.end()) return;
    attempt.holders.erase(holder);
    if (attempt.ended == 0) return;
    if (opening != nullptr && opening->quarantined > 0) opening->quarantined--;
    if (attempt.holders.empty()) {
        space_.discard(attempt.slot);
        attempts_.erase(found);
    }
}

/** One piece becomes final. 0, or how its attempt ended. */
int32_t Writing::commit_piece(const Piece& piece, uint64_t id, bool user, const Request& request,
                              uint32_t item, Opening& opening, uint64_t now,
                              uint64_t& published_out) {
    auto found = attempts_.find(piece.attempt);
    if (found == attempts_.end()) return -WEFT_EMISS;
    Attempt& attempt = found->second;
    bool more = (request.flags & WEFT_MORE) != 0;
    int32_t ended = attempt.ended;
    if (ended == 0 && attempt.version < space_.floor()) {
        end_attempt(piece.attempt, -WEFT_EFENCED);
        ended = -WEFT_EFENCED;
    }
    if (ended != 0) {
        if (!more) drop_holder(piece.attempt, id, &opening);
        return ended;
    }
    Part& part = attempt.parts[piece.part];
    if (more) {
        part.final.add(0, std::min(request.size, part.size));
        wake(attempt.key);
        return 0;
    }
    part.final.add(piece.start, piece.start + piece.size);
    if (user) {
        part.reserved_by = 0;
        part.checksum_known = false;
    } else {
        part.in_flight.remove(piece.start, piece.start + piece.size);
        uint64_t checksum = item < request.items.size() ? request.items[item].checksum : 0;
        part.checksum += checksum;
        if (checksum == 0) part.checksum_known = false;
    }
    if (request.ttl_s != 0) attempt.expiry_ttl_s = request.ttl_s;
    attempt.holders.erase(attempt.holders.find(id));
    if (!complete(attempt)) {
        wake(attempt.key);
        return 0;
    }
    bool returns = (request.flags & WEFT_REUSE_MAYBE) != WEFT_REUSE_NONE;
    int32_t status = publish_attempt(piece.attempt, returns, now);
    if (status == 0) published_out++;
    return status;
}

void Writing::commit(Opening& opening, const Request& request, Reply& reply, uint64_t now) {
    auto found = reservations_.find(request.number);
    if (found == reservations_.end() || found->second.opening != opening.id) {
        reply.status = -WEFT_EINVAL;
        reply.message = "reservation " + std::to_string(request.number) + " is not open";
        return;
    }
    std::vector<Piece> pieces = found->second.pieces;
    bool user = found->second.user;
    uint64_t count = 0;
    uint32_t tip = kNoSlot;
    for (uint32_t i = 0; i < pieces.size(); i++) {
        ReplyItem item;
        auto attempt = attempts_.find(pieces[i].attempt);
        uint32_t slot = attempt != attempts_.end() ? attempt->second.slot : kNoSlot;
        item.status =
            commit_piece(pieces[i], request.number, user, request, i, opening, now, item.value);
        if (item.status == 0) {
            count++;
        } else if (reply.status == 0) {
            reply.status = item.status;
        }
        reply.detail |= item.value != 0 ? 1 : 0;
        if (item.value != 0) tip = slot;
        reply.items.push_back(item);
    }
    reply.value = count;
    if ((request.flags & WEFT_MORE) == 0) reservations_.erase(request.number);
    // The chain that these blocks continue was used: root last, so that leaves go first.
    if (tip != kNoSlot) space_.touch({tip, Touch::kChainMost, 0}, now);
    drain(now);
}

/** The process writes no more there: attempts that it had a part of are over. */
void Writing::end_reservation(uint64_t id) {
    auto found = reservations_.find(id);
    if (found == reservations_.end()) return;
    auto opening = openings_.find(found->second.opening);
    Opening* of = opening == openings_.end() ? nullptr : opening->second;
    std::vector<Piece> pieces = found->second.pieces;
    for (const Piece& piece : pieces) {
        auto attempt = attempts_.find(piece.attempt);
        if (attempt == attempts_.end()) continue;
        if (attempt->second.ended == 0) end_attempt(piece.attempt, -WEFT_ECANCELED);
        drop_holder(piece.attempt, id, of);
    }
    reservations_.erase(id);
}

void Writing::abort(Opening& opening, const Request& request, Reply& reply, uint64_t now) {
    if (request.number != 0) {
        auto found = reservations_.find(request.number);
        if (found == reservations_.end() || found->second.opening != opening.id) {
            reply.status = -WEFT_EINVAL;
            reply.message = "reservation " + std::to_string(request.number) + " is not open";
            return;
        }
        reply.value = found->second.pieces.size();
        end_reservation(request.number);
    }
    for (const RequestItem& item : request.items) {
        ReplyItem out;
        Attempt* attempt = open_attempt(item.key, opening.version);
        if (attempt == nullptr || attempt->writer != opening.writer) {
            out.status = -WEFT_EMISS;
            out.value = space_.find(item.key, opening.version, now) != kNoSlot
                            ? 0
                            : space_.miss_reason(item.key, opening.version, now);
        } else {
            // The word of those who hold a reservation in it is matched by reservation, never by
            // key: a copy of this very process may be under way.
            end_attempt(attempt->id, -WEFT_ECANCELED);
        }
        reply.items.push_back(out);
    }
    drain(now);
}

void Writing::count_held(std::map<uint32_t, Holding>& by_session) const {
    for (const auto& [id, opening] : openings_) {
        Holding& holding = by_session[opening->session];
        holding.openings++;
        opening->stock.count(holding.stocked);
    }
    for (const auto& [id, attempt] : attempts_) {
        uint64_t slot_bytes = space_.slots().segment_of(attempt.slot).slot_bytes;
        std::set<uint32_t> sessions;
        for (uint64_t holder : attempt.holders) {
            auto opening = openings_.find(reservations_.at(holder).opening);
            if (opening != openings_.end()) sessions.insert(opening->second->session);
        }
        for (uint32_t session : sessions) {
            Holding& holding = by_session[session];
            (attempt.ended == 0 ? holding.writing : holding.quarantined).add(1, slot_bytes);
        }
    }
    for (const auto& [id, claim] : claims_) by_session[claim.session].claims++;
    for (const auto& [key, waiters] : waiters_) {
        for (const Waiter& waiter : waiters) {
            auto opening = openings_.find(waiter.pending->opening);
            if (opening != openings_.end()) by_session[opening->second->session].waiting++;
        }
    }
}

std::optional<Writing::Maker> Writing::maker_of(const Key& key, uint64_t version) const {
    Maker maker;
    auto open = open_.find({key, version});
    if (open != open_.end()) {
        const Attempt& attempt = attempts_.at(open->second);
        maker.writer = attempt.writer;
        maker.deadline = attempt.deadline;
        for (const Part& part : attempt.parts)
            maker.parts_in += part.final.covers(0, part.size) ? 1 : 0;
        for (uint64_t holder : attempt.holders) {
            auto opening = openings_.find(reservations_.at(holder).opening);
            if (opening != openings_.end()) maker.sessions.insert(opening->second->session);
        }
        return maker;
    }
    auto claimed = claimed_.find({key, version});
    if (claimed == claimed_.end()) return std::nullopt;
    const Claim& claim = claims_.at(claimed->second);
    maker.deadline = claim.deadline;
    maker.sessions.insert(claim.session);
    return maker;
}

void Writing::end_fenced(uint64_t now) {
    std::vector<uint64_t> over;
    for (const auto& [identity, id] : open_) {
        if (identity.second < space_.floor()) over.push_back(id);
    }
    for (uint64_t id : over) end_attempt(id, -WEFT_EFENCED);
    for (const auto& [key, waiters] : waiters_) wake(key);
    drain(now);
}

/** The last process of a writer is gone: nobody will bring the parts that its attempts lack. */
void Writing::end_orphans(const std::string& writer) {
    for (const auto& [id, opening] : openings_) {
        if (opening->writer == writer) return;
    }
    std::vector<uint64_t> over;
    for (const auto& [identity, id] : open_) {
        if (attempts_.at(id).writer == writer) over.push_back(id);
    }
    for (uint64_t id : over) end_attempt(id, -WEFT_ECANCELED);
}

void Writing::end_opening(Opening& opening, uint64_t now) {
    openings_.erase(opening.id);
    std::vector<uint64_t> mine;
    for (const auto& [id, reservation] : reservations_) {
        if (reservation.opening == opening.id) mine.push_back(id);
    }
    for (uint64_t id : mine) end_reservation(id);
    end_orphans(opening.writer);
    opening.stock.erase_if([this](uint32_t slot) {
        space_.discard(slot);
        return true;
    });
    end_waits(opening);
    drain(now);
}

void Writing::end_waits(const Opening& opening) {
    for (auto& [key, waiters] : waiters_) {
        for (Waiter& waiter : waiters) {
            if (waiter.pending->opening == opening.id && waiter.pending->left > 0) {
                waiter.pending->left = 0;
                waiter.pending->reply.status = -WEFT_ECLOSED;
                finish(waiter.pending);
            }
        }
    }
}

void Writing::keep_only(Opening& opening, const std::set<uint64_t>& reservations,
                        const std::set<uint32_t>& stock, uint64_t now) {
    end_waits(opening);
    opening.stock.erase_if([&](uint32_t slot) {
        bool lost = stock.count(slot) == 0;
        if (lost) space_.discard(slot);
        return lost;
    });
    std::vector<uint64_t> others;
    for (const auto& [id, reservation] : reservations_) {
        if (reservation.opening == opening.id && reservations.count(id) == 0) others.push_back(id);
    }
    for (uint64_t id : others) end_reservation(id);
    drain(now);
}

}  // namespace weft
