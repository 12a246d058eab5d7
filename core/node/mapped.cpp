// Mapping and unmapping of segments.
#include "core/node/mapped.h"

namespace weft {

void Mapped::add_segment(uint32_t segment, uint64_t slot_bytes, fabric::Mapping read,
                         fabric::Mapping write, std::byte* shared_write) {
    std::lock_guard<std::mutex> guard(lock_);
    MappedSegment& of = segments_[segment % kSegmentsMax];
    if (owned_.count(segment) != 0) return;
    // What is in its place came too late: nobody holds a slot of it. Release, here and below, pairs
    // with Mapped::load: null, then the id, then what it stands for.
    of.read.store(nullptr, std::memory_order_release);
    of.write.store(nullptr, std::memory_order_release);
    std::erase_if(owned_, [&](const auto& other) {
        return other.first % kSegmentsMax == segment % kSegmentsMax;
    });
    of.id.store(segment, std::memory_order_release);
    of.slot_bytes.store(slot_bytes, std::memory_order_relaxed);
    of.write.store(write.address() != nullptr ? write.address() : shared_write,
                   std::memory_order_release);
    of.read.store(read.address(), std::memory_order_release);
    owned_[segment] = {std::move(read), std::move(write)};
}

void Mapped::drop_segment(uint32_t segment) {
    std::lock_guard<std::mutex> guard(lock_);
    MappedSegment& of = segments_[segment % kSegmentsMax];
    if (owned_.count(segment) == 0) return;
    // The node said that no slot of it is published and no hazard left: nobody loads these.
    of.read.store(nullptr, std::memory_order_release);
    of.write.store(nullptr, std::memory_order_release);
    owned_.erase(segment);
}

void Mapped::drop_unviewed() {
    std::set<uint32_t> viewed;
    for (const SharedWord& cell : page_->cells) {
        // Acquire: pairs with the release in Cells::give. No hazard comes: `gone` was stored before
        // the ReadSide::synchronize that the caller has behind it.
        uint64_t value = cell.load_acquire();
        if (value == 0 || value > reader_.slots_max()) continue;
        viewed.insert(static_cast<uint32_t>(
            reader_.slot(static_cast<uint32_t>(value - 1)).place.load_relaxed() >> 32));
    }
    std::lock_guard<std::mutex> guard(lock_);
    // Who writes in place may be in the middle of it, in any segment.
    if (reservations.load(std::memory_order_acquire) > 0) return;
    if (fills.load(std::memory_order_acquire) > 0) return;
    for (auto owned = owned_.begin(); owned != owned_.end();) {
        if (viewed.count(owned->first) != 0) {
            ++owned;
            continue;
        }
        MappedSegment& of = segments_[owned->first % kSegmentsMax];
        // As in drop_segment: nobody loads these any more.
        of.read.store(nullptr, std::memory_order_release);
        of.write.store(nullptr, std::memory_order_release);
        owned = owned_.erase(owned);
    }
}

std::set<uint32_t> lacking(const Mapped& mapped, const Reply& reply) {
    std::set<uint32_t> ids;
    for (const std::vector<ReplyItem>* items : {&reply.items, &reply.stock}) {
        for (const ReplyItem& item : *items) {
            auto id = static_cast<uint32_t>(item.place >> 32);
            if (item.slot != kNoSlot && item.status >= 0 && item.gen != 0 &&
                !mapped.has_segment(id))
                ids.insert(id);
        }
    }
    return ids;
}

}  // namespace weft
