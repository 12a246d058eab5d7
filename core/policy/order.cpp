// The list that orders share and the one place that knows policies by name.
#include "core/policy/order.h"

#include "capi/weft.h"

namespace weft {

void SlotList::push_young(uint32_t slot) {
    SlotInfo& info = (*infos_)[slot];
    info.list = number_;
    info.prev = young_;
    info.next = 0;
    if (young_ != 0) {
        (*infos_)[young_ - 1].next = slot + 1;
    } else {
        old_ = slot + 1;
    }
    young_ = slot + 1;
    size_++;
}

void SlotList::push_old(uint32_t slot) {
    if (old_ == 0) return push_young(slot);
    SlotInfo& info = (*infos_)[slot];
    info.list = number_;
    info.prev = 0;
    info.next = old_;
    (*infos_)[old_ - 1].prev = slot + 1;
    old_ = slot + 1;
    size_++;
}

void SlotList::remove(uint32_t slot) {
    SlotInfo& info = (*infos_)[slot];
    (info.prev != 0 ? (*infos_)[info.prev - 1].next : old_) = info.next;
    (info.next != 0 ? (*infos_)[info.next - 1].prev : young_) = info.prev;
    info.prev = info.next = 0;
    size_--;
}

Status check_policy(const PolicyChoice& choice) {
    if (choice.name != "lru" && choice.name != "windowed") {
        return Failure{WEFT_EINVAL, "policy=" + choice.name + ": known are lru and windowed"};
    }
    if (!(choice.window > 0 && choice.window < 1)) {
        return Failure{WEFT_EINVAL,
                       "window=" + std::to_string(choice.window) + ": a share between 0 and 1"};
    }
    return Nothing{};
}

std::unique_ptr<Order> make_order(const PolicyChoice& choice, SlotInfos& infos) {
    return choice.name == "windowed" ? make_windowed(infos, choice.window) : make_lru(infos);
}

}  // namespace weft
