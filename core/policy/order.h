// Who goes first. An order owns the sequence in which blocks of one size class leave, and nothing
// else: neither bytes, nor pins, nor reasons. Callers touch a chain deepest block first and root
// last, so that leaves leave before their parents (leaf-first is the order of touches, protocols
// 8).
//
// Invariants: a slot is in an order at most once; insert, touch and remove are O(1); the caller
// holds the node's lock.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace weft {

/** What the node keeps of a slot in its own memory: 24 bytes. The links belong to the slot's order.
 */
struct SlotInfo {
    uint32_t prev = 0;
    uint32_t next = 0;
    uint32_t parent =
        0;  // slot + 1 of the block before it in the chain it was saved in; 0: not known
    uint32_t touched = 0;  // last use, tenths of a second since the node began
    uint8_t state = 0;     // SlotState
    uint8_t list = 0;      // which list of its order
    uint16_t pins = 0;
    uint32_t parent_life =
        0;  // of `parent` when it was saved: a slot that has another one now is not it
};
static_assert(sizeof(SlotInfo) == 24);

/** SlotInfo by slot, in chunks that never move. */
class SlotInfos {
  public:
    SlotInfo& operator[](uint32_t slot) { return chunks_[slot / kChunk][slot % kChunk]; }
    const SlotInfo& operator[](uint32_t slot) const {
        return chunks_[slot / kChunk][slot % kChunk];
    }
    void grow(uint32_t count) {
        while (chunks_.size() * kChunk < count)
            chunks_.push_back(std::make_unique<SlotInfo[]>(kChunk));
    }
    uint64_t bytes() const { return chunks_.size() * kChunk * sizeof(SlotInfo); }

  private:
    static constexpr uint32_t kChunk = 4096;
    std::vector<std::unique_ptr<SlotInfo[]>> chunks_;
};

class Order {
  public:
    virtual ~Order() = default;
    virtual void insert(uint32_t slot) = 0;
    /** Of a block that is said not to return: nothing leaves before it. */
    virtual void insert_first(uint32_t slot) = 0;
    virtual void touch(uint32_t slot) = 0;
    virtual void remove(uint32_t slot) = 0;
    /** The next to leave, and the one after it; UINT32_MAX: none. Nothing may change between the
     * two calls but `slot`'s removal after its successor was asked for. */
    virtual uint32_t first() const = 0;
    virtual uint32_t after(uint32_t slot) const = 0;
    virtual uint64_t size() const = 0;
};

/** A doubly linked list through SlotInfo, the part that orders share. */
class SlotList {
  public:
    SlotList(SlotInfos& infos, uint8_t number) : infos_(&infos), number_(number) {}
    void push_young(uint32_t slot);
    void push_old(uint32_t slot);
    void remove(uint32_t slot);
    uint32_t oldest() const { return old_ - 1; }  // wraps to UINT32_MAX when there is none
    uint32_t younger(uint32_t slot) const { return (*infos_)[slot].next - 1; }
    uint64_t size() const { return size_; }

  private:
    SlotInfos* infos_;
    uint8_t number_;
    uint32_t old_ = 0;  // slot + 1
    uint32_t young_ = 0;
    uint64_t size_ = 0;
};

/** policy= as said when the namespace was created: "lru", or "windowed" with the window's share
 * (window=, 0 to 1). */
struct PolicyChoice {
    std::string name = "lru";
    double window = 0.3;
};
Status check_policy(const PolicyChoice& choice);
std::unique_ptr<Order> make_order(const PolicyChoice& choice, SlotInfos& infos);

std::unique_ptr<Order> make_lru(SlotInfos& infos);
std::unique_ptr<Order> make_windowed(SlotInfos& infos, double window);

}  // namespace weft
