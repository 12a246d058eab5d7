// The slots of one namespace: its index file, its data segments, its size classes, and which slot
// is free.
//
// Invariants: a slot's bytes belong to one segment for the segment's life; a slot header's place is
// never used for anything else while the index lives, and its gen never repeats a value; a free
// slot's gen is odd. A segment's id is never given again, so a process that still maps one by
// mistake takes it for no other. What is taken from the Budget is given back when the segment's
// memory has been punched. One thread (the node's lock), which alone stores the index's words: its
// loads are relaxed, and so are stores of what no reader can have found yet.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "core/index/reader.h"
#include "core/index/table.h"
#include "core/policy/order.h"
#include "core/space/config.h"
#include "fabric/memory/memory.h"

namespace weft {

/** The node's memory= in bytes: segments and indexes together. */
class Budget {
  public:
    explicit Budget(uint64_t limit) : limit_(limit) {}
    bool take(uint64_t bytes) {
        if (bytes > limit_ - used_) return false;
        used_ += bytes;
        return true;
    }
    void give(uint64_t bytes) { used_ -= bytes; }
    uint64_t limit() const { return limit_; }
    uint64_t used() const { return used_; }
    uint64_t left() const { return limit_ - used_; }

  private:
    uint64_t limit_;
    uint64_t used_ = 0;
};

enum class SlotState : uint8_t { free, stocked, attempt, published, limbo };

struct Segment {
    uint32_t id = 0;
    uint64_t slot_bytes = 0;
    uint32_t first = 0;  // its first slot
    uint32_t count = 0;
    uint32_t used = 0;  // slots that are not free
    bool retiring = false;
    uint64_t retired = 0;  // since when
    fabric::SharedFile file;
    std::set<uint64_t> waiting;  // openings that have not confirmed it (while it opens) or its end
                                 // (while it retires)
    uint64_t opened = 0;
};

/** Slots of one size: their free list and their order. */
struct SizeClass {
    uint64_t slot_bytes = 0;
    std::vector<uint32_t> free;
    std::unique_ptr<Order> order;
    uint32_t segments = 0;
    uint64_t next_bytes = 0;  // size of the next segment: they grow geometrically
};

class Slots {
  public:
    static constexpr uint32_t kSegmentsPerClass = 64;

    Slots(fabric::Memory& memory, Budget& budget, const NamespaceConfig& config,
          uint64_t incarnation, bool prefault);
    ~Slots();
    /** Makes the index file. Call once, first. */
    Status start();

    SizeClass& size_class(uint64_t slot_bytes);
    std::map<uint64_t, SizeClass>& classes() { return classes_; }
    /** A segment more for the class, or an error: WEFT_EQUOTA at a limit, WEFT_ENOMEM from the
     * machine. */
    Result<Segment*> add_segment(SizeClass& of, uint64_t now);
    /** Takes a retired segment's memory away for good; nobody maps it any more. */
    void drop_segment(uint32_t id);
    Segment* segment(uint32_t id);
    std::map<uint32_t, std::unique_ptr<Segment>>& segments() { return segments_; }
    /** Of a slot that is in use. */
    Segment& segment_of(uint32_t slot) { return *by_id_[header(slot).place.load_relaxed() >> 32]; }
    /** nullptr: it went, with its slots. */
    Segment* segment_that_had(uint32_t slot) {
        return by_id_[header(slot).place.load_relaxed() >> 32];
    }

    /** A free slot of the class in a segment that is not retiring. */
    std::optional<uint32_t> take(SizeClass& of);
    void give(uint32_t slot);
    std::byte* address(uint32_t slot);

    SlotHeader& header(uint32_t slot) { return headers_[slot]; }
    uint64_t block_size(uint32_t slot) {
        return headers_[slot].size.load_relaxed() & ~kParentKnown;
    }
    SharedWord& checksum(uint32_t slot, uint32_t part);
    SlotInfo& info(uint32_t slot) { return infos_[slot]; }
    SlotInfos& infos() { return infos_; }
    Table& table() { return table_; }
    IndexHeader& index_header() {
        return *reinterpret_cast<IndexHeader*>(index_.mapping.address());
    }
    const fabric::SharedFile& index() const { return index_; }
    uint32_t slots_used() const { return next_slot_; }
    uint64_t memory_limit() const { return budget_.limit(); }
    uint64_t data_bytes() const { return data_bytes_; }
    uint64_t index_bytes() const { return index_bytes_; }
    /** Of data_bytes, slots that hold nothing. */
    uint64_t free_bytes() const {
        uint64_t bytes = 0;
        for (const auto& [slot_bytes, of] : classes_) bytes += of.free.size() * slot_bytes;
        return bytes;
    }

  private:
    uint64_t offset_of(const void* in_index) const;
    bool reserve(uint64_t offset, uint64_t size);
    bool reserve_for_table(uint64_t offset, uint64_t size);
    Result<uint32_t> take_range(uint32_t& count);
    void give_range(uint32_t first, uint32_t count);
    bool back_headers(uint32_t end);
    uint32_t take_segment_id();
    void lay_out(const Segment& segment, SizeClass& of);
    uint64_t segment_size(const SizeClass& of) const;

    fabric::Memory& memory_;
    Budget& budget_;
    const NamespaceConfig& config_;
    uint64_t incarnation_;
    bool prefault_;
    fabric::SharedFile index_;
    SlotHeader* headers_ = nullptr;
    SharedWord* checksums_ = nullptr;
    uint64_t slots_max_ = 0;
    uint32_t next_slot_ = 0;
    uint32_t next_segment_ = 0;
    std::map<uint32_t, uint32_t>
        free_ranges_;              // first -> count, of dropped segments; never adjacent
    uint32_t headers_backed_ = 0;  // slots whose headers have memory, from the first on
    std::map<uint64_t, SizeClass> classes_;
    std::map<uint32_t, std::unique_ptr<Segment>> segments_;
    std::vector<Segment*> by_id_;  // the same: a look-up for each slot that is named
    SlotInfos infos_;
    Table table_;
    uint64_t data_bytes_ = 0;
    uint64_t index_bytes_ = 0;
    uint64_t promised_ = 0;  // of the budget, to the table for the slots that there are
};

}  // namespace weft
