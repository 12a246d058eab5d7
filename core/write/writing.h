// How blocks of one namespace come to be: attempts, reservations, quarantine, claims and those who
// wait (protocols 4).
//
// Invariants: a key has at most one open attempt, of one writer; an attempt commits or aborts
// whole; its slot is published only when all bytes of all parts are final and nobody has a part
// open; the slot of an attempt that ended otherwise is given away only when every holder said that
// it writes no more, or is dead. A claim keeps off claims only. Of those who wait for a key, the
// first comes first. The caller holds the node's lock and answers the finished requests after it
// let go.
#pragma once
#include <algorithm>
#include <deque>
#include <map>
#include <set>

#include "core/space/namespace.h"
#include "core/stats/holding.h"
#include "core/write/request.h"

namespace weft {

/** The slots that an opening may fill without asking, by their size: tens of each. */
class Stock {
  public:
    uint64_t count(uint64_t slot_bytes) const {
        auto found = slots_.find(slot_bytes);
        return found == slots_.end() ? 0 : found->second.size();
    }
    void add(uint64_t slot_bytes, uint32_t slot) { slots_[slot_bytes].push_back(slot); }
    bool holds(uint32_t slot) const {
        return std::any_of(slots_.begin(), slots_.end(), [slot](const auto& one) {
            return std::find(one.second.begin(), one.second.end(), slot) != one.second.end();
        });
    }
    void remove(uint64_t slot_bytes, uint32_t slot) {
        std::vector<uint32_t>& slots = slots_.at(slot_bytes);
        *std::find(slots.begin(), slots.end(), slot) = slots.back();
        slots.pop_back();
    }
    void count(Holding::Slots& out) const {
        for (const auto& [slot_bytes, slots] : slots_) out.add(slots.size(), slot_bytes);
    }
    /** Takes out those for which `out` is true. */
    template <typename F>
    void erase_if(F out) {
        for (auto& [slot_bytes, slots] : slots_) std::erase_if(slots, out);
    }

  private:
    std::map<uint64_t, std::vector<uint32_t>> slots_;
};

/** What all namespaces of a node may hold for those who compute and those who wait: of either no
 * more blocks than memory= has KiB. A block that is claimed takes 150 bytes of the node, one that
 * is waited for 200. A namespace has half of it, so that it leaves something to the others. */
struct Crowd {
    static constexpr uint64_t kClaimedMax = 1 << 21;  // keys of all claims
    static constexpr uint64_t kWaitersMax = 1 << 21;  // items of requests that wait
    static constexpr uint64_t kAtLeast = 1 << 16;     // of either, where memory= is small

    explicit Crowd(uint64_t memory)
        : claimed(std::clamp<uint64_t>(memory >> 10, kAtLeast, kClaimedMax)),
          waiting(std::clamp<uint64_t>(memory >> 10, kAtLeast, kWaitersMax)) {}
    Budget claimed;
    Budget waiting;
};

/** A session's way into a namespace: one weft_namespace_open. */
struct Opening {
    uint64_t id = 0;
    uint32_t session = 0;
    uint64_t version = 0;
    std::string writer;
    Stock stock;
    uint32_t quarantined = 0;  // slots that wait for this opening's word
    /** What one of its followers was shown of a block before it was published. */
    struct Followed {
        uint64_t attempt = 0;
        uint32_t slot = 0;
        uint64_t gen = 0;
    };
    std::map<std::pair<Key, uint32_t>, Followed> following;  // by key and the follower's number
};

/** [begin, end) ranges, merged. */
class Ranges {
  public:
    bool covers(uint64_t begin, uint64_t end) const;
    bool overlaps(uint64_t begin, uint64_t end) const;
    void add(uint64_t begin, uint64_t end);
    /** Of what is there. */
    void remove(uint64_t begin, uint64_t end);
    bool empty() const { return ranges_.empty(); }
    uint64_t prefix() const;

  private:
    std::map<uint64_t, uint64_t> ranges_;
};

class Writing {
  public:
    static constexpr uint32_t kQuarantineMax = 64;  // slots of one opening
    static constexpr uint32_t kReservationsMax = 4096;
    static constexpr uint32_t kFollowingMax = 4096;  // blocks that one opening follows
    static constexpr uint32_t kStockMax = 64;
    static constexpr uint32_t kClaimsMax = 65536;
    static constexpr uint32_t kClaimSecondsMost = 3600;  // unless write_s= is longer

    /** Asked for room for a block that the namespace could not allocate; false: there is none to
     * come. */
    using Reclaim = std::function<bool(uint64_t bytes, uint64_t now)>;
    /** Those who wait for memory wait for this key, which is no block's while the all-ones key is
     * refused. */
    static constexpr Key kRoom{UINT64_MAX, UINT64_MAX};

    Writing(Namespace& space, uint64_t& next_id, Crowd& crowd, Reclaim reclaim)
        : space_(space), next_id_(next_id), crowd_(crowd), reclaim_(std::move(reclaim)) {}
    ~Writing() {
        crowd_.claimed.give(claimed_.size());
        crowd_.waiting.give(waiting_items_);
    }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;

    /** stock, publish, reserve, locate and wait: settles what it can, the rest waits. Finished
     * requests go to `finished`. */
    void begin(const PendingPtr& pending, Opening& opening, uint64_t now);
    void commit(Opening& opening, const Request& request, Reply& reply, uint64_t now);
    void abort(Opening& opening, const Request& request, Reply& reply, uint64_t now);
    bool release_claim(uint64_t id, uint32_t session, uint64_t now);
    /** The block left by REMOVE, or by a fence: those who wait look again. */
    void changed(const Key& key, uint64_t now) {
        wake(key);
        drain(now);
    }
    void end_fenced(uint64_t now);
    /** Claims of a process that is dead or gave them back. */
    void end_session(uint32_t session, uint64_t now);
    /** Ends attempts, claims and waits whose time is over. */
    void expire(uint64_t now);
    /** Everything that an opening held: its process is dead, or gave it back. */
    void end_opening(Opening& opening, uint64_t now);
    /** After a reconnect: ends the reservations that the process no longer knows, takes back the
     * stock slots that it no longer fills, and ends what its lost connection still waited for: a
     * grant would reach nobody. */
    void keep_only(Opening& opening, const std::set<uint64_t>& reservations,
                   const std::set<uint32_t>& stock, uint64_t now);

    void add_opening(Opening& opening) { openings_[opening.id] = &opening; }
    /** The writer of a key right now: its open attempt's slot, or kNoSlot. */
    uint32_t being_written(const Key& key, uint64_t version) const;
    std::vector<PendingPtr> take_finished() { return std::move(finished_); }

    /** Adds what each session holds: attempts, quarantine, stock, claims, waits. */
    void count_held(std::map<uint32_t, Holding>& by_session) const;
    /** Who is about to make a block. */
    struct Maker {
        std::string writer;           // of an attempt; empty: it is claimed only
        std::set<uint32_t> sessions;  // that have a part open, or the claim
        uint64_t deadline = 0;
        uint32_t parts_in = 0;
    };
    std::optional<Maker> maker_of(const Key& key, uint64_t version) const;

    uint64_t attempts() const { return open_.size(); }
    uint64_t quarantined() const { return attempts_.size() - open_.size(); }
    uint64_t claims() const { return claims_.size(); }
    uint64_t waiting() const { return waiting_; }

  private:
    struct Part {
        Ranges final;
        Ranges in_flight;  // of SAVEs of ranges
        uint64_t size = 0;
        uint64_t checksum = 0;
        bool checksum_known = true;
        uint64_t reserved_by = 0;  // reservation of a process that writes in place
    };
    struct Attempt {
        uint64_t id = 0;
        Key key;
        uint64_t version = 0;
        std::string writer;
        uint32_t slot = kNoSlot;
        bool replace = false;
        uint64_t deadline = 0;
        uint64_t expiry_ttl_s = 0;
        uint32_t parent = kNoSlot;
        int32_t ended = 0;  // 0: open; else how it ended, a negated code
        std::vector<Part> parts;
        std::multiset<uint64_t> holders;  // reservations
    };
    struct Piece {
        uint64_t attempt = 0;
        uint32_t part = 0;
        uint64_t start = 0;
        uint64_t size = 0;
        uint32_t item = 0;  // of the request that reserved
    };
    struct Reservation {
        uint64_t opening = 0;
        bool user = false;
        std::vector<Piece> pieces;  // in the order of the request's items, whoever waited
    };
    struct Claim {
        uint32_t session = 0;
        uint64_t deadline = 0;
        std::set<Key> keys;
        uint64_t version = 0;
    };
    struct Waiter {
        PendingPtr pending;
        uint32_t item = 0;
    };
    using Identity = std::pair<Key, uint64_t>;

    bool settle(Pending& pending, uint32_t item, Opening& opening, uint64_t now, Key& wait_for);
    bool settle_stock(Pending& pending, Opening& opening, uint64_t now, Key& wait_for);
    bool follows(const Request& request, const Key& key, Opening& opening, uint32_t slot,
                 const Attempt* attempt);
    bool start_following(const Request& request, const Attempt& attempt, uint64_t gen,
                         Opening& opening) const;
    bool settle_publish(Pending& pending, uint32_t item, Opening& opening, uint64_t now);
    bool settle_reserve(Pending& pending, uint32_t item, Opening& opening, uint64_t now,
                        Key& wait_for);
    bool settle_locate(Pending& pending, uint32_t item, Opening& opening, uint64_t now);
    bool settle_wait(Pending& pending, uint32_t item, Opening& opening, uint64_t now);
    bool settle_claim(Pending& pending, Opening& opening, uint64_t now, Key& wait_for);
    bool held(Pending& pending, uint32_t item);
    bool missing(Pending& pending, uint32_t item, uint64_t version, uint64_t now);
    void finish(const PendingPtr& pending);
    void queue(const PendingPtr& pending, uint32_t item, const Key& key);
    /** Those who wait for the key will look again, in `drain`. */
    void wake(const Key& key) { dirty_.push_back(key); }
    void drain(uint64_t now);
    uint32_t parent_of(const Pending& pending, uint32_t item, uint64_t version, uint64_t now);
    uint64_t stock_limit(uint64_t bytes);
    void refill(Opening& opening, uint64_t bytes, uint32_t count, Reply& reply, uint64_t now);

    Attempt* open_attempt(const Key& key, uint64_t version);
    Result<Attempt*> start_attempt(Pending& pending, const RequestItem& item, Opening& opening,
                                   uint64_t now);
    int32_t join(Attempt& attempt, Pending& pending, uint32_t item, Opening& opening);
    void end_attempt(uint64_t id, int32_t how);
    void drop_holder(uint64_t attempt, uint64_t reservation, Opening* opening);
    void end_reservation(uint64_t id);
    void end_orphans(const std::string& writer);
    void end_waits(const Opening& opening);
    int32_t commit_piece(const Piece& piece, uint64_t id, bool user, const Request& request,
                         uint32_t item, Opening& opening, uint64_t now, uint64_t& published_out);
    bool complete(const Attempt& attempt) const;
    int32_t publish_attempt(uint64_t id, bool returns, uint64_t now);
    void published(const Key& key, uint64_t version);
    void describe(uint32_t slot, uint64_t value, ReplyItem& out);
    bool fenced(const Opening& opening) const { return opening.version < space_.floor(); }
    uint64_t expiry(uint32_t ttl_s, uint64_t now) const;
    bool claimed_by_other(const Key& key, uint64_t version, uint64_t claim) const;
    std::vector<Key> unclaimed(const Request& request, uint32_t first, uint64_t version,
                               uint64_t now);
    bool may_claim(uint64_t blocks, bool renews, Reply& reply) const;
    bool may_wait(uint64_t blocks, Reply& reply) const;
    void unclaim(const Identity& block);
    void end_claim(uint64_t id);

    Namespace& space_;
    uint64_t& next_id_;
    Crowd& crowd_;
    Reclaim reclaim_;
    std::map<uint64_t, Opening*> openings_;
    std::map<uint64_t, Attempt> attempts_;
    std::map<Identity, uint64_t> open_;
    std::map<uint64_t, Reservation> reservations_;
    std::map<uint64_t, Claim> claims_;
    std::map<Identity, uint64_t> claimed_;
    std::map<Key, std::vector<Waiter>> waiters_;
    uint64_t waiting_ = 0;        // in all of waiters_
    uint64_t waiting_items_ = 0;  // of their requests, settled ones too: what these hold in memory
    std::deque<Key> dirty_;
    std::vector<PendingPtr> finished_;
};

}  // namespace weft
