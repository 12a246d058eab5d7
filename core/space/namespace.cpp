// The life of a slot: free -> (stocked | attempt) -> published -> limbo -> free. Memory orders
// stand beside the stores they are for; their readers are in core/index/reader.h. Loads of header
// words are relaxed: the node alone stores them, under its lock.
#include "core/space/namespace.h"

#include <algorithm>

#include "capi/weft.h"
#include "fabric/clock/clock.h"

namespace weft {
namespace {

constexpr uint32_t kEvictBatch = 32;                 // at most, and at most a 32nd of the class
constexpr uint64_t kWalkedMost = uint64_t{1} << 18;  // blocks that the uses in one ring reach
constexpr uint32_t kSweepSlots = 65536;              // looked at per sweep, four sweeps a second

uint32_t tenths(uint64_t now) { return static_cast<uint32_t>(now / (fabric::kSecond / 10)); }
SlotState state_of(const SlotInfo& info) { return static_cast<SlotState>(info.state); }

}  // namespace

Status Namespace::start(uint64_t serve_until) {
    Status started = slots_.start();
    if (!started) return started;
    IndexHeader& header = slots_.index_header();
    // Nobody maps the index yet: the message that brings its descriptor orders all of it.
    header.floor.store_relaxed(floor_);
    header.serve_until.store_release(serve_until);
    return Nothing{};
}

void Namespace::raise_floor(uint64_t version) {
    floor_ = std::max(floor_, version);
    // Release: pairs with IndexReader::floor.
    slots_.index_header().floor.store_release(floor_);
    fabric::fence_seq_cst();  // whoever learns that the fence is up, by whatever way, also sees the
                              // floor
    fenced_passes_ = 2;       // the pass that is under way may be past some of them
}

uint32_t Namespace::find(const Key& key, uint64_t version, uint64_t now) {
    if (version < floor_) return kNoSlot;
    return slots_.table().find(hash_key(key), [&](uint32_t slot) {
        SlotHeader& header = slots_.header(slot);
        uint64_t expiry = header.expiry.load_relaxed();
        return header.key_hi.load_relaxed() == key.hi && header.key_lo.load_relaxed() == key.lo &&
               header.version.load_relaxed() == version && (expiry == 0 || now < expiry);
    });
}

uint32_t Namespace::miss_reason(const Key& key, uint64_t version, uint64_t now) {
    uint64_t hash = hash_key(key);
    uint32_t reason = 0;
    slots_.table().find(hash, [&](uint32_t slot) {
        SlotHeader& header = slots_.header(slot);
        if (header.key_hi.load_relaxed() != key.hi || header.key_lo.load_relaxed() != key.lo)
            return false;
        uint64_t other = header.version.load_relaxed();
        uint64_t expiry = header.expiry.load_relaxed();
        if (other == version && expiry != 0 && now >= expiry) reason = WEFT_MISS_EXPIRED;
        if (other < version && reason == 0) reason = WEFT_MISS_FENCED;
        return false;
    });
    if (reason == 0) reason = ghosts_.reason(hash);
    return reason != 0 ? reason : WEFT_MISS_ABSENT;
}

std::vector<uint64_t> Namespace::versions_of(const Key& key, uint64_t now) {
    std::vector<uint64_t> versions;
    slots_.table().find(hash_key(key), [&](uint32_t slot) {
        SlotHeader& header = slots_.header(slot);
        uint64_t expiry = header.expiry.load_relaxed();
        if (header.key_hi.load_relaxed() == key.hi && header.key_lo.load_relaxed() == key.lo &&
            (expiry == 0 || now < expiry))
            versions.push_back(header.version.load_relaxed());
        return false;
    });
    return versions;
}

void Namespace::count_viewed(const std::map<uint64_t, Holding*>& by_opening) {
    for (const Attachment& attachment : attachments_) {
        auto holding = by_opening.find(attachment.opening);
        if (holding == by_opening.end()) continue;
        std::set<uint32_t> seen;
        for (const SharedWord& cell : attachment.page->cells) {
            uint64_t value = cell.load_relaxed();
            if (value == 0 || value > slots_.slots_used()) continue;
            auto slot = static_cast<uint32_t>(value - 1);
            // A page's words are its process's: only slots that are in use have a segment.
            if (state_of(slots_.info(slot)) == SlotState::free || !seen.insert(slot).second)
                continue;
            holding->second->viewed.add(1, slots_.segment_of(slot).slot_bytes);
        }
    }
}

std::optional<uint32_t> Namespace::take(SizeClass& of, uint64_t now) {
    std::optional<uint32_t> slot = slots_.take(of);
    if (!slot && !limbo_.empty()) {
        settle_limbo(now);
        slot = slots_.take(of);
    }
    return slot;
}

Result<uint32_t> Namespace::allocate(uint64_t bytes, uint64_t now, SlotState state) {
    if (slot_bytes_for(bytes) > slots_.memory_limit()) {
        return Failure{WEFT_EQUOTA,
                       "a block of " + std::to_string(bytes) +
                           " bytes is larger than memory=" + std::to_string(slots_.memory_limit())};
    }
    SizeClass& of = slots_.size_class(slot_bytes_for(bytes));
    std::optional<uint32_t> slot = take(of, now);
    if (!slot) {
        Result<Segment*> added = slots_.add_segment(of, now);
        if (added) {
            ghosts_.grow(slots_.slots_used());
            slot = slots_.take(of);
        } else {
            drain_touches(now);
            // Again only where a view came between the choice and the scan. A segment of one large
            // block goes back to the node first.
            bool again = true;
            while (!slot && again && evict(of) > 0) {
                slot = take(of, now);
                again = of.slot_bytes <= kLargestClass;
            }
            if (!slot) return added.failure();
        }
    }
    renew_gen(*slot);
    slots_.info(*slot).state = static_cast<uint8_t>(state);
    return *slot;
}

void Namespace::renew_gen(uint32_t slot) {
    SharedWord& gen = slots_.header(slot).gen;
    // Odd stays odd. Release: pairs with the acquire load in hold_slot, for followers.
    gen.store_release(gen.load_relaxed() + 2);
}

bool Namespace::publish(uint32_t slot, const Publication& block, uint32_t old, uint64_t now) {
    SlotHeader& header = slots_.header(slot);
    uint64_t hash = hash_key(block.key);
    // Relaxed: gen is odd, and has been since before a seq_cst fence (settle_limbo); its release
    // below hands these on.
    header.key_hi.store_relaxed(block.key.hi);
    header.key_lo.store_relaxed(block.key.lo);
    header.version.store_relaxed(block.version);
    header.expiry.store_relaxed(block.expiry);
    header.size.store_relaxed(block.size | (block.parent == kNoSlot ? 0 : kParentKnown));
    for (uint32_t part = 0; part < block.checksums.size(); part++) {
        slots_.checksum(slot, part).store_relaxed(block.checksums[part]);
    }
    header.gen.store_release(header.gen.load_relaxed() +
                             1);  // even: pairs with the reader's acquire load
    uint16_t pins = 0;
    if (old != kNoSlot) {
        slots_.table().replace(hash, old, slot);
        stats_.replaced++;
        pins = slots_.info(old).pins;
        if (pins > 0) replace_pinned(old, slot, now);
        unpublish(old, 0);
    } else if (!slots_.table().insert(hash, slot)) {
        // Release: pairs as in unpublish.
        header.gen.store_release(header.gen.load_relaxed() + 1);
        return false;
    }
    SlotInfo& info = slots_.info(slot);
    info = SlotInfo();
    info.state = static_cast<uint8_t>(SlotState::published);
    info.pins = pins;
    info.parent = block.parent == kNoSlot ? 0 : block.parent + 1;
    info.parent_life = block.parent == kNoSlot ? 0 : life_of(block.parent);
    info.touched = tenths(now);
    Order& order = *slots_.classes().at(slots_.segment_of(slot).slot_bytes).order;
    block.returns ? order.insert(slot) : order.insert_first(slot);
    ghosts_.set_clock(now);  // it may leave before the first sweep
    ghosts_.forget(hash);
    if (header.expiry.load_relaxed() != 0) expiring_++;
    stats_.saved++;
    stats_.saved_bytes += block.size;
    return true;
}

/** A pin promised that the key can be loaded until the pin's end: what replaces the block takes the
 * pins over, and stays as long as the longest of them may, whatever its own time. */
void Namespace::replace_pinned(uint32_t old, uint32_t slot, uint64_t now) {
    SlotHeader& before = slots_.header(old);
    SlotHeader& after = slots_.header(slot);
    uint64_t promised = now + config().pin_s * fabric::kSecond;
    if (uint64_t own = before.expiry.load_relaxed(); own != 0) promised = std::min(promised, own);
    uint64_t expiry = after.expiry.load_relaxed();
    // As in set_expiry: gen is even, a reader sees one value or the other, by itself, and the event
    // of this publish orders it for those who were told.
    if (expiry != 0 && promised > expiry) after.expiry.store_release(promised);
    replaced_[{old, before.gen.load_relaxed()}] = {slot, after.gen.load_relaxed(),
                                                   slots_.info(old).pins};
}

void Namespace::unpin(uint32_t slot, uint64_t gen) {
    for (auto next = replaced_.find({slot, gen}); next != replaced_.end();
         next = replaced_.find({slot, gen})) {
        slot = next->second.slot;
        gen = next->second.gen;
        if (--next->second.pins == 0) replaced_.erase(next);
    }
    SlotInfo& info = slots_.info(slot);
    if (slots_.header(slot).gen.load_relaxed() == gen && info.pins > 0) info.pins--;
}

void Namespace::unpublish(uint32_t slot, uint32_t reason) {
    SlotHeader& header = slots_.header(slot);
    uint64_t hash = hash_key({header.key_hi.load_relaxed(), header.key_lo.load_relaxed()});
    if (reason != 0) {  // 0: its entry has been replaced already
        slots_.table().remove(hash, slot);
        ghosts_.remember(hash, reason);
    }
    // Odd. Release: pairs with the reader's acquire load, so that who finds a replaced block's slot
    // odd sees its bucket changed and looks again. The fence in settle_limbo stands between this
    // and the scan of the cells, or the next change of the header.
    header.gen.store_release(header.gen.load_relaxed() + 1);
    if (header.expiry.load_relaxed() != 0 && expiring_ > 0) expiring_--;
    Segment& segment = slots_.segment_of(slot);
    slots_.classes().at(segment.slot_bytes).order->remove(slot);
    SlotInfo& info = slots_.info(slot);
    info = SlotInfo();
    info.state = static_cast<uint8_t>(SlotState::limbo);
    limbo_.push_back(slot);
}

void Namespace::discard(uint32_t slot) {
    renew_gen(slot);
    SlotInfo& info = slots_.info(slot);
    info = SlotInfo();
    info.state = static_cast<uint8_t>(SlotState::limbo);
    limbo_.push_back(slot);
}

void Namespace::settle_limbo(uint64_t now) {
    if (limbo_.empty()) return;
    // Pairs with the reader's fence between its hazard and its second look at gen: the odd gens
    // above, or the hazard, is seen. It also stands between those gens and any change of the
    // headers, for readers that take no hazard.
    fabric::fence_seq_cst();
    for (const Attachment& attachment : attachments_) {
        for (const SharedWord& cell : attachment.page->cells) {
            // Acquire: pairs with the release in Cells::give.
            uint64_t value = cell.load_acquire();
            if (value == 0 || value > slots_.slots_used()) continue;
            SlotInfo& info = slots_.info(static_cast<uint32_t>(value - 1));
            if (state_of(info) == SlotState::limbo) info.list = 1;
        }
    }
    std::vector<uint32_t> held;
    for (uint32_t slot : limbo_) {
        SlotInfo& info = slots_.info(slot);
        if (info.list != 0) {
            info.list = 0;
            held.push_back(slot);
        } else {
            uint32_t segment = slots_.segment_of(slot).id;
            slots_.give(slot);
            Segment& of = *slots_.segment(segment);
            // A block larger than the largest class has its segment for itself.
            if (of.used == 0 && of.slot_bytes > kLargestClass && !of.retiring) retire(of, now);
        }
    }
    limbo_.swap(held);
}

/** The slots in readers' pages right now, sorted: a hint for `evict`, so relaxed; settle_limbo is
 * what proves. */
std::vector<uint32_t> Namespace::viewed() const {
    std::vector<uint32_t> slots;
    for (const Attachment& attachment : attachments_) {
        for (const SharedWord& cell : attachment.page->cells) {
            uint64_t value = cell.load_relaxed();
            if (value != 0 && value <= slots_.slots_used())
                slots.push_back(static_cast<uint32_t>(value - 1));
        }
    }
    std::sort(slots.begin(), slots.end());
    return slots;
}

/** Unpublishes a small batch of those who go first. What is pinned stays; so does what is viewed,
 * since taking it from its readers would free nothing. */
uint32_t Namespace::evict(SizeClass& of) {
    auto count = static_cast<uint32_t>(std::min<uint64_t>(kEvictBatch, of.order->size() / 32 + 1));
    uint32_t evicted = 0;
    uint32_t slot = of.order->first();
    if (slot == kNoSlot) return 0;
    std::vector<uint32_t> held = viewed();
    while (slot != kNoSlot && evicted < count) {
        uint32_t next = of.order->after(slot);
        if (slots_.info(slot).pins == 0 && !std::binary_search(held.begin(), held.end(), slot)) {
            // Counted before it can be missed: the count is what excuses a miss.
            stats_.evicted++;
            evicted++;
            unpublish(slot, WEFT_MISS_EVICTED);
        }
        slot = next;
    }
    return evicted;
}

/** The same for a block while it is written and while it is published, and another one for whatever
 * its slot holds later. Without it, chains whose slots were reused would close into rings. */
uint32_t Namespace::life_of(uint32_t slot) {
    return static_cast<uint32_t>((slots_.header(slot).gen.load_relaxed() + 1) >> 1);
}

uint32_t Namespace::touch(Touch use, uint64_t now) {
    uint32_t slot = use.slot;
    uint32_t i = 0;
    for (; i < use.length && slot < slots_.slots_used(); i++) {
        SlotInfo& info = slots_.info(slot);
        if (state_of(info) != SlotState::published) break;
        // A chain that will not return gives its place up at once: it is not made young.
        if (use.hint != WEFT_REUSE_NONE >> 12) {
            slots_.classes().at(slots_.segment_of(slot).slot_bytes).order->touch(slot);
        }
        info.touched = tenths(now);
        if (info.parent == 0 || life_of(info.parent - 1) != info.parent_life) break;
        slot = info.parent - 1;
    }
    return i;
}

void Namespace::drain_touches(uint64_t now) {
    for (Attachment& attachment : attachments_) {
        // The ring is lossy: a record that is counted and not yet here, or overwritten meanwhile,
        // touches something else. Nothing is ordered by this acquire, and nothing needs to be.
        uint64_t count = attachment.page->touch_count.load_acquire();
        if (count - attachment.touches_seen > kTouchRecords)
            attachment.touches_seen = count - kTouchRecords;
        uint64_t walked = 0;
        for (; attachment.touches_seen < count; attachment.touches_seen++) {
            // A ring of the longest chains, again and again, costs its writer its touches.
            if (walked > kWalkedMost) continue;
            uint64_t word =
                attachment.page->touches[attachment.touches_seen % kTouchRecords].load_relaxed();
            walked += touch(Touch::unpack(word), now);
        }
    }
}

void Namespace::set_expiry(uint32_t slot, uint64_t expiry) {
    SlotHeader& header = slots_.header(slot);
    uint64_t before = header.expiry.load_relaxed();
    // A pin promised that the block stays: then its life can only grow.
    if (slots_.info(slot).pins > 0 && (before == 0 || expiry < before)) return;
    if (before == 0) expiring_++;
    // The one field that changes under an even gen: a reader sees one value or the other, by
    // itself, and TOUCH's event orders it for those who were told.
    header.expiry.store_release(expiry);
}

void Namespace::detach(uint64_t opening, uint64_t now) {
    drain_touches(now);
    std::erase_if(attachments_, [&](const Attachment& attachment) {
        if (attachment.opening != opening) return false;
        // Relaxed, as in stats_now: counts, ordered by nothing.
        left_.hits += attachment.page->hits.load_relaxed();
        left_.loaded_bytes += attachment.page->bytes.load_relaxed();
        for (uint32_t i = 0; i < kMissReasons; i++)
            left_.misses[i] += attachment.page->misses[i].load_relaxed();
        return true;
    });
    settle_limbo(now);
}

NamespaceStats Namespace::stats_now() const {
    NamespaceStats sum = stats_;
    sum.hits += left_.hits;
    sum.loaded_bytes += left_.loaded_bytes;
    for (uint32_t i = 0; i < kMissReasons; i++) sum.misses[i] += left_.misses[i];
    for (const Attachment& attachment : attachments_) {
        sum.hits += attachment.page->hits.load_relaxed();
        sum.loaded_bytes += attachment.page->bytes.load_relaxed();
        for (uint32_t i = 0; i < kMissReasons; i++)
            sum.misses[i] += attachment.page->misses[i].load_relaxed();
    }
    return sum;
}

void Namespace::sweep(uint64_t now) {
    ghosts_.set_clock(now);
    if (expiring_ == 0 && fenced_passes_ == 0) return;
    uint32_t used = slots_.slots_used();
    for (uint32_t i = 0; i < std::min(used, kSweepSlots); i++) {
        if (++sweep_at_ >= used) {
            sweep_at_ = 0;
            if (fenced_passes_ > 0) fenced_passes_--;
        }
        if (state_of(slots_.info(sweep_at_)) != SlotState::published) continue;
        SlotHeader& header = slots_.header(sweep_at_);
        uint64_t expiry = header.expiry.load_relaxed();
        if (header.version.load_relaxed() < floor_) {
            unpublish(sweep_at_, WEFT_MISS_FENCED);
            stats_.fenced++;
        } else if (expiry != 0 && now >= expiry) {
            unpublish(sweep_at_, WEFT_MISS_EXPIRED);
            stats_.expired++;
        }
    }
    settle_limbo(now);
}

uint64_t Namespace::flush(std::optional<uint64_t> version, uint64_t now) {
    uint64_t count = 0;
    for (uint32_t slot = 0; slot < slots_.slots_used(); slot++) {
        if (state_of(slots_.info(slot)) != SlotState::published) continue;
        if (version && slots_.header(slot).version.load_relaxed() != *version) continue;
        unpublish(slot, WEFT_MISS_ABSENT);
        count++;
    }
    stats_.removed += count;
    settle_limbo(now);
    return count;
}

void Namespace::retire(Segment& segment, uint64_t now) {
    segment.retiring = true;
    segment.retired = now;
    SizeClass& of = slots_.classes().at(segment.slot_bytes);
    uint32_t end = segment.first + segment.count;
    std::erase_if(of.free, [&](uint32_t slot) { return slot >= segment.first && slot < end; });
    for (uint32_t slot = segment.first; slot < end; slot++) {
        if (state_of(slots_.info(slot)) == SlotState::published) {
            stats_.evicted++;  // before it can be missed
            unpublish(slot, WEFT_MISS_EVICTED);
        }
    }
}

Segment* Namespace::coldest_segment(SizeClass& of) {
    Segment* coldest = nullptr;
    double coldest_mean = 0;
    std::vector<uint32_t> held = viewed();
    for (auto& [id, segment] : slots_.segments()) {
        if (segment->slot_bytes != of.slot_bytes || segment->retiring || !segment->waiting.empty())
            continue;
        double sum = 0;
        auto view = std::lower_bound(held.begin(), held.end(), segment->first);
        bool busy = view != held.end() && *view < segment->first + segment->count;
        for (uint32_t slot = segment->first; slot < segment->first + segment->count && !busy;
             slot++) {
            const SlotInfo& info = slots_.info(slot);
            busy = info.pins > 0 || state_of(info) == SlotState::attempt ||
                   state_of(info) == SlotState::stocked;
            if (state_of(info) == SlotState::published) sum += info.touched;
        }
        double mean = sum / segment->count;
        if (!busy && (coldest == nullptr || mean < coldest_mean)) {
            coldest = segment.get();
            coldest_mean = mean;
        }
    }
    return coldest;
}

std::vector<uint32_t> Namespace::empty_segments() {
    std::vector<uint32_t> empty;
    for (auto& [id, segment] : slots_.segments()) {
        if (segment->retiring && segment->used == 0) empty.push_back(id);
    }
    return empty;
}

uint64_t Namespace::private_bytes() const { return ghosts_.bytes(); }

}  // namespace weft
