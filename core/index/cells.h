// A process's hazard cells in one reader's page: which are free, and which belong to one view.
//
// Invariants: a cell is in one view at most; a view's handle names its first cell and that cell's
// generation, so a handle that was released, or never was, is told from a live one. No lock: any
// thread.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>

#include "core/index/layout.h"

namespace weft {

class Cells {
  public:
    /** `first`: where generations begin, so that a handle of another page of cells fits none here.
     */
    explicit Cells(ReaderPage* page, uint32_t first = 0) : page_(page) {
        // Relaxed: no other thread has this object yet.
        for (std::atomic<uint64_t>& word : free_) word.store(UINT64_MAX, std::memory_order_relaxed);
        for (std::atomic<uint32_t>& generation : generation_)
            generation.store(first & ~uint32_t{1}, std::memory_order_relaxed);
    }

    static constexpr uint32_t kNone = UINT32_MAX;
    static constexpr uint32_t kGenerationMask = 0x3fffffff;  // what a handle carries
    /** A cell for a view; kNone at the limit. `hint` spreads threads over the words. */
    uint32_t take(uint32_t hint) { return take_from(0, kWords - kLoadWords, hint); }
    /** A cell for a LOAD; kNone: all are in use. */
    uint32_t take_for_load(uint32_t hint) { return take_from(kWords - kLoadWords, kWords, hint); }
    SharedWord& word(uint32_t cell) { return page_->cells[cell]; }
    /** Gives back a cell that is in no view. */
    void give(uint32_t cell) {
        // Release: pairs with the acquire loads of cells by the node (settle_limbo) and by
        // drop_unviewed: what was read under the hazard was read before the slot may be freed.
        page_->cells[cell].store_release(0);
        // Release: pairs with the acquire in take_from, for whoever takes the cell next.
        free_[cell / 64].fetch_or(uint64_t{1} << cell % 64, std::memory_order_release);
    }

    /** Puts `cell` behind `last` in a view that is not bound yet; kNone begins one. */
    void chain(uint32_t last, uint32_t cell) {
        // Relaxed: until it is bound a view is one thread's.
        next_[cell].store(kNone, std::memory_order_relaxed);
        if (last != kNone) next_[last].store(cell, std::memory_order_relaxed);
    }
    /** Makes the cells from `first` on one view; returns its generation. */
    uint32_t bind(uint32_t first) {
        // Relaxed: who must not miss a view waits first for the calls that may make one
        // (ReadSide::synchronize).
        views_.fetch_add(1, std::memory_order_relaxed);
        // Odd: bound. Release: pairs with the exchange in `release`, which follows the chain.
        return (generation_[first].fetch_add(1, std::memory_order_release) + 1) & kGenerationMask;
    }
    /** Ends a view. False: it is not open. */
    bool release(uint32_t first, uint32_t generation) {
        if (first >= kReaderCells || (generation & 1) == 0) return false;
        // Relaxed: only a guess, which the exchange proves.
        uint32_t expected = generation_[first].load(std::memory_order_relaxed);
        if ((expected & kGenerationMask) != generation) return false;
        // Acquire: pairs with the release in `bind`. Of two that release one view, one wins.
        if (!generation_[first].compare_exchange_strong(expected, expected + 1,
                                                        std::memory_order_acquire))
            return false;
        for (uint32_t cell = first; cell != kNone;) {
            // Relaxed: behind the acquire above, and before the cell may be another view's.
            uint32_t next = next_[cell].load(std::memory_order_relaxed);
            give(cell);
            cell = next;
        }
        // Release: pairs with `views`: a view that is not counted any more has given its cells.
        views_.fetch_sub(1, std::memory_order_release);
        return true;
    }
    /** Is any cell in a view, or held for what may become one? Acquire: pairs with the release in
     * `give`. */
    bool used() const {
        return std::any_of(free_.begin(), free_.end(), [](const std::atomic<uint64_t>& word) {
            return word.load(std::memory_order_acquire) != UINT64_MAX;
        });
    }
    /** Acquire: pairs with the release in `release`. */
    uint64_t views() const { return views_.load(std::memory_order_acquire); }

  private:
    static constexpr uint32_t kWords = kReaderCells / 64;
    static constexpr uint32_t kLoadWords = kReaderCellsLoad / 64;

    uint32_t take_from(uint32_t begin, uint32_t end, uint32_t hint) {
        uint32_t count = end - begin;
        for (uint32_t i = 0; i < count; i++) {
            std::atomic<uint64_t>& word = free_[begin + (hint + i) % count];
            uint64_t bits = word.load(std::memory_order_relaxed);  // a guess for the exchange
            while (bits != 0) {
                int bit = std::countr_zero(bits);
                // Acquire: pairs with the release in `give`, so that the cell's last use is over.
                if (word.compare_exchange_weak(bits, bits & ~(uint64_t{1} << bit),
                                               std::memory_order_acquire)) {
                    return (begin + (hint + i) % count) * 64 + static_cast<uint32_t>(bit);
                }
            }
        }
        return kNone;
    }

    ReaderPage* page_;
    std::array<std::atomic<uint64_t>, kWords> free_;
    std::array<std::atomic<uint32_t>, kReaderCells> generation_{};
    std::array<std::atomic<uint32_t>, kReaderCells> next_{};
    std::atomic<uint64_t> views_{0};
};

}  // namespace weft
