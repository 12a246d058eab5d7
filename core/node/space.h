// A namespace that this process has open: what it is mapped to now, what it was mapped to before
// the node went away, and the stock of free slots.
//
// Invariants: `current` changes only by a reconnect, and what it was before stays in `numbers`
// while views of it live; a stock slot is in the stock, or with one SAVE that fills it or waits for
// its answer. `slots` are all of these: what a lost answer named is none of them, and the node
// takes it back at the next attach. Short calls read `current` inside the store's ReadSide.
// Its three atomics are stored (release) under lock_ and loaded (acquire) without it: who loads a
// pointer sees what it points to; that this stays is by the ReadSide, or by a view.
#pragma once
#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/node/mapped.h"
#include "core/write/request.h"

namespace weft {

class Space {
  public:
    static constexpr uint32_t kNumbers = 256;

    Space(uint32_t id, std::string name, std::string options, std::shared_ptr<Mapped> mapped)
        : id_(id), name_(std::move(name)), options_(std::move(options)) {
        adopt(std::move(mapped));
    }
    uint32_t id() const { return id_; }
    const std::string& name() const { return name_; }
    Mapped* current() const { return current_.load(std::memory_order_acquire); }
    uint32_t number() const { return number_.load(std::memory_order_acquire); }
    Mapped* numbered(uint32_t number) const {
        return numbers_[number % kNumbers].load(std::memory_order_acquire);
    }

    std::shared_ptr<Mapped> mapped() {
        uint32_t number;
        return mapped(number);
    }
    std::shared_ptr<Mapped> mapped(uint32_t& number_out) {
        std::lock_guard<std::mutex> guard(lock_);
        number_out = number_;
        return owned_[number_];
    }
    /** Another incarnation of the node; earlier ones go when nothing of them is held. False: views
     * hold all the others that a handle can name, and this one is not taken. */
    bool adopt(std::shared_ptr<Mapped> mapped) {
        std::lock_guard<std::mutex> guard(lock_);
        if (owned_.size() == kNumbers) return false;
        uint32_t next = owned_.empty() ? 0 : (number_ + 1) % kNumbers;
        // What views still hold keeps its number.
        while (owned_.count(next) != 0) next = (next + 1) % kNumbers;
        // Under this lock, so that nobody takes a slot of one incarnation for another's.
        std::lock_guard<std::mutex> stock_guard(stock_lock_);
        for (const Reservation& one : reservations_) {
            if (one.written) {
                ended_[one.id] = owned_[number_];
            } else {
                owned_[number_]->reservations.fetch_sub(1);  // pairs with drop_unviewed's load
            }
        }
        numbers_[next].store(mapped.get(), std::memory_order_release);
        current_.store(mapped.get(), std::memory_order_release);
        owned_[next] = std::move(mapped);
        // Behind its place in numbers_: who sees the number finds the pointer.
        number_.store(next, std::memory_order_release);
        stock_.clear();
        taken_.clear();
        reservations_.clear();
        return true;
    }
    /** What it was mapped to before, and some of which is held. */
    std::vector<std::shared_ptr<Mapped>> earlier() {
        std::lock_guard<std::mutex> guard(lock_);
        std::vector<std::shared_ptr<Mapped>> all;
        for (const auto& [number, mapped] : owned_) {
            if (number != number_) all.push_back(mapped);
        }
        return all;
    }
    /** Lets go of incarnations without views; an op under way may hold blocks of one that are no
     * view yet. They may be destroyed after ReadSide::synchronize. */
    std::vector<std::shared_ptr<Mapped>> prune() {
        std::lock_guard<std::mutex> guard(lock_);
        std::vector<std::shared_ptr<Mapped>> gone;
        for (auto entry = owned_.begin(); entry != owned_.end();) {
            // The load of reservations (seq_cst, so acquire) pairs with who counts them down, as in
            // drop_unviewed: at 0 the writes of all who held one are over, before it is unmapped.
            if (entry->first == number_ || entry->second->cells().used() ||
                entry->second->reservations > 0) {
                ++entry;
                continue;
            }
            // Nobody has a view to look it up for; calls inside may, until synchronize.
            numbers_[entry->first].store(nullptr, std::memory_order_release);
            gone.push_back(std::move(entry->second));
            entry = owned_.erase(entry);
        }
        return gone;
    }
    uint64_t views() {
        std::lock_guard<std::mutex> guard(lock_);
        uint64_t views = 0;
        for (const auto& [number, mapped] : owned_) views += mapped->cells().views();
        return views;
    }

    /** A slot of the incarnation `of`; false: there is none. */
    bool take_stock(const Mapped* of, uint64_t slot_bytes, ReplyItem& out) {
        std::lock_guard<std::mutex> guard(stock_lock_);
        if (of != current()) return false;
        auto found = stock_.find(slot_bytes);
        if (found == stock_.end() || found->second.empty()) return false;
        out = found->second.back();
        found->second.pop_back();
        taken_.push_back(out.slot);
        return true;
    }
    /** Slots that the node gave, or gave back; dropped when they are of an earlier incarnation. */
    void give_stock(const Mapped* of, const ReplyItem& slot) {
        std::lock_guard<std::mutex> guard(stock_lock_);
        if (of != current()) return;
        stock_[of->slot_bytes(static_cast<uint32_t>(slot.place >> 32))].push_back(slot);
        put_away(slot.slot);
    }
    /** A slot taken from the stock that became a block, or was named in a request whose answer is
     * lost: it is the node's again. */
    void forget_slot(const Mapped* of, uint32_t slot) {
        std::lock_guard<std::mutex> guard(stock_lock_);
        if (of == current()) put_away(slot);
    }
    std::vector<uint32_t> slots() {
        std::lock_guard<std::mutex> guard(stock_lock_);
        std::vector<uint32_t> all = taken_;
        for (const auto& [slot_bytes, slots] : stock_) {
            for (const ReplyItem& slot : slots) all.push_back(slot.slot);
        }
        return all;
    }

    void know_reservation(uint64_t id) {
        std::lock_guard<std::mutex> guard(stock_lock_);
        reservations_.insert(place_of(id), {id, true});
    }
    enum class Word : uint8_t { heard, ended, unknown };
    /** A caller's word on a reservation. last: it writes there no more, though the node may not
     * have heard that yet. One look, for adopt may come between two; an ended one is told once. */
    Word hear(uint64_t id, bool last) {
        std::shared_ptr<Mapped> of;  // may be unmapped with it, behind the lock
        std::lock_guard<std::mutex> guard(stock_lock_);
        auto ended = ended_.find(id);
        if (ended != ended_.end()) {
            of = std::move(ended->second);
            of->reservations.fetch_sub(1);  // pairs with drop_unviewed's load
            ended_.erase(ended);
            return Word::ended;
        }
        auto found = place_of(id);
        if (found == reservations_.end() || found->id != id) return Word::unknown;
        if (last) found->written = false;
        return Word::heard;
    }
    /** True: it was known, and is not any more. */
    bool forget_reservation(uint64_t id) {
        std::lock_guard<std::mutex> guard(stock_lock_);
        auto found = place_of(id);
        if (found == reservations_.end() || found->id != id) return ended_.erase(id) != 0;
        reservations_.erase(found);
        return true;
    }
    /** A reservation that ended with its node: what it was of, once; else nullptr. */
    std::shared_ptr<Mapped> take_ended(uint64_t id) {
        std::lock_guard<std::mutex> guard(stock_lock_);
        auto found = ended_.find(id);
        if (found == ended_.end()) return nullptr;
        std::shared_ptr<Mapped> of = std::move(found->second);
        ended_.erase(found);
        return of;
    }
    /** How many somebody may still write to, those too that ended with their node. */
    uint64_t open_reservations() {
        std::lock_guard<std::mutex> guard(stock_lock_);
        auto open = std::count_if(reservations_.begin(), reservations_.end(),
                                  [](const Reservation& one) { return one.written; });
        return static_cast<uint64_t>(open) + ended_.size();
    }
    std::vector<uint64_t> reservations() {
        std::lock_guard<std::mutex> guard(stock_lock_);
        std::vector<uint64_t> ids;
        for (const Reservation& one : reservations_) ids.push_back(one.id);
        return ids;
    }
    std::atomic<uint32_t> users{0};  // ops in flight; orders in OpRunner::attach and finish

  private:
    struct Reservation {
        uint64_t id;
        bool written;  // its memory may be, by the caller
    };
    std::vector<Reservation>::iterator place_of(uint64_t id) {
        return std::lower_bound(reservations_.begin(), reservations_.end(), id,
                                [](const Reservation& one, uint64_t of) { return one.id < of; });
    }
    void put_away(uint32_t slot) {
        auto found = std::find(taken_.begin(), taken_.end(), slot);
        if (found == taken_.end()) return;
        *found = taken_.back();
        taken_.pop_back();
    }

    uint32_t id_;
    std::string name_;
    std::string options_;
    std::mutex lock_;                                    // guards owned_
    std::map<uint32_t, std::shared_ptr<Mapped>> owned_;  // shared with ops under way and the link
    std::atomic<uint32_t> number_{0};
    std::atomic<Mapped*> current_{nullptr};
    std::array<std::atomic<Mapped*>, kNumbers> numbers_{};
    std::mutex stock_lock_;                              // guards what follows
    std::map<uint64_t, std::vector<ReplyItem>> stock_;   // by slot size
    std::vector<uint32_t> taken_;                        // from the stock, by SAVEs under way
    std::vector<Reservation> reservations_;              // in the order of ids
    std::map<uint64_t, std::shared_ptr<Mapped>> ended_;  // reservations of earlier incarnations
};

}  // namespace weft
