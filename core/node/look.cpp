// weft_match, weft_view and weft_release: the calls that only look. No lock, no system call (pins
// and claims apart), nothing allocated.
#include "core/node/look.h"

#include "core/node/store.h"

namespace weft {
namespace {

constexpr uint32_t kMatchPiece = 16384;  // look-ups, some 1 ms

/** A view as it grows, block by block. */
class ViewBuilder {
  public:
    ViewBuilder(Mapped& mapped, uint32_t part, uint64_t now)
        : mapped_(mapped), part_(part), now_(now) {}

    /** False: the item is not here, or the limit of views is reached. */
    bool add(weft_item& item, uint64_t hash, uint32_t guess) {
        Cells& cells = mapped_.cells();
        uint32_t cell = cells.take(hint_);
        if (cell == Cells::kNone) {
            item.status = -WEFT_EQUOTA;
            item.size = 0;
            return false;
        }
        Found found;
        Key key{item.key_hi, item.key_lo};
        bool hit = mapped_.reader().hold(key, hash, mapped_.version(), now_, cells.word(cell),
                                         found, guess) == Look::hit;
        const std::byte* address =
            hit ? mapped_.address(found.segment, found.index, part_) : nullptr;
        if (address == nullptr) {
            cells.give(cell);
            item.status = -WEFT_EMISS;
            item.size = WEFT_MISS_FAR;
            mapped_.count_miss(WEFT_MISS_FAR);
            return false;
        }
        cells.chain(last_, cell);
        if (first_ == Cells::kNone) first_ = cell;
        last_ = cell;
        uint64_t bytes = mapped_.config().bytes_of(part_, found.size);
        item.offset = reinterpret_cast<uint64_t>(address);
        item.size = static_cast<uint32_t>(bytes);
        item.status = WEFT_IN_DRAM;
        bytes_ += bytes;
        uses_[count_++] = {found.slot, found.parent_known};
        return true;
    }
    /** Binds what was added; the handle, or 0. */
    uint64_t end(uint32_t space, uint32_t number) {
        if (count_ == 0) return 0;
        if (part_ == 0) tell_chain(mapped_, uses_, count_, 0);
        mapped_.count_hits(count_, bytes_);
        return view_handle(space, number, first_, mapped_.cells().bind(first_));
    }
    uint32_t count() const { return count_; }

  private:
    Mapped& mapped_;
    uint32_t part_;
    uint64_t now_;
    uint32_t hint_ = thread_hint();
    uint32_t first_ = Cells::kNone;
    uint32_t last_ = Cells::kNone;
    uint64_t bytes_ = 0;
    uint32_t count_ = 0;
    Use uses_[kReaderCells - kReaderCellsLoad];  // set as far as count_
};

}  // namespace

int32_t Store::match(uint32_t id, const weft_item* items, uint32_t count) {
    uint32_t lead = 0;
    int32_t found = 0;
    // A list may be long: whoever takes the namespace away waits for some of it.
    do {
        found = match_some(id, items + lead, std::min(count - lead, kMatchPiece));
        if (found < 0) return found;
        lead += static_cast<uint32_t>(found);
    } while (found == static_cast<int32_t>(kMatchPiece) && lead < count);
    return static_cast<int32_t>(lead);
}

int32_t Store::match_some(uint32_t id, const weft_item* items, uint32_t count) {
    ReadSide::Section section(read_side_);
    Space* space = find_space(id);
    if (space == nullptr) return -WEFT_EINVAL;
    Mapped& mapped = *space->current();
    const IndexReader& reader = mapped.reader();
    uint64_t now = fabric::boot_time();
    if (mapped.fenced()) return -WEFT_EFENCED;
    if (!served(mapped, now)) return 0;
    uint32_t lead = 0;
    look_ahead(reader, items, count, [&](uint32_t i, uint64_t hash, uint32_t guess) {
        Found found;
        Key key{items[i].key_hi, items[i].key_lo};
        if (reader.look(key, hash, mapped.version(), now, found, guess) != Look::hit) return false;
        lead++;
        return true;
    });
    return static_cast<int32_t>(lead);
}

int32_t Store::view(uint32_t id, uint32_t part, weft_item* items, uint32_t count,
                    uint64_t* handle_out) {
    ReadSide::Section section(read_side_);
    *handle_out = 0;
    Space* space = find_space(id);
    if (space == nullptr) return -WEFT_EINVAL;
    uint32_t number = space->number();
    Mapped& mapped = *space->numbered(number);
    if (part >= mapped.config().parts) return -WEFT_EINVAL;
    if (mapped.fenced()) return -WEFT_EFENCED;
    uint64_t now = fabric::boot_time();
    if (!served(mapped, now)) {
        mapped.count_miss(WEFT_MISS_UNREACHABLE);
        return 0;
    }
    ViewBuilder view(mapped, part, now);
    if (count == 1) {
        view.add(items[0], hash_key({items[0].key_hi, items[0].key_lo}), kNoSlot);
    } else {
        look_ahead(mapped.reader(), items, count, [&](uint32_t i, uint64_t hash, uint32_t guess) {
            return view.add(items[i], hash, guess);
        });
    }
    *handle_out = view.end(id, number);
    return static_cast<int32_t>(view.count());
}

int32_t Store::release(const uint64_t* handles, uint32_t count) {
    int32_t status = 0;
    for (uint32_t i = 0; i < count; i++) {
        ReadSide::Section section(read_side_);
        uint64_t kind = handles[i] >> 60;
        int32_t one = kind == kViewHandle          ? release_view(handles[i])
                      : kind == kReservationHandle ? release_reservation(handles[i])
                                                   : release_node_handle(handles[i]);
        if (status == 0) status = one;
    }
    return status;
}

int32_t Store::release_view(uint64_t handle) {
    // Acquire: as in find_space.
    Space* space = spaces_[handle >> 50 & 1023].load(std::memory_order_acquire);
    Mapped* mapped =
        space == nullptr ? nullptr : space->numbered(static_cast<uint32_t>(handle >> 42 & 255));
    if (mapped == nullptr) return -WEFT_EINVAL;
    bool open = mapped->cells().release(static_cast<uint32_t>(handle >> 30 & 4095),
                                        static_cast<uint32_t>(handle & Cells::kGenerationMask));
    return open ? 0 : -WEFT_EINVAL;
}

/** As ABORT does, but nobody waits. */
int32_t Store::release_reservation(uint64_t handle) {
    for (std::atomic<Space*>& place : spaces_) {
        Space* space = place.load(std::memory_order_acquire);  // as in find_space
        if (space == nullptr) continue;
        // Before it is looked for: if another incarnation comes meanwhile, it was this one's.
        std::shared_ptr<Mapped> mapped = space->mapped();
        // The counts pair with drop_unviewed's load.
        if (std::shared_ptr<Mapped> ended = space->take_ended(handle)) {
            ended->reservations.fetch_sub(1);
            return -WEFT_ECLOSED;
        }
        if (!space->forget_reservation(handle)) continue;
        mapped->reservations.fetch_sub(1);
        abort(mapped, handle);
        return 0;
    }
    return -WEFT_EINVAL;
}

/** A pin or a claim that the node gave. */
void Store::keep_node_handle(uint64_t handle) {
    std::lock_guard<std::mutex> guard(handles_lock_);
    if (spare_handles_.empty() || handles_.count(handle) != 0) {
        handles_[handle] = true;
        return;
    }
    auto spare = std::move(spare_handles_.back());
    spare_handles_.pop_back();
    spare.key() = handle;
    spare.mapped() = true;
    handles_.insert(std::move(spare));
}

/** A pin or a claim: the node is told, nobody waits. */
int32_t Store::release_node_handle(uint64_t handle) {
    bool alive = false;
    {
        std::lock_guard<std::mutex> guard(handles_lock_);
        auto found = handles_.find(handle);
        if (found == handles_.end()) return -WEFT_EINVAL;
        alive = found->second;
        spare_handles_.push_back(handles_.extract(found));
    }
    if (!alive) return -WEFT_ECLOSED;
    link_->release(handle);
    return 0;
}

}  // namespace weft
