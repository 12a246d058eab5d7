// Those who ask for a block and may have to wait: each item is settled by looking at the key anew
// whenever something about it changed, first come first. So a grant is nothing but the first look
// that finds the key free.
#include <algorithm>

#include "capi/weft.h"
#include "core/write/writing.h"
#include "fabric/clock/clock.h"

namespace weft {
namespace {

constexpr int32_t kUnsettled = 1;

}  // namespace

void Writing::describe(uint32_t slot, uint64_t value, ReplyItem& out) {
    SlotHeader& header = space_.slots().header(slot);
    out.status = 0;
    out.slot = slot;
    // Relaxed: the node's own words, under its lock; the answer's message orders them.
    out.gen = header.gen.load_relaxed();
    out.place = header.place.load_relaxed();
    out.value = value;
}

bool Writing::settle_stock(Pending& pending, Opening& opening, uint64_t now, Key& wait_for) {
    const Request& request = pending.request;
    Reply& reply = pending.reply;
    refill(opening, request.items[0].size, static_cast<uint32_t>(request.size), reply, now);
    bool none = reply.stock.empty();
    wait_for = kRoom;
    if (none && stock_limit(request.items[0].size) > 0 && reclaim_(request.items[0].size, now))
        return false;
    reply.items[0].status = none ? -WEFT_EQUOTA : 0;
    return true;
}

uint64_t Writing::stock_limit(uint64_t bytes) {
    return std::min<uint64_t>(kStockMax,
                              space_.slots().memory_limit() / 32 / slot_bytes_for(bytes));
}

/** Slots that the process may fill without asking: at most kStockMax and a 32nd of memory= per
 * class. */
void Writing::refill(Opening& opening, uint64_t bytes, uint32_t count, Reply& reply, uint64_t now) {
    uint64_t slot_bytes = slot_bytes_for(bytes);
    uint64_t most = stock_limit(bytes);
    uint64_t have = opening.stock.count(slot_bytes);
    reply.stock.reserve(have < most ? std::min<uint64_t>(count, most - have) : 0);
    for (; count > 0 && have < most; count--, have++) {
        Result<uint32_t> slot = space_.allocate(bytes, now, SlotState::stocked);
        if (!slot) {
            reply.message = slot.failure().message;
            return;
        }
        opening.stock.add(slot_bytes, *slot);
        ReplyItem item;
        describe(*slot, slot_bytes, item);
        reply.stock.push_back(item);
    }
}

void Writing::begin(const PendingPtr& pending, Opening& opening, uint64_t now) {
    Pending& all = *pending;
    uint32_t count = static_cast<uint32_t>(all.request.items.size());
    all.opening = opening.id;
    all.reply.items.resize(count);
    all.waited.resize(count);
    bool claim = all.request.verb == Verb::wait && (all.request.flags & WEFT_CLAIM) != 0;
    if (all.request.verb == Verb::reserve) all.reply.handle = uint64_t{2} << 60 | next_id_++;
    all.left = claim ? 1 : count;
    for (ReplyItem& item : all.reply.items) item.status = kUnsettled;
    for (uint32_t i = 0; i < (claim ? 1 : count) && all.left > 0; i++) {
        Key key = all.request.items[i].key;
        bool settled =
            claim ? settle_claim(all, opening, now, key) : settle(all, i, opening, now, key);
        if (!settled && !all.waits && !may_wait(count, all.reply)) {
            (claim ? all.reply.status : all.reply.items[i].status) = -WEFT_EQUOTA;
            settled = true;
        }
        if (settled) {
            all.left--;
        } else {
            queue(pending, i, key);
        }
    }
    if (all.request.verb == Verb::publish) {
        uint32_t used = 0;
        for (const ReplyItem& item : all.reply.items) used += item.status == 0 ? 1 : 0;
        // As many as were used, and as a list needs: a stock that single blocks have made would
        // serve it by one request a block.
        if (used > 0) {
            uint64_t bytes = all.request.items[0].size;
            uint64_t have = opening.stock.count(slot_bytes_for(bytes));
            uint64_t list = std::min<uint64_t>(all.request.size, kStockMax);
            uint64_t lacking = list > have ? list - have : 0;
            refill(opening, bytes, std::max(used, static_cast<uint32_t>(lacking)), all.reply, now);
        }
        if ((all.request.flags & WEFT_CHAIN) != 0) {
            // Deepest first, root last: the order in which a chain is used is the order in which it
            // is kept.
            uint32_t tip = space_.find(all.request.items.back().key, opening.version, now);
            if (tip != kNoSlot) space_.touch({tip, Touch::kChainMost, 0}, now);
        }
    }
    if (all.left == 0) finish(pending);
    drain(now);
}

void Writing::finish(const PendingPtr& pending) {
    if (pending->waits) {
        waiting_items_ -= pending->request.items.size();
        crowd_.waiting.give(pending->request.items.size());
    }
    pending->waits = false;
    for (ReplyItem& item : pending->reply.items) {
        if (item.status == kUnsettled) item.status = pending->reply.status;
    }
    if (pending->request.verb == Verb::reserve && reservations_.count(pending->reply.handle) == 0) {
        pending->reply.handle = 0;
    }
    finished_.push_back(pending);
}

bool Writing::may_wait(uint64_t blocks, Reply& reply) const {
    uint64_t most = crowd_.waiting.limit();
    if (waiting_items_ + blocks <= most / 2 && blocks <= crowd_.waiting.left()) return true;
    reply.message = std::to_string(most) +
                    " blocks of requests that wait are a node's limit, half of it a namespace's: " +
                    std::to_string(crowd_.waiting.used()) + " wait, " +
                    std::to_string(waiting_items_) + " of them here";
    return false;
}

/** Where it begins to wait, there is room for it: `may_wait`. */
void Writing::queue(const PendingPtr& pending, uint32_t item, const Key& key) {
    pending->waited[item] = true;
    if (!pending->waits && crowd_.waiting.take(pending->request.items.size()))
        waiting_items_ += pending->request.items.size();
    pending->waits = true;
    waiters_[key].push_back({pending, item});
    waiting_++;
}

void Writing::drain(uint64_t now) {
    while (!dirty_.empty()) {
        Key key = dirty_.front();
        dirty_.pop_front();
        auto found = waiters_.find(key);
        if (found == waiters_.end()) continue;
        std::vector<Waiter> waiters = std::move(found->second);
        waiters_.erase(found);
        waiting_ -= waiters.size();
        for (Waiter& waiter : waiters) {
            Pending& pending = *waiter.pending;
            if (pending.left == 0) continue;
            auto opening = openings_.find(pending.opening);
            if (opening == openings_.end()) continue;
            bool claim =
                pending.request.verb == Verb::wait && (pending.request.flags & WEFT_CLAIM) != 0;
            Key wait_for = pending.request.items[waiter.item].key;
            bool settled = claim ? settle_claim(pending, *opening->second, now, wait_for)
                                 : settle(pending, waiter.item, *opening->second, now, wait_for);
            if (!settled) {
                queue(waiter.pending, waiter.item, wait_for);
            } else if (--pending.left == 0) {
                finish(waiter.pending);
            }
        }
    }
}

bool Writing::settle(Pending& pending, uint32_t item, Opening& opening, uint64_t now,
                     Key& wait_for) {
    if (fenced(opening)) {
        pending.reply.items[item].status = -WEFT_EFENCED;
        return true;
    }
    switch (pending.request.verb) {
        case Verb::stock:
            return settle_stock(pending, opening, now, wait_for);
        case Verb::publish:
            return settle_publish(pending, item, opening, now);
        case Verb::reserve:
            return settle_reserve(pending, item, opening, now, wait_for);
        case Verb::locate:
            return settle_locate(pending, item, opening, now);
        default:
            return settle_wait(pending, item, opening, now);
    }
}

uint32_t Writing::parent_of(const Pending& pending, uint32_t item, uint64_t version, uint64_t now) {
    const Request& request = pending.request;
    if ((request.flags & WEFT_CHAIN) == 0 || (item == 0 && !request.has_parent)) return kNoSlot;
    // Most often the item before was published an instant ago.
    bool just_now = item > 0 && request.verb == Verb::publish &&
                    pending.reply.items[item - 1].value == 1 &&
                    pending.reply.items[item - 1].status == 0;
    if (just_now) return pending.reply.items[item - 1].slot;
    return space_.find(item == 0 ? request.parent : request.items[item - 1].key, version, now);
}

/** Somebody writes it: WEFT_EHELD, or with WEFT_WAIT_WRITER not yet settled. */
bool Writing::held(Pending& pending, uint32_t item) {
    if ((pending.request.flags & WEFT_WAIT_WRITER) != 0) return false;
    pending.reply.items[item].status = -WEFT_EHELD;
    return true;
}

bool Writing::settle_publish(Pending& pending, uint32_t item, Opening& opening, uint64_t now) {
    const RequestItem& wanted = pending.request.items[item];
    ReplyItem& out = pending.reply.items[item];
    const NamespaceConfig& config = space_.config();
    uint64_t bytes = config.any_size() ? wanted.size : config.block_bytes();
    uint64_t slot_bytes =
        opening.stock.holds(wanted.slot) ? space_.slots().segment_of(wanted.slot).slot_bytes : 0;
    if (slot_bytes < bytes || slot_bytes == 0) {
        out.status = -WEFT_EINVAL;
        return true;
    }
    // An answer that comes too late still says which slot is the process's again.
    describe(wanted.slot, 0, out);
    out.status = kUnsettled;
    uint32_t old = space_.find(wanted.key, opening.version, now);
    if (old != kNoSlot && (pending.request.flags & WEFT_REPLACE) == 0) {
        out.status = -WEFT_EEXISTS;
        return true;
    }
    if (const Attempt* attempt = open_attempt(wanted.key, opening.version)) {
        if (attempt->writer != opening.writer || bytes >= attempt->parts[0].size)
            return held(pending, item);
        // Its writer has reserved more than this: these are some of that part's bytes.
        out.status = -WEFT_EHELD;
        out.value = kJoins;
        return true;
    }
    Publication block;
    block.key = wanted.key;
    block.version = opening.version;
    block.size = bytes;
    block.expiry = expiry(pending.request.ttl_s, now);
    block.parent = parent_of(pending, item, opening.version, now);
    block.checksums = {&wanted.checksum, 1};
    block.returns = (pending.request.flags & WEFT_REUSE_MAYBE) != WEFT_REUSE_NONE;
    if (!space_.publish(wanted.slot, block, old, now)) {
        out.status = -WEFT_EQUOTA;
        pending.reply.message = "there is no memory for its entry in the index";
        return true;
    }
    opening.stock.remove(slot_bytes, wanted.slot);
    out.status = 0;
    out.value = 1;
    published(wanted.key, opening.version);
    return true;
}

bool Writing::settle_reserve(Pending& pending, uint32_t item, Opening& opening, uint64_t now,
                             Key& wait_for) {
    const RequestItem& wanted = pending.request.items[item];
    ReplyItem& out = pending.reply.items[item];
    bool replace = (pending.request.flags & WEFT_REPLACE) != 0;
    if (!replace && space_.find(wanted.key, opening.version, now) != kNoSlot) {
        out.status = -WEFT_EEXISTS;
        return true;
    }
    Attempt* attempt = open_attempt(wanted.key, opening.version);
    if (attempt != nullptr && attempt->writer != opening.writer) return held(pending, item);
    bool fresh = attempt == nullptr;
    if (fresh) {
        Result<Attempt*> started = start_attempt(pending, wanted, opening, now);
        if (!started && started.failure().code == WEFT_EQUOTA &&
            opening.quarantined < kQuarantineMax) {
            const NamespaceConfig& config = space_.config();
            wait_for = kRoom;
            if (reclaim_(config.any_size() ? wanted.size : config.block_bytes(), now)) return false;
        }
        if (!started) {
            out.status = -started.failure().code;
            pending.reply.message = started.failure().message;
            return true;
        }
        attempt = *started;
        attempt->parent = parent_of(pending, item, opening.version, now);
    }
    int32_t status = join(*attempt, pending, item, opening);
    if (status == -WEFT_EHELD) return held(pending, item);
    if (status != 0 && fresh) end_attempt(attempt->id, status);
    out.status = status;
    // Another part of the same writer may have waited for this attempt.
    if (fresh && status == 0) wake(wanted.key);
    return true;
}

bool Writing::missing(Pending& pending, uint32_t item, uint64_t version, uint64_t now) {
    ReplyItem& out = pending.reply.items[item];
    out.status = -WEFT_EMISS;
    out.value = pending.waited[item]
                    ? uint64_t{WEFT_MISS_PARTIAL}
                    : space_.miss_reason(pending.request.items[item].key, version, now);
    return true;
}

bool Writing::settle_locate(Pending& pending, uint32_t item, Opening& opening, uint64_t now) {
    const Request& request = pending.request;
    const RequestItem& wanted = request.items[item];
    const NamespaceConfig& config = space_.config();
    uint32_t slot = space_.find(wanted.key, opening.version, now);
    Attempt* attempt = open_attempt(wanted.key, opening.version);
    if (!follows(request, wanted.key, opening, slot, attempt)) {
        pending.reply.items[item].status = -WEFT_EMISS;
        pending.reply.items[item].value = WEFT_MISS_PARTIAL;
        return true;
    }
    if (slot != kNoSlot) {
        describe(slot, config.bytes_of(request.part, space_.slots().block_size(slot)),
                 pending.reply.items[item]);
        return true;
    }
    if (attempt == nullptr) {
        bool claimed = claimed_.count({wanted.key, opening.version}) != 0;
        if (claimed && (request.flags & WEFT_WAIT_WRITER) != 0) return false;
        return missing(pending, item, opening.version, now);
    }
    if ((request.flags & WEFT_FOLLOW) != 0) {
        const Part& part = attempt->parts[request.part];
        uint64_t end =
            wanted.size == 0 ? part.size : std::min(part.size, request.start + wanted.size);
        if (!request.view && part.final.prefix() < end) return false;
        describe(attempt->slot, part.size, pending.reply.items[item]);
        if (!start_following(request, *attempt, pending.reply.items[item].gen, opening)) {
            pending.reply.items[item] = ReplyItem{.status = -WEFT_EQUOTA};
            pending.reply.message =
                std::to_string(kFollowingMax) + " blocks being written are the most to follow";
        }
        return true;
    }
    if ((request.flags & WEFT_WAIT_WRITER) != 0) return false;
    pending.reply.items[item].status = -WEFT_EMISS;
    pending.reply.items[item].value = WEFT_MISS_PARTIAL;
    return true;
}

/** False: as many attempts are open and followed as there may be. */
bool Writing::start_following(const Request& request, const Attempt& attempt, uint64_t gen,
                              Opening& opening) const {
    if (opening.following.size() >= kFollowingMax) {
        // Followers that never came back for the end. The older half goes at once, so that this
        // is rare: who comes back after thousands of others ended is not told of the change.
        std::vector<uint64_t> ended;
        for (const auto& [who, shown] : opening.following) {
            auto found = attempts_.find(shown.attempt);
            if (found == attempts_.end() || found->second.ended != 0)
                ended.push_back(shown.attempt);
        }
        if (ended.empty()) return false;
        auto middle = ended.begin() + static_cast<ptrdiff_t>(ended.size() / 2);
        std::nth_element(ended.begin(), middle, ended.end());
        std::erase_if(opening.following, [&](const auto& entry) {
            auto found = attempts_.find(entry.second.attempt);
            bool over = found == attempts_.end() || found->second.ended != 0;
            return over && entry.second.attempt <= *middle;
        });
    }
    opening.following[{attempt.key, request.ttl_s}] = {attempt.id, attempt.slot, gen};
    return true;
}

/** What a follower was shown of the block belongs to one attempt: neither the bytes nor the end of
 * another one may be taken for its own. False once, and then it is forgotten: the caller drops what
 * it read. */
bool Writing::follows(const Request& request, const Key& key, Opening& opening, uint32_t slot,
                      const Attempt* attempt) {
    auto found = opening.following.find({key, request.ttl_s});
    if ((request.flags & WEFT_FOLLOW) == 0 || found == opening.following.end()) return true;
    const Opening::Followed& shown = found->second;
    if (attempt != nullptr && attempt->id == shown.attempt) return true;
    // Relaxed: the node's own word, under its lock.
    bool became =
        slot == shown.slot && space_.slots().header(slot).gen.load_relaxed() == shown.gen + 1;
    opening.following.erase(found);
    return became;
}

bool Writing::settle_wait(Pending& pending, uint32_t item, Opening& opening, uint64_t now) {
    const Request& request = pending.request;
    const RequestItem& wanted = request.items[item];
    ReplyItem& out = pending.reply.items[item];
    Attempt* attempt = open_attempt(wanted.key, opening.version);
    uint32_t slot = space_.find(wanted.key, opening.version, now);
    if (!follows(request, wanted.key, opening, slot, attempt)) {
        out.status = -WEFT_EMISS;
        out.value = WEFT_MISS_PARTIAL;
        return true;
    }
    if (slot != kNoSlot) {
        out.status = 0;
        out.value = space_.config().bytes_of(request.part, space_.slots().block_size(slot));
        return true;
    }
    if (attempt == nullptr) {
        if (claimed_.count({wanted.key, opening.version}) != 0) return false;
        return missing(pending, item, opening.version, now);
    }
    if ((request.flags & WEFT_FOLLOW) == 0) return false;
    const Part& part = attempt->parts[request.part];
    uint64_t end = wanted.size == 0 ? part.size : std::min(part.size, request.start + wanted.size);
    if (part.final.prefix() < end) return false;
    out.status = 0;
    out.value = part.final.prefix();
    return true;
}

void Writing::expire(uint64_t now) {
    std::vector<uint64_t> over;
    for (const auto& [identity, id] : open_) {
        if (attempts_.at(id).deadline <= now) over.push_back(id);
    }
    for (uint64_t id : over) end_attempt(id, -WEFT_ETIMEOUT);
    over.clear();
    for (const auto& [id, claim] : claims_) {
        if (claim.deadline <= now) over.push_back(id);
    }
    for (uint64_t id : over) end_claim(id);
    drain(now);
    for (auto& [key, waiters] : waiters_) {
        for (Waiter& waiter : waiters) {
            Pending& pending = *waiter.pending;
            if (pending.left == 0 || pending.request.deadline > now) continue;
            pending.left = 0;
            for (ReplyItem& item : pending.reply.items) {
                if (item.status == kUnsettled) item.status = -WEFT_ETIMEOUT;
            }
            pending.reply.status = -WEFT_ETIMEOUT;
            finish(waiter.pending);
        }
        waiting_ -=
            std::erase_if(waiters, [](const Waiter& waiter) { return waiter.pending->left == 0; });
    }
    std::erase_if(waiters_, [](const auto& entry) { return entry.second.empty(); });
}

}  // namespace weft
