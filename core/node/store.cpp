// Opening and closing: stores, namespaces, regions, queues; and the questions in words that a store
// answers itself.
#include "core/node/store.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "capi/weft.h"
#include "core/node/local_link.h"
#include "core/node/threads.h"

namespace weft {

using nlohmann::json;

Store::Store(const StoreOptions& options, const fabric::Log& log) : options_(options), log_(log) {}

Result<std::unique_ptr<Store>> Store::open(const StoreOptions& options, const fabric::Log& log) {
    std::unique_ptr<Store> store(new Store(options, log));
    Status started = store->start();
    if (!started) return started.failure();
    return store;
}

Status Store::start() {
    if (options_.connect.empty()) {
        Result<std::unique_ptr<Node>> node = Node::open(options_.node, log_);
        if (!node) return node.failure();
        node_ = std::move(*node);
        auto link = std::make_unique<LocalLink>(*node_);
        Status linked = link->start();
        if (!linked) return linked;
        link_ = std::move(link);
    } else {
        Result<std::unique_ptr<Link>> link =
            connect_link(options_.connect, options_.token,
                         options_.timeout_ms * fabric::kMillisecond, *this, log_);
        if (!link) return link.failure();
        link_ = std::move(*link);
    }
    mover_ = start_thread("weft-move", [this] { move_blocks(); });
    keeper_ = start_thread("weft-deadline", [this] { keep_deadlines(); });
    return Nothing{};
}

Store::~Store() {
    {
        std::lock_guard<std::mutex> work(work_lock_);
        std::lock_guard<std::mutex> deadline(deadline_lock_);
        stopping_ = true;
    }
    work_ready_.notify_all();
    deadline_changed_.notify_all();
    if (mover_.joinable()) mover_.join();
    if (keeper_.joinable()) keeper_.join();
    // What the link still answers finds it here.
    if (link_ != nullptr)
        link_->stop(fabric::boot_time() + options_.timeout_ms * fabric::kMillisecond);
    link_.reset();
    node_.reset();
}

Status Store::check_close() {
    std::lock_guard<std::mutex> guard(lock_);
    size_t regions = 0;
    for (const Region& region : regions_) regions += region.id.load() != 0 ? 1 : 0;
    if (space_owner_.empty() && queues_.empty() && regions == 0) return Nothing{};
    return Failure{WEFT_EBUSY, std::to_string(space_owner_.size()) + " namespaces, " +
                                   std::to_string(queues_.size()) + " queues and " +
                                   std::to_string(regions) + " regions are open"};
}

/** Acquire: pairs with the release in open_namespace. That it stays is by the ReadSide: who closes
 * it stores nullptr, then synchronizes, then looks whether ops use it. */
Space* Store::find_space(uint32_t id) {
    Space* space = spaces_[id % kSpacesMax].load(std::memory_order_acquire);
    return space != nullptr && space->id() == id ? space : nullptr;
}

/** Acquire: pairs with the release in add_region; the rest as in find_space. */
Region* Store::find_region(uint32_t id) {
    Region& region = regions_[id % kRegionsMax];
    return id != 0 && region.id.load(std::memory_order_acquire) == id ? &region : nullptr;
}

Status Store::open_namespace(const std::string& name, const std::string& options,
                             weft_namespace& out) {
    uint64_t deadline = fabric::boot_time() + options_.timeout_ms * fabric::kMillisecond;
    Result<std::shared_ptr<Mapped>> opened = link_->open(name, options, 0, deadline);
    if (!opened) return opened.failure();
    std::unique_lock<std::mutex> guard(lock_);
    uint32_t place = 0;
    while (place < kSpacesMax && spaces_[place].load() != nullptr) place++;
    if (place == kSpacesMax) {
        guard.unlock();
        close_at_link(*opened, deadline);
        return Failure{WEFT_EQUOTA, std::to_string(kSpacesMax) + " open namespaces are the limit"};
    }
    uint32_t id = (++space_generations_[place]) * kSpacesMax + place;
    space_owner_.push_back(std::make_unique<Space>(id, name, options, *opened));
    // Release: pairs with find_space. The loads above are of words that only lock_'s holder stores.
    spaces_[place].store(space_owner_.back().get(), std::memory_order_release);
    // The node went and came back before this opening was entered.
    for (auto unclaimed = unclaimed_.begin(); unclaimed != unclaimed_.end(); ++unclaimed) {
        if (unclaimed->first != *opened) continue;
        space_owner_.back()->adopt(unclaimed->second);
        unclaimed_.erase(unclaimed);
        break;
    }
    const Mapped& mapped = **opened;
    const NamespaceConfig& config = mapped.config();
    out.space = id;
    out.parts = config.parts;
    out.block_tokens = config.block_tokens;
    out.layers = config.layers;
    out.alignment = kPartAlignment;
    out.part_bytes = *std::max_element(config.part_bytes.begin(), config.part_bytes.end());
    out.version = mapped.version();
    out.floor = mapped.reader().floor();
    return Nothing{};
}

Status Store::close_namespace(uint32_t id) {
    std::unique_ptr<Space> closing;
    {
        std::lock_guard<std::mutex> guard(lock_);
        Space* space = find_space(id);
        if (space == nullptr)
            return Failure{WEFT_ECLOSED, "namespace " + std::to_string(id) + " is not open"};
        // Synchronize orders this before the looks at what is used: each call inside saw nullptr,
        // or has counted itself in by now. The load of users pairs with the release in finish.
        spaces_[id % kSpacesMax].store(nullptr, std::memory_order_release);
        read_side_.synchronize();
        uint64_t views = space->views();
        uint64_t reservations = space->open_reservations();
        if (space->users.load() > 0 || views > 0 || reservations > 0) {
            spaces_[id % kSpacesMax].store(space, std::memory_order_release);
            return Failure{WEFT_EBUSY, "namespace " + space->name() + ": " +
                                           std::to_string(space->users.load()) + " ops, " +
                                           std::to_string(views) + " views and " +
                                           std::to_string(reservations) + " reservations are open"};
        }
        auto owner = std::find_if(space_owner_.begin(), space_owner_.end(),
                                  [&](const auto& one) { return one.get() == space; });
        closing = std::move(*owner);
        space_owner_.erase(owner);
    }
    close_at_link(closing->mapped(),
                  fabric::boot_time() + options_.timeout_ms * fabric::kMillisecond);
    return Nothing{};
}

/** A reconnect that found no space for it may have opened it anew before the link heard of the
 * close: that goes too, and what became of it. A node that is gone has closed it already. */
void Store::close_at_link(std::shared_ptr<Mapped> mapped, uint64_t deadline) {
    while (mapped != nullptr) {
        Status closed = link_->close(mapped, deadline);
        std::lock_guard<std::mutex> guard(lock_);
        auto found = std::find_if(unclaimed_.begin(), unclaimed_.end(),
                                  [&](const auto& one) { return one.first == mapped; });
        mapped = nullptr;
        if (found == unclaimed_.end()) break;
        mapped = std::move(found->second);
        unclaimed_.erase(found);
    }
}

Result<uint32_t> Store::add_region(uint64_t base, uint64_t size, bool everything,
                                   fabric::Mapping mapping, std::unique_ptr<fabric::Pages> pages) {
    std::lock_guard<std::mutex> guard(lock_);
    for (uint32_t place = 0; place < kRegionsMax; place++) {
        Region& region = regions_[place];
        if (region.id.load() != 0) continue;
        region.base = base;
        region.size = size;
        region.everything = everything;
        region.mapping = std::move(mapping);
        region.pages = std::move(pages);
        uint32_t id = (++region_generations_[place]) * kRegionsMax + place;
        // Release, behind the fields: pairs with find_region.
        region.id.store(id, std::memory_order_release);
        return id;
    }
    return Failure{WEFT_EQUOTA, std::to_string(kRegionsMax) + " regions are the limit"};
}

Result<uint32_t> Store::map_region(uint64_t size, uint64_t& address_out) {
    std::unique_ptr<fabric::Memory> memory = fabric::system_memory();
    Result<fabric::SharedFile> file = memory->create_data(size, false);
    if (!file) return file.failure();
    address_out = reinterpret_cast<uint64_t>(file->mapping.address());
    return add_region(address_out, size, false, std::move(file->mapping));
}

Result<uint32_t> Store::adopt_region(uint64_t address, uint64_t size) {
    return add_region(address, size, address == 0 && size == 0, fabric::Mapping());
}

Result<uint32_t> Store::open_pool(const char* layout, const uint64_t* bases, uint32_t count) {
    Result<std::unique_ptr<fabric::Pages>> pages = describe_pool(layout, bases, count);
    if (!pages) return pages.failure();
    return add_region(0, 0, false, fabric::Mapping(), std::move(*pages));
}

int32_t Store::drop_region(uint32_t id) {
    std::lock_guard<std::mutex> guard(lock_);
    Region* region = find_region(id);
    if (region == nullptr) return -WEFT_ECLOSED;
    // As in close_namespace.
    region->id.store(0, std::memory_order_release);
    read_side_.synchronize();
    if (region->users.load() > 0) {
        region->id.store(id, std::memory_order_release);
        return -WEFT_EBUSY;
    }
    region->mapping = fabric::Mapping();
    region->pages = nullptr;
    return 0;
}

Result<Queue*> Store::open_queue(uint32_t depth, uint64_t inline_bytes, uint32_t priority) {
    std::lock_guard<std::mutex> guard(lock_);
    if (queues_.size() >= kQueuesMax)
        return Failure{WEFT_EQUOTA, std::to_string(kQueuesMax) + " queues are the limit"};
    queues_.push_back(std::make_shared<Queue>(depth, inline_bytes, priority, link_->lane()));
    return queues_.back().get();
}

Result<std::string> Store::about() {
    json about = {{"version", weft_version()},
                  {"abi", WEFT_ABI},
                  {"opening", link_->about()},
                  {"options",
                   {{"timeout_ms", options_.timeout_ms},
                    {"memory", options_.node.cache.memory},
                    {"prefault", options_.node.cache.prefault},
                    {"pins", options_.node.cache.pins_max},
                    {"listen", options_.node.listen},
                    {"state", options_.node.state},
                    {"tokens", options_.node.tokens.empty() ? "" : "a file"},
                    {"metrics", node_ == nullptr ? "" : node_->metrics_address()},
                    {"connect", options_.connect}}},
                  {"ephemeral", options_.connect.empty() && options_.node.state.empty()},
                  {"kinds",
                   {"LOAD", "SAVE", "MATCH", "VIEW", "RESERVE", "COMMIT", "ABORT", "REMOVE", "WAIT",
                    "TOUCH", "ADVANCE", "CANCEL"}},
                  {"devices", {"host"}},
                  {"policies", {"lru", "windowed"}},
                  {"limits",
                   {{"namespaces", kSpacesMax},
                    {"regions", kRegionsMax},
                    {"queues", kQueuesMax},
                    {"list_items", 1048576},
                    {"views", kReaderCells - kReaderCellsLoad},
                    {"parts", kPartsMax},
                    {"largest_class", kLargestClass},
                    {"quarantined", Writing::kQuarantineMax},
                    {"stories", Stories::kKept}}}};
    return about.dump();
}

Result<std::string> Store::query(uint32_t id, const std::string& words) {
    if (words == "about" && id == 0) return about();
    if (words.starts_with("error") && id == 0) {
        Result<Options> options = Options::parse(words.size() > 6 ? words.c_str() + 6 : "");
        if (!options) return options.failure();
        Result<uint64_t> number = options->take_number("id", 0, 0, UINT64_MAX);
        if (!number) return number.failure();
        std::optional<Stories::Told> told = stories_.find(*number);
        if (!told)
            return Failure{WEFT_EMISS, "error id=" + std::to_string(*number) +
                                           ": not among the last " +
                                           std::to_string(Stories::kKept)};
        return json{{"id", *number},
                    {"code", told->code},
                    {"name", weft_code_name(told->code)},
                    {"message", told->words}}
            .dump();
    }
    std::shared_ptr<Mapped> mapped;
    if (id != 0) {
        ReadSide::Section section(read_side_);
        Space* space = find_space(id);
        if (space == nullptr)
            return Failure{WEFT_ECLOSED, "namespace " + std::to_string(id) + " is not open"};
        mapped = space->mapped();
    }
    return link_->query(mapped, words,
                        fabric::boot_time() + options_.timeout_ms * fabric::kMillisecond);
}

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
    for (const std::unique_ptr<Space>& space : space_owner_) all.push_back(space->mapped());
    return all;
}

bool Store::reopened(const std::shared_ptr<Mapped>& before, const std::shared_ptr<Mapped>& now) {
    std::lock_guard<std::mutex> guard(lock_);
    bool entered = false;
    for (const std::unique_ptr<Space>& space : space_owner_) {
        if (space->mapped() != before) continue;
        if (!space->adopt(now)) return false;
        entered = true;
        read_side_.synchronize();
        before->drop_unviewed();
        std::vector<std::shared_ptr<Mapped>> gone = space->prune();
        read_side_.synchronize();
    }
    if (entered) return true;
    for (auto& [opened, latest] : unclaimed_) {
        if (latest != before) continue;
        latest = now;
        return true;
    }
    unclaimed_.emplace_back(before, now);
    return true;
}

LinkEvents::Known Store::known(const std::shared_ptr<Mapped>& of) {
    std::lock_guard<std::mutex> guard(lock_);
    for (const std::unique_ptr<Space>& space : space_owner_) {
        if (space->mapped() == of) return {space->reservations(), space->slots()};
    }
    return {};
}

void Store::unanswered(const std::shared_ptr<Mapped>& of, const Request& request) {
    if (request.verb != Verb::publish) return;
    std::lock_guard<std::mutex> guard(lock_);
    for (const std::unique_ptr<Space>& space : space_owner_) {
        if (space->mapped() != of) continue;
        for (const RequestItem& item : request.items) space->forget_slot(of.get(), item.slot);
    }
}

}  // namespace weft
