// One opening of a namespace as this process has it mapped: the node's index, this process's page,
// and the data segments. A reconnect makes another one; this one stays while views of it live.
//
// Invariants: a segment's addresses are set once, before the node gives out a slot of it, and
// cleared only when the node has said that no slot of it is published and no view is left
// (protocols 1); so whoever holds a slot by its hazard may use its address. A segment is known by
// its whole id: one that came too late, after the node had dropped it, is never taken for a later
// one. Bytes are read through a read-only mapping. Reading: any thread.
#pragma once
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "core/index/cells.h"
#include "core/index/reader.h"
#include "core/space/config.h"
#include "core/write/request.h"
#include "fabric/memory/memory.h"

namespace weft {

/** See Mapped::load for the orders of these. slot_bytes is relaxed: stored before the pointers'
 * release, loaded behind their acquire, or by one to whom a message named a slot of the segment. */
struct MappedSegment {
    std::atomic<const std::byte*> read{nullptr};
    std::atomic<std::byte*> write{nullptr};
    std::atomic<uint64_t> slot_bytes{0};
    std::atomic<uint64_t> id{UINT64_MAX};
};

class Mapped {
  public:
    Mapped(uint64_t opening, const NamespaceConfig& config, uint64_t version, std::byte* index,
           ReaderPage* page)
        : opening_(opening),
          config_(config),
          version_(version),
          reader_(index),
          page_(page),
          cells_(page, static_cast<uint32_t>(opening * 0x9e3779b97f4a7c15 >> 32)) {}

    uint64_t opening() const { return opening_; }
    const NamespaceConfig& config() const { return config_; }
    uint64_t version() const { return version_; }
    const IndexReader& reader() const { return reader_; }
    ReaderPage& page() { return *page_; }
    Cells& cells() { return cells_; }

    /** Where the part of a block begins, or nullptr: its segment is not mapped (yet). */
    const std::byte* address(uint32_t segment, uint32_t index, uint32_t part) const {
        const MappedSegment& of = segments_[segment % kSegmentsMax];
        const std::byte* base = load(of, of.read, segment);
        return base == nullptr ? nullptr
                               : base + index * of.slot_bytes.load(std::memory_order_relaxed) +
                                     config_.offset_of(part);
    }
    std::byte* write_address(uint32_t segment, uint32_t index, uint32_t part) const {
        const MappedSegment& of = segments_[segment % kSegmentsMax];
        std::byte* base = load(of, of.write, segment);
        return base == nullptr ? nullptr
                               : base + index * of.slot_bytes.load(std::memory_order_relaxed) +
                                     config_.offset_of(part);
    }
    uint64_t slot_bytes(uint32_t segment) const {
        return segments_[segment % kSegmentsMax].slot_bytes.load(std::memory_order_relaxed);
    }
    bool has_segment(uint32_t segment) const {
        const MappedSegment& of = segments_[segment % kSegmentsMax];
        return load(of, of.read, segment) != nullptr;
    }

    /** `write`: a mapping of its own, or with `shared_write` the node's, or none. */
    void add_segment(uint32_t segment, uint64_t slot_bytes, fabric::Mapping read,
                     fabric::Mapping write, std::byte* shared_write);
    void drop_segment(uint32_t segment);
    /** After the node's death: nothing is served any more, but what views hold stays. */
    void drop_unviewed();

    /** Relaxed, these three: the ring is lossy and the counts are ordered by nothing. */
    void touch(Touch use) {
        uint64_t at = page_->touch_count.fetch_add_relaxed(1);
        page_->touches[at % kTouchRecords].store_relaxed(use.pack());
    }
    void count_hits(uint64_t blocks, uint64_t bytes) {
        page_->hits.fetch_add_relaxed(blocks);
        if (bytes != 0) page_->bytes.fetch_add_relaxed(bytes);
    }
    void count_miss(uint32_t reason) { page_->misses[reason % kMissReasons].fetch_add_relaxed(1); }

    /** The connection to its node has ended; a resumed one is the same node. Stored (release) by
     * the link's loop, loaded (acquire) inside the store's ReadSide by who then puts a hazard or
     * counts itself in `fills`: behind its synchronize whoever saw false has done so. */
    std::atomic<bool> gone{false};
    /** The namespace has advanced past this opening's version while its node was away: it is not
     * opened again. Release and acquire, but a flag that stays needs no order. */
    std::atomic<bool> fenced_away{false};
    bool fenced() const {
        return fenced_away.load(std::memory_order_acquire) || reader_.floor() > version_;
    }
    /** Reservations that the caller may still write to. Counted down (seq_cst, so release) when its
     * writes are over; pairs with the acquire load in drop_unviewed, before it unmaps. */
    std::atomic<uint32_t> reservations{0};
    /** SAVEs that write to slots of the stock right now; orders in OpRunner::Filling. */
    std::atomic<uint32_t> fills{0};
    /** What keeps the memory behind the pointers; set by who mapped it. */
    std::shared_ptr<void> keeper;  // shared with nobody but a reconnect's copy

  private:
    /** The pointer, if it is the segment's: the id is stored between a null and the new pointer, so
     * two equal looks around it are of one segment. Acquire, all three: they pair with the release
     * stores of add_segment and keep this order among themselves. That the memory stays mapped is
     * by the caller's hazard or reservation, not by these. */
    template <typename T>
    static T* load(const MappedSegment& of, const std::atomic<T*>& pointer, uint32_t segment) {
        T* first = pointer.load(std::memory_order_acquire);
        if (of.id.load(std::memory_order_acquire) != segment) return nullptr;
        return pointer.load(std::memory_order_acquire) == first ? first : nullptr;
    }
    struct Owned {
        fabric::Mapping read;
        fabric::Mapping write;
    };
    uint64_t opening_;
    NamespaceConfig config_;
    uint64_t version_;
    IndexReader reader_;
    ReaderPage* page_;
    Cells cells_;
    std::array<MappedSegment, kSegmentsMax> segments_;
    std::mutex lock_;  // guards owned_
    std::map<uint32_t, Owned> owned_;
};

/** The segments that an answer names and that are not mapped. */
std::set<uint32_t> lacking(const Mapped& mapped, const Reply& reply);

}  // namespace weft
