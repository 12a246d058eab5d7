// What the link tells the store of its node, and what becomes of what was mapped of one that is
// gone: it goes as soon as no view, no copy and no reservation is left in it.
//
// Invariants: `gone` is stored before the wait for the calls inside, so whoever comes later puts
// no hazard there, and whoever came before has put it; memory goes behind that wait. Nobody waits
// under lock_. The link's thread calls what LinkEvents names, the keeper's tidy_up.
#include <algorithm>

#include "core/node/store.h"

namespace weft {
namespace {

constexpr uint64_t kTidyEvery = fabric::kSecond;

}  // namespace

/** The node is gone: nothing of it is served any more, and no call still looks at it when its
 * memory goes. */
void Store::lost() {
    {
        std::lock_guard<std::mutex> guard(handles_lock_);
        for (auto& [handle, alive] : handles_) alive = false;
    }
    // Release: pairs with `served` and the like; see Mapped::gone.
    for (const std::shared_ptr<Mapped>& mapped : all_mapped())
        mapped->gone.store(true, std::memory_order_release);
}

/** Told again and again while the node is away: what is in use now goes then. */
void Store::unreachable() {
    std::vector<std::shared_ptr<Mapped>> all = all_mapped();
    read_side_.synchronize();
    for (const std::shared_ptr<Mapped>& mapped : all) mapped->drop_unviewed();
}

void Store::resumed(const std::shared_ptr<Mapped>& mapped) {
    mapped->gone.store(false, std::memory_order_release);
}

std::vector<std::shared_ptr<Mapped>> Store::all_mapped() {
    std::lock_guard<std::mutex> guard(lock_);
    std::vector<std::shared_ptr<Mapped>> all;
    for (const std::shared_ptr<Space>& space : owned_spaces_) {
        if (space != nullptr) all.push_back(space->mapped());
    }
    return all;
}

/** The space that is mapped to this now, or nullptr. The caller holds lock_. */
std::shared_ptr<Space> Store::owner_of(const std::shared_ptr<Mapped>& mapped) const {
    for (const std::shared_ptr<Space>& space : owned_spaces_) {
        if (space != nullptr && space->mapped() == mapped) return space;
    }
    return nullptr;
}

bool Store::reopened(const std::shared_ptr<Mapped>& before, const std::shared_ptr<Mapped>& now) {
    std::unique_lock<std::mutex> guard(lock_);
    if (std::shared_ptr<Space> space = owner_of(before)) {
        if (!space->adopt(now)) return false;
        guard.unlock();
        if (!tidy(*space)) tidy_later();
        return true;
    }
    for (auto& [opened, latest] : unclaimed_) {
        if (latest != before) continue;
        latest = now;
        return true;
    }
    unclaimed_.emplace_back(before, now);
    return true;
}

std::shared_ptr<Mapped> Store::became(const std::shared_ptr<Mapped>& before) {
    std::lock_guard<std::mutex> guard(lock_);
    auto found = std::find_if(unclaimed_.begin(), unclaimed_.end(),
                              [&](const auto& one) { return one.first == before; });
    if (found == unclaimed_.end()) return nullptr;
    std::shared_ptr<Mapped> now = std::move(found->second);
    unclaimed_.erase(found);
    return now;
}

/** Lets go of what is mapped of earlier nodes and not in use. False: something is. */
bool Store::tidy(Space& space) {
    std::vector<std::shared_ptr<Mapped>> earlier = space.earlier();
    if (earlier.empty()) return true;
    read_side_.synchronize();
    for (const std::shared_ptr<Mapped>& mapped : earlier) mapped->drop_unviewed();
    std::vector<std::shared_ptr<Mapped>> gone = space.prune();
    read_side_.synchronize();
    return gone.size() == earlier.size();
}

void Store::tidy_up() {
    std::vector<std::shared_ptr<Space>> spaces;
    {
        std::lock_guard<std::mutex> guard(lock_);
        std::copy_if(owned_spaces_.begin(), owned_spaces_.end(), std::back_inserter(spaces),
                     [](const std::shared_ptr<Space>& space) { return space != nullptr; });
    }
    bool all = true;
    for (const std::shared_ptr<Space>& space : spaces) all = tidy(*space) && all;
    if (!all) tidy_later();
}

void Store::tidy_later() {
    uint64_t at = fabric::boot_time() + kTidyEvery;
    // Release and acquire are not needed: note_deadline's lock is behind it, and the keeper's.
    tidy_at_.store(at, std::memory_order_relaxed);
    note_deadline(at);
}

LinkEvents::Known Store::known(const std::shared_ptr<Mapped>& of) {
    std::lock_guard<std::mutex> guard(lock_);
    std::shared_ptr<Space> space = owner_of(of);
    return space == nullptr ? Known{} : Known{space->reservations(), space->slots()};
}

void Store::unanswered(const std::shared_ptr<Mapped>& of, const Request& request) {
    if (request.verb != Verb::publish) return;
    std::lock_guard<std::mutex> guard(lock_);
    std::shared_ptr<Space> space = owner_of(of);
    if (space == nullptr) return;
    for (const RequestItem& item : request.items) space->forget_slot(of.get(), item.slot);
}

}  // namespace weft
