// Segments start at 2 MiB and double, at most an eighth of memory= each and 64 a class (descriptor
// limits, protocols 1); a block larger than the largest class has a segment of its own.
#include "core/space/slots.h"

#include <algorithm>

#include "capi/weft.h"

namespace weft {
namespace {

constexpr uint64_t kSmallestSegment = uint64_t{2} << 20;
constexpr uint64_t kPage = 4096;
// A bucket of 64 bytes holds 4.5 entries before the table grows, and 9 % of them overflow: 15.5
// bytes a slot, in steps of a page.
constexpr uint64_t kTableBytesPerSlot = 20;
constexpr uint64_t kTableBytesAtFirst = 4 * kPage;

uint64_t pages(uint64_t bytes) { return (bytes + kPage - 1) & ~(kPage - 1); }

}  // namespace

Slots::Slots(fabric::Memory& memory, Budget& budget, const NamespaceConfig& config,
             uint64_t incarnation, bool prefault)
    : memory_(memory),
      budget_(budget),
      config_(config),
      incarnation_(incarnation | 1),
      prefault_(prefault) {}

Slots::~Slots() { budget_.give(data_bytes_ + index_bytes_ + promised_); }

Status Slots::start() {
    uint64_t smallest = config_.any_size() ? kSmallestSlot : slot_bytes_for(config_.block_bytes());
    slots_max_ = std::min<uint64_t>(budget_.limit() / smallest + 4096, UINT32_MAX - 1);
    uint64_t buckets = slots_max_ / 4 + 64;
    uint64_t overflow_at = kIndexPage + pages(buckets * sizeof(Bucket));
    uint64_t slots_at = overflow_at + pages(buckets * sizeof(Bucket));
    uint64_t checksums_at = slots_at + pages(slots_max_ * sizeof(SlotHeader));
    uint64_t size =
        checksums_at +
        (config_.parts > 1 ? pages(slots_max_ * config_.parts * sizeof(SharedWord)) : 0);
    Result<fabric::SharedFile> file = memory_.create_index(size);
    if (!file) return file.failure();
    index_ = std::move(*file);
    if (!reserve(0, kIndexPage))
        return Failure{WEFT_EQUOTA, "memory=" + std::to_string(budget_.limit()) + " is used up"};
    IndexHeader& header = index_header();
    header.layout_version.store_relaxed(kLayoutVersion);
    header.buckets.store_relaxed(kIndexPage);
    header.overflow.store_relaxed(overflow_at);
    header.slots.store_relaxed(slots_at);
    header.checksums.store_relaxed(config_.parts > 1 ? checksums_at : 0);
    header.slots_max.store_relaxed(slots_max_);
    header.buckets_max.store_relaxed(buckets);
    std::byte* base = index_.mapping.address();
    headers_ = reinterpret_cast<SlotHeader*>(base + slots_at);
    if (config_.parts > 1) checksums_ = reinterpret_cast<SharedWord*>(base + checksums_at);
    table_ = Table(
        base, [this](uint64_t offset, uint64_t bytes) { return reserve_for_table(offset, bytes); });
    table_.hash_of = [this](uint32_t slot) {
        return hash_key(
            {headers_[slot].key_hi.load_relaxed(), headers_[slot].key_lo.load_relaxed()});
    };
    if (!table_.start())
        return Failure{WEFT_EQUOTA, "memory=" + std::to_string(budget_.limit()) + " is used up"};
    return Nothing{};
}

uint64_t Slots::offset_of(const void* in_index) const {
    return static_cast<uint64_t>(static_cast<const std::byte*>(in_index) -
                                 index_.mapping.address());
}

bool Slots::reserve(uint64_t offset, uint64_t size) {
    if (!budget_.take(size)) return false;
    Status backed = memory_.reserve(index_, offset, size);
    if (!backed) {
        budget_.give(size);
        return false;
    }
    index_bytes_ += size;
    return true;
}

/** From what was promised when the slots came: a full cache must find room for an entry too. */
bool Slots::reserve_for_table(uint64_t offset, uint64_t size) {
    uint64_t promised = std::min(promised_, size);
    promised_ -= promised;
    budget_.give(promised);
    if (reserve(offset, size)) return true;
    if (budget_.take(promised)) promised_ += promised;
    return false;
}

SizeClass& Slots::size_class(uint64_t slot_bytes) {
    SizeClass& found = classes_[slot_bytes];
    if (found.order == nullptr) {
        found.slot_bytes = slot_bytes;
        found.order = make_order(config_.policy, infos_);
        found.next_bytes = kSmallestSegment;
    }
    return found;
}

uint64_t Slots::segment_size(const SizeClass& of) const {
    if (of.slot_bytes > kLargestClass) return of.slot_bytes;
    uint64_t most = std::max(kSmallestSegment, budget_.limit() / 8);
    if (prefault_ && config_.block_bytes() != 0) return std::max(of.slot_bytes, most);
    // Files are of whole pages, and the last one counts too.
    uint64_t quota = config_.quota == 0
                         ? UINT64_MAX
                         : (config_.quota - std::min(config_.quota, data_bytes_)) & ~(kPage - 1);
    return std::max(of.slot_bytes, std::min({of.next_bytes, most, std::max(quota, of.slot_bytes)}));
}

/** Slots in a row: `count` of them, or as many as the longest free run has. */
Result<uint32_t> Slots::take_range(uint32_t& count) {
    auto longest = free_ranges_.end();
    for (auto range = free_ranges_.begin(); range != free_ranges_.end(); ++range) {
        if (longest == free_ranges_.end() || range->second > longest->second) longest = range;
        if (range->second >= count) break;
    }
    bool fits = longest != free_ranges_.end() && longest->second >= count;
    if (!fits && uint64_t{next_slot_} + count <= slots_max_) {
        uint32_t first = next_slot_;
        // Whoever walks the slots that there are looks at their infos, also where no segment came.
        infos_.grow(next_slot_ + count);
        next_slot_ += count;
        return first;
    }
    if (longest == free_ranges_.end()) {
        return Failure{WEFT_EQUOTA, "the index holds " + std::to_string(slots_max_) + " slots"};
    }
    auto [first, room] = *longest;
    count = std::min(count, room);
    free_ranges_.erase(longest);
    if (room > count) free_ranges_[first + count] = room - count;
    return first;
}

void Slots::give_range(uint32_t first, uint32_t count) {
    auto after = free_ranges_.lower_bound(first);
    if (after != free_ranges_.end() && after->first == first + count) {
        count += after->second;
        after = free_ranges_.erase(after);
    }
    if (after != free_ranges_.begin()) {
        auto before = std::prev(after);
        if (before->first + before->second == first) {
            before->second += count;
            return;
        }
    }
    free_ranges_[first] = count;
}

/** The headers and checksums of all slots before `end` have memory. It is paid for once: an index
 * cannot be punched, so what a dropped segment's slots took stays, and serves the next one. */
bool Slots::back_headers(uint32_t end) {
    if (end <= headers_backed_) return true;
    uint64_t count = end - headers_backed_;
    uint64_t promise = count * kTableBytesPerSlot + (headers_backed_ == 0 ? kTableBytesAtFirst : 0);
    if (!budget_.take(promise)) return false;
    bool backed = reserve(offset_of(&headers_[headers_backed_]), count * sizeof(SlotHeader)) &&
                  (checksums_ == nullptr ||
                   reserve(offset_of(&checksums_[uint64_t{headers_backed_} * config_.parts]),
                           count * config_.parts * sizeof(SharedWord)));
    if (!backed) {
        budget_.give(promise);
        return false;
    }
    promised_ += promise;
    headers_backed_ = end;
    return true;
}

/** Readers keep segments by id modulo kSegmentsMax. */
uint32_t Slots::take_segment_id() {
    auto taken = [this](uint32_t id) {
        for (const auto& [other, segment] : segments_) {
            if (other % kSegmentsMax == id % kSegmentsMax) return true;
        }
        return false;
    };
    while (taken(next_segment_)) next_segment_++;
    return next_segment_++;
}

Result<Segment*> Slots::add_segment(SizeClass& of, uint64_t now) {
    if (of.segments >= kSegmentsPerClass) {
        return Failure{WEFT_EQUOTA, std::to_string(of.segments) + " segments of " +
                                        std::to_string(of.slot_bytes) +
                                        "-byte slots are the limit"};
    }
    if (segments_.size() >= kSegmentsMax) {
        return Failure{WEFT_EQUOTA, std::to_string(segments_.size()) +
                                        " segments are the limit of a namespace: no room for " +
                                        std::to_string(of.slot_bytes) + "-byte slots"};
    }
    uint64_t size = std::min(segment_size(of), budget_.left());
    auto count = static_cast<uint32_t>(size / of.slot_bytes);
    // Its slot headers are part of what it takes.
    uint64_t header_bytes = sizeof(SlotHeader) +
                            (config_.parts > 1 ? config_.parts * sizeof(SharedWord) : 0) +
                            kTableBytesPerSlot;
    while (count > 0 && count * (of.slot_bytes + header_bytes) + 2 * kPage + kTableBytesAtFirst >
                            budget_.left()) {
        count -= std::max<uint32_t>(1, count / 64);
    }
    if (count == 0 ||
        (config_.quota != 0 && data_bytes_ + pages(count * of.slot_bytes) > config_.quota)) {
        std::string limits = "memory=" + std::to_string(budget_.limit());
        if (config_.quota != 0) limits += ", quota=" + std::to_string(config_.quota);
        return Failure{WEFT_EQUOTA, "no room for a slot of " + std::to_string(of.slot_bytes) +
                                        " bytes: " + limits};
    }
    Result<uint32_t> first = take_range(count);
    if (!first) return first.failure();
    size = pages(count * of.slot_bytes);
    Result<fabric::SharedFile> file = memory_.create_data(size, prefault_);
    bool backed = file.ok() && budget_.take(size);
    if (backed && !back_headers(*first + count)) {
        budget_.give(size);
        backed = false;
    }
    if (!backed) {
        give_range(*first, count);
        return file.ok() ? Failure{WEFT_EQUOTA,
                                   "memory=" + std::to_string(budget_.limit()) + " is used up"}
                         : file.failure();
    }
    auto segment = std::make_unique<Segment>();
    segment->id = take_segment_id();
    segment->slot_bytes = of.slot_bytes;
    segment->first = *first;
    segment->count = count;
    segment->file = std::move(*file);
    segment->opened = now;
    data_bytes_ += size;
    lay_out(*segment, of);
    of.segments++;
    of.next_bytes = std::min(of.next_bytes * 2, uint64_t{1} << 40);
    Segment* added = segment.get();
    by_id_.resize(std::max<size_t>(by_id_.size(), segment->id + 1));
    by_id_[segment->id] = segment.get();
    segments_[segment->id] = std::move(segment);
    return added;
}

/** Its slots are free, and each header knows its place. */
void Slots::lay_out(const Segment& segment, SizeClass& of) {
    for (uint32_t i = 0; i < segment.count; i++) {
        SlotHeader& header = headers_[segment.first + i];
        header.place.store_relaxed(uint64_t{segment.id} << 32 | i);
        // Odd, before anything names the slot. Release as each store of gen, though none relies on
        // this one: who finds a block here has loaded (acquire) a gen that publish or renew_gen
        // stored later, and so sees the place too.
        if (header.gen.load_relaxed() == 0) header.gen.store_release(incarnation_);
        infos_[segment.first + i] = SlotInfo();
    }
    for (uint32_t i = segment.count; i > 0; i--) of.free.push_back(segment.first + i - 1);
}

Segment* Slots::segment(uint32_t id) {
    auto found = segments_.find(id);
    return found == segments_.end() ? nullptr : found->second.get();
}

void Slots::drop_segment(uint32_t id) {
    Segment& segment = *segments_.at(id);
    uint64_t size = segment.file.mapping.size();
    SizeClass& of = classes_.at(segment.slot_bytes);
    of.segments--;
    of.next_bytes = std::max(kSmallestSegment, of.next_bytes / 2);
    memory_.punch(segment.file);
    give_range(segment.first, segment.count);
    data_bytes_ -= size;
    budget_.give(size);
    by_id_[id] = nullptr;
    segments_.erase(id);
}

std::optional<uint32_t> Slots::take(SizeClass& of) {
    if (of.free.empty()) return std::nullopt;
    uint32_t slot = of.free.back();
    of.free.pop_back();
    segment_of(slot).used++;
    return slot;
}

void Slots::give(uint32_t slot) {
    Segment& segment = segment_of(slot);
    segment.used--;
    infos_[slot] = SlotInfo();
    if (!segment.retiring) classes_.at(segment.slot_bytes).free.push_back(slot);
}

std::byte* Slots::address(uint32_t slot) {
    Segment& segment = segment_of(slot);
    return segment.file.mapping.address() + uint64_t{slot - segment.first} * segment.slot_bytes;
}

SharedWord& Slots::checksum(uint32_t slot, uint32_t part) {
    if (part == 0) return headers_[slot].checksum;
    return checksums_[uint64_t{slot} * config_.parts + part];
}

}  // namespace weft
