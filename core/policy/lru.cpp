// Least recently used: one list, the used slot goes to its young end, the old end leaves. With
// chains touched deepest block first this is leaf-first LRU.
#include "core/policy/order.h"

namespace weft {
namespace {

class Lru : public Order {
  public:
    explicit Lru(SlotInfos& infos) : list_(infos, 0) {}
    void insert(uint32_t slot) override { list_.push_young(slot); }
    void insert_first(uint32_t slot) override { list_.push_old(slot); }
    void touch(uint32_t slot) override {
        list_.remove(slot);
        list_.push_young(slot);
    }
    void remove(uint32_t slot) override { list_.remove(slot); }
    uint32_t first() const override { return list_.oldest(); }
    uint32_t after(uint32_t slot) const override { return list_.younger(slot); }
    uint64_t size() const override { return list_.size(); }

  private:
    SlotList list_;
};

}  // namespace

std::unique_ptr<Order> make_lru(SlotInfos& infos) { return std::make_unique<Lru>(infos); }

}  // namespace weft
