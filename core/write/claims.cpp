// Claims: who computes a chain's blocks while others wait (protocols 4, single flight).
//
// Invariants: a claim holds at least one block, and a block is held by one claim; what is claimed
// in a namespace is counted in the node's Crowd until it is published or the claim ends.
#include <algorithm>

#include "capi/weft.h"
#include "core/write/writing.h"
#include "fabric/clock/clock.h"

namespace weft {

/** The first block that is not there and that nobody writes or claims, and the items after it,
 * become the process's. */
bool Writing::settle_claim(Pending& pending, Opening& opening, uint64_t now, Key& wait_for) {
    const Request& request = pending.request;
    Reply& reply = pending.reply;
    if (fenced(opening)) {
        reply.status = -WEFT_EFENCED;
        return true;
    }
    uint32_t first = 0;
    while (first < request.items.size() &&
           space_.find(request.items[first].key, opening.version, now) != kNoSlot)
        first++;
    reply.value = first;
    for (uint32_t i = 0; i < first; i++) reply.items[i].status = 0;
    reply.status = 0;
    if (first == request.items.size()) return true;
    const Key& key = request.items[first].key;
    auto renewed = claims_.find(request.number);
    bool mine = request.number != 0 && renewed != claims_.end() &&
                renewed->second.session == opening.session &&
                renewed->second.version == opening.version;
    wait_for = key;
    if (open_attempt(key, opening.version) != nullptr) return false;
    if (claimed_by_other(key, opening.version, mine ? request.number : 0)) return false;
    std::vector<Key> fresh = unclaimed(request, first, opening.version, now);
    if (!may_claim(fresh.size(), mine, reply)) return true;
    uint64_t id = mine ? request.number : uint64_t{3} << 60 | next_id_++;
    Claim& claim = claims_[id];
    claim.session = opening.session;
    claim.version = opening.version;
    uint32_t write_s = space_.config().write_s;
    uint32_t ttl_s = std::min(request.ttl_s, std::max(kClaimSecondsMost, write_s));
    claim.deadline = now + (ttl_s != 0 ? ttl_s : write_s) * fabric::kSecond;
    for (const Key& one : fresh) {
        // A list may name a block twice.
        if (claimed_.insert({{one, opening.version}, id}).second && crowd_.claimed.take(1))
            claim.keys.insert(one);
    }
    reply.status = -WEFT_EMISS;
    reply.detail = space_.miss_reason(key, opening.version, now);
    reply.handle = id;
    return true;
}

/** Of the items from `first` on, the blocks that are neither there nor claimed. */
std::vector<Key> Writing::unclaimed(const Request& request, uint32_t first, uint64_t version,
                                    uint64_t now) {
    std::vector<Key> keys;
    for (uint32_t i = first; i < request.items.size(); i++) {
        const Key& key = request.items[i].key;
        if (claimed_.count({key, version}) == 0 && space_.find(key, version, now) == kNoSlot)
            keys.push_back(key);
    }
    return keys;
}

bool Writing::may_claim(uint64_t blocks, bool renews, Reply& reply) const {
    uint64_t most = crowd_.claimed.limit();
    if (!renews && claims_.size() >= kClaimsMax) {
        reply.message = std::to_string(claims_.size()) + " claims are the limit of a namespace";
    } else if (claimed_.size() + blocks > most / 2 || blocks > crowd_.claimed.left()) {
        reply.message = std::to_string(most) +
                        " blocks are the limit of a node's claims, half of it a namespace's: " +
                        std::to_string(crowd_.claimed.used()) + " are claimed, " +
                        std::to_string(claimed_.size()) + " of them here, and " +
                        std::to_string(blocks) + " more were asked for";
    } else {
        return true;
    }
    reply.status = -WEFT_EQUOTA;
    return false;
}

void Writing::unclaim(const Identity& block) { crowd_.claimed.give(claimed_.erase(block)); }

bool Writing::claimed_by_other(const Key& key, uint64_t version, uint64_t claim) const {
    auto found = claimed_.find({key, version});
    return found != claimed_.end() && found->second != claim;
}

void Writing::end_claim(uint64_t id) {
    auto found = claims_.find(id);
    if (found == claims_.end()) return;
    for (const Key& key : found->second.keys) {
        unclaim({key, found->second.version});
        wake(key);
    }
    claims_.erase(found);
}

bool Writing::release_claim(uint64_t id, uint32_t session, uint64_t now) {
    auto found = claims_.find(id);
    if (found == claims_.end() || found->second.session != session) return false;
    end_claim(id);
    drain(now);
    return true;
}

void Writing::end_session(uint32_t session, uint64_t now) {
    std::vector<uint64_t> over;
    for (const auto& [id, claim] : claims_) {
        if (claim.session == session) over.push_back(id);
    }
    for (uint64_t id : over) end_claim(id);
    drain(now);
}

}  // namespace weft
