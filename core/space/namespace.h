// One namespace in its node: what is published, and how blocks come and go.
//
// Invariants (protocols 2): a slot is given away only after it was unpublished (its gen made odd),
// a seq_cst fence, and a scan that found it in no reader's page; until then it is in limbo. A block
// is published at most once per (version, key). Blocks below the floor or past their expiry are
// found by nobody, and swept in time. The caller holds the node's lock.
#pragma once
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/space/slots.h"
#include "core/stats/ghosts.h"
#include "core/stats/holding.h"

namespace weft {

/** A process's page of hazards and uses in this namespace. */
struct Attachment {
    uint64_t opening = 0;
    ReaderPage* page = nullptr;
    uint64_t touches_seen = 0;
};

struct NamespaceStats {
    uint64_t saved = 0;
    uint64_t saved_bytes = 0;
    uint64_t evicted = 0;
    uint64_t expired = 0;
    uint64_t removed = 0;
    uint64_t fenced = 0;
    uint64_t replaced = 0;
    uint64_t abandoned = 0;  // attempts that ended without a block
    uint64_t hits = 0;
    uint64_t loaded_bytes = 0;
    uint64_t misses[kMissReasons] = {};
};

struct Publication {
    Key key;
    uint64_t version = 0;
    uint64_t size = 0;
    uint64_t expiry = 0;
    uint32_t parent = kNoSlot;
    std::span<const uint64_t> checksums;  // one a part; 0: not known
    bool returns = true;                  // false: its writer says that it will not be read again
};

class Namespace {
  public:
    Namespace(std::string name, const NamespaceConfig& config, uint64_t floor,
              fabric::Memory& memory, Budget& budget, uint64_t incarnation, bool prefault)
        : name_(std::move(name)),
          config_(config),
          slots_(memory, budget, config_, incarnation, prefault) {
        floor_ = floor;
    }
    Status start(uint64_t serve_until);

    const std::string& name() const { return name_; }
    const NamespaceConfig& config() const { return config_; }
    Slots& slots() { return slots_; }
    uint64_t floor() const { return floor_; }
    /** Raises the floor for every reader at once. */
    void raise_floor(uint64_t version);
    void set_serve_until(uint64_t instant) {
        // Release: pairs with IndexReader::serves.
        slots_.index_header().serve_until.store_release(instant);
    }

    /** The published, current block, or kNoSlot. */
    uint32_t find(const Key& key, uint64_t version, uint64_t now);
    /** Why a block that `find` did not find is not there: WEFT_MISS_*. */
    uint32_t miss_reason(const Key& key, uint64_t version, uint64_t now);
    /** What is still known of a block that left: WEFT_MISS_*, 0 where nothing is, and when. */
    Ghosts::Memory memory_of(const Key& key) const { return ghosts_.memory(hash_key(key)); }
    /** The versions at which a block of the key is published and not expired. */
    std::vector<uint64_t> versions_of(const Key& key, uint64_t now);
    /** Adds the blocks in each opening's page, each once: what its views keep. */
    void count_viewed(const std::map<uint64_t, Holding*>& by_opening);
    uint64_t free_bytes() const { return slots_.free_bytes(); }

    /** A slot for `bytes`, unpublished, its gen a fresh odd value; evicts where it must. */
    Result<uint32_t> allocate(uint64_t bytes, uint64_t now, SlotState state);
    /** Publishes a filled slot; `old`: the block it replaces, or kNoSlot. False: no memory for its
     * index entry. */
    bool publish(uint32_t slot, const Publication& block, uint32_t old, uint64_t now);
    /** Takes a block away from readers; reason: WEFT_MISS_*. */
    void unpublish(uint32_t slot, uint32_t reason);
    /** Ends a slot that was never published (a follower may still hold it). */
    void discard(uint32_t slot);
    /** Returns how many blocks the use reached. */
    uint32_t touch(Touch use, uint64_t now);
    void set_expiry(uint32_t slot, uint64_t expiry);
    /** Takes back one pin of the block that was in the slot under `gen`, or of what replaced it. A
     * block that was removed or fenced since took its pins with it. */
    void unpin(uint32_t slot, uint64_t gen);
    /** Publishes nothing, but stores a fresh odd gen: whatever a follower knew of the slot is void.
     */
    void renew_gen(uint32_t slot);

    void attach(const Attachment& attachment) { attachments_.push_back(attachment); }
    void detach(uint64_t opening, uint64_t now);
    void remember(const Key& key, uint32_t reason) { ghosts_.remember(hash_key(key), reason); }
    std::vector<Attachment>& attachments() { return attachments_; }
    /** Takes the uses out of the readers' rings. */
    void drain_touches(uint64_t now);
    /** Frees what no reader holds. */
    void settle_limbo(uint64_t now);
    /** Unpublishes a bounded number of expired and fenced blocks. */
    void sweep(uint64_t now);
    /** Unpublishes every block of a version, or (nullopt) of all. Returns how many. */
    uint64_t flush(std::optional<uint64_t> version, uint64_t now);

    /** Empties the segment and marks it retiring. */
    void retire(Segment& segment, uint64_t now);
    /** The least used segment of a class, by the sum of its blocks' ages; nullptr: none without
     * pins, views and writers. */
    Segment* coldest_segment(SizeClass& of);
    /** Retiring segments that hold nothing any more. */
    std::vector<uint32_t> empty_segments();

    NamespaceStats stats_now() const;
    NamespaceStats& stats() { return stats_; }
    uint64_t blocks() { return slots_.table().entries(); }
    uint64_t limbo() const { return limbo_.size(); }
    uint64_t private_bytes() const;
    uint32_t open_count = 0;  // openings by sessions

  private:
    /** What a pinned block was replaced by, while pins of it live. */
    struct Replaced {
        uint32_t slot = kNoSlot;
        uint64_t gen = 0;
        uint32_t pins = 0;
    };
    uint32_t evict(SizeClass& of);
    void replace_pinned(uint32_t old, uint32_t slot, uint64_t now);
    std::vector<uint32_t> viewed() const;
    uint32_t life_of(uint32_t slot);
    std::optional<uint32_t> take(SizeClass& of, uint64_t now);

    std::string name_;
    NamespaceConfig config_;
    uint64_t floor_ = 0;
    Slots slots_;
    Ghosts ghosts_;
    std::vector<Attachment> attachments_;
    std::vector<uint32_t> limbo_;
    std::map<std::pair<uint32_t, uint64_t>, Replaced> replaced_;  // by slot and gen
    NamespaceStats stats_;
    NamespaceStats left_;  // of sessions that are gone
    uint64_t expiring_ = 0;
    uint32_t fenced_passes_ = 0;  // sweeps still to do for blocks below the floor
    uint32_t sweep_at_ = 0;
};

}  // namespace weft
