// Windowed LRU: a new block enters a recency window; a use there moves it to the protected main
// list; a use in main moves it to main's young end. The next to leave is the window's oldest while
// the window holds more than its share of the blocks, else main's oldest (design 9). One pass of
// scans then only flushes the window.
#include "core/policy/order.h"

namespace weft {
namespace {

constexpr uint8_t kWindow = 0;
constexpr uint8_t kMain = 1;

class Windowed : public Order {
  public:
    Windowed(SlotInfos& infos, double share)
        : infos_(infos), window_(infos, kWindow), main_(infos, kMain), share_(share) {}

    void insert(uint32_t slot) override { window_.push_young(slot); }
    void insert_first(uint32_t slot) override {
        (window_leaves() ? window_ : main_).push_old(slot);
    }
    void touch(uint32_t slot) override {
        remove(slot);
        main_.push_young(slot);
    }
    void remove(uint32_t slot) override { list_of(slot).remove(slot); }

    uint32_t first() const override {
        const SlotList& list = window_leaves() ? window_ : main_;
        return list.oldest() != UINT32_MAX ? list.oldest() : other(list).oldest();
    }
    /** Down one list, then the other: blocks that cannot leave (pinned, viewed) are passed over. */
    uint32_t after(uint32_t slot) const override {
        const SlotList& list = infos_[slot].list == kWindow ? window_ : main_;
        uint32_t next = list.younger(slot);
        bool began_here = (&list == &window_) == window_leaves();
        return next != UINT32_MAX || !began_here ? next : other(list).oldest();
    }
    uint64_t size() const override { return window_.size() + main_.size(); }

  private:
    bool window_leaves() const {
        return static_cast<double>(window_.size()) > share_ * static_cast<double>(size());
    }
    const SlotList& other(const SlotList& list) const {
        return &list == &window_ ? main_ : window_;
    }
    SlotList& list_of(uint32_t slot) { return infos_[slot].list == kWindow ? window_ : main_; }

    SlotInfos& infos_;
    SlotList window_;
    SlotList main_;
    double share_;
};

}  // namespace

std::unique_ptr<Order> make_windowed(SlotInfos& infos, double window) {
    return std::make_unique<Windowed>(infos, window);
}

}  // namespace weft
