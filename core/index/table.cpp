// Changes of the shared hash table. The order of stores is the left-to-right order of protocols 2's
// right column.
#include "core/index/table.h"

#include <algorithm>
#include <iterator>

namespace weft {
namespace {

constexpr uint32_t kBackBuckets = 64;  // backed at once: one page
constexpr uint64_t kLoadNumerator =
    9;  // grow above 4.5 entries a bucket: 9 % of buckets overflow (Poisson)
constexpr uint64_t kLoadDenominator = 2;

}  // namespace

/** Makes a bucket's sequence odd, and even again at its end. */
class Table::Change {
  public:
    explicit Change(Bucket& bucket) : link_(bucket.link) {
        link_.store_relaxed(link_.load_relaxed() + 1);
        // Pairs with the acquire fence before the reader's second look at link and table: who sees
        // an entry of this change sees the odd sequence, or a later one.
        fabric::fence_release();
    }
    ~Change() {
        uint64_t link = link_.load_relaxed();
        // The sequence is the low half and must not carry into the overflow index. Release: pairs
        // with the reader's acquire load of link, before it looks at the entries.
        link_.store_release((link & ~uint64_t{UINT32_MAX}) | static_cast<uint32_t>(link + 1));
    }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

  private:
    SharedWord& link_;
};

Table::Table(std::byte* base, Reserve reserve)
    : header_(reinterpret_cast<IndexHeader*>(base)),
      buckets_(reinterpret_cast<Bucket*>(base + header_->buckets.load_relaxed())),
      overflow_(reinterpret_cast<Bucket*>(base + header_->overflow.load_relaxed())),
      reserve_(std::move(reserve)),
      buckets_max_(header_->buckets_max.load_relaxed()) {}

bool Table::start() {
    if (!have_bucket(0)) return false;
    count_ = 1;
    header_->table.store_release(uint64_t{1} << 32);  // pairs as in split
    return true;
}

bool Table::have_bucket(uint32_t index) {
    if (index < buckets_backed_) return true;
    if (index >= buckets_max_) return false;
    if (!reserve_(header_->buckets.load_relaxed() + uint64_t{index} * sizeof(Bucket),
                  kBackBuckets * sizeof(Bucket))) {
        return false;
    }
    buckets_backed_ = index + kBackBuckets;
    return true;
}

uint32_t Table::take_overflow() {
    if (!overflow_free_.empty()) {
        uint32_t index = overflow_free_.back();
        overflow_free_.pop_back();
        return index;
    }
    if (overflow_used_ >= buckets_max_) return 0;
    if (overflow_used_ >= overflow_backed_) {
        if (!reserve_(
                header_->overflow.load_relaxed() + uint64_t{overflow_backed_} * sizeof(Bucket),
                kBackBuckets * sizeof(Bucket))) {
            return 0;
        }
        overflow_backed_ += kBackBuckets;
    }
    return overflow_used_++;
}

/** Stores an entry in the chain of `bucket`, whose sequence is odd. */
bool Table::place(Bucket* bucket, uint64_t entry) {
    Bucket* last = bucket;
    for (Bucket* part = bucket; part != nullptr; part = next(*part)) {
        last = part;
        for (uint32_t i = 0; i < kEntriesPerBucket; i++) {
            if (part->entries[i].load_relaxed() == 0) {
                put(*part, i, entry);
                return true;
            }
        }
    }
    uint32_t index = take_overflow();
    if (index == 0) return false;
    put(overflow_[index], 0, entry);
    uint64_t link = last->link.load_relaxed();
    // Relaxed: as in put.
    last->link.store_relaxed(uint64_t{index} << 32 | static_cast<uint32_t>(link));
    return true;
}

bool Table::insert(uint64_t hash, uint32_t slot) {
    if (entries_ * kLoadDenominator >= uint64_t{count_} * kLoadNumerator) split();
    Bucket* bucket = primary(hash);
    Change change(*bucket);
    if (!place(bucket, uint64_t{tag_of(hash)} << 32 | (slot + 1))) return false;
    entries_++;
    return true;
}

SharedWord* Table::locate(Bucket* bucket, uint32_t slot) const {
    for (Bucket* part = bucket; part != nullptr; part = next(*part)) {
        for (SharedWord& word : part->entries) {
            if (static_cast<uint32_t>(word.load_relaxed()) == slot + 1) return &word;
        }
    }
    return nullptr;
}

void Table::replace(uint64_t hash, uint32_t old, uint32_t slot) {
    Bucket* bucket = primary(hash);
    Change change(*bucket);
    // Relaxed: as in put. One store: a reader finds the old block or the new one.
    locate(bucket, old)->store_relaxed(uint64_t{tag_of(hash)} << 32 | (slot + 1));
}

void Table::remove(uint64_t hash, uint32_t slot) {
    Bucket* bucket = primary(hash);
    Change change(*bucket);
    SharedWord* word = locate(bucket, slot);
    if (word == nullptr) return;
    word->store_relaxed(0);  // as in put
    entries_--;
    close_up(*bucket, *word);
}

/** Fills the place that became free from the chain's last bucket, and lets that go when it is
 * empty: a chain has no more buckets than its entries need, or churn would use them all up. Within
 * remove's Change, so that its stores are relaxed as in put: whoever passes by an entry on its way
 * sees the sequence changed. */
void Table::close_up(Bucket& bucket, SharedWord& free) {
    Bucket* last = &bucket;
    Bucket* before = nullptr;
    for (Bucket* part = next(*last); part != nullptr; part = next(*part)) {
        before = last;
        last = part;
    }
    if (before == nullptr) return;
    auto used = [](const SharedWord& word) { return word.load_relaxed() != 0; };
    SharedWord* moved = std::find_if(std::begin(last->entries), std::end(last->entries), used);
    if (moved != std::end(last->entries)) {
        free.store_relaxed(moved->load_relaxed());
        moved->store_relaxed(0);
    }
    if (std::any_of(std::begin(last->entries), std::end(last->entries), used)) return;
    uint64_t link = before->link.load_relaxed();
    auto index = static_cast<uint32_t>(link >> 32);
    before->link.store_relaxed(static_cast<uint32_t>(link));
    last->link.store_relaxed(0);
    overflow_free_.push_back(index);
}

/** One bucket more: the entries of its other half are dealt out anew. */
bool Table::split() {
    uint32_t added = count_;
    if (!have_bucket(added)) return false;
    uint32_t half = std::bit_floor(added);
    Bucket* from = &buckets_[added - half];
    std::vector<uint64_t>& entries = split_entries_;
    std::vector<uint32_t>& chain = split_chain_;
    entries.clear();
    chain.clear();
    for (Bucket* part = from; part != nullptr; part = next(*part)) {
        for (SharedWord& word : part->entries) {
            if (word.load_relaxed() != 0) entries.push_back(word.load_relaxed());
        }
        auto index = static_cast<uint32_t>(part->link.load_relaxed() >> 32);
        if (index != 0) chain.push_back(index);
    }
    // Relaxed: the release fence of the first Change stands between this and what it changes.
    header_->table.store_relaxed(header_->table.load_relaxed() + 1);
    {
        Change change_from(*from);
        Change change_to(buckets_[added]);
        // Relaxed, all of these: as in put, between the two Changes' fences and their ends.
        for (Bucket* part = from; part != nullptr; part = next(*part)) {
            for (SharedWord& word : part->entries) word.store_relaxed(0);
        }
        from->link.store_relaxed(static_cast<uint32_t>(from->link.load_relaxed()));
        for (uint32_t index : chain) {
            overflow_[index].link.store_relaxed(0);
            overflow_free_.push_back(index);
        }
        for (uint64_t entry : entries) {
            uint64_t hash = hash_of(static_cast<uint32_t>(entry) - 1);
            // The freed overflow buckets suffice: the entries fitted before into one chain less a
            // bucket.
            place(&buckets_[bucket_of(hash, added + 1)], entry);
        }
    }
    count_ = added + 1;
    uint64_t sequence = static_cast<uint32_t>(header_->table.load_relaxed()) + uint64_t{1};
    // Release: pairs with the reader's acquire load of table; the new bucket is whole.
    header_->table.store_release(uint64_t{count_} << 32 | static_cast<uint32_t>(sequence));
    return true;
}

}  // namespace weft
