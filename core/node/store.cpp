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
    if (link_ != nullptr) link_->stop(deadline_from_now());
    link_.reset();
    node_.reset();
}

Status Store::check_close() {
    std::lock_guard<std::mutex> guard(lock_);
    size_t regions = 0;
    size_t spaces = 0;
    // Of id: under lock_, as all its stores are; that orders it.
    for (const Region& region : regions_)
        regions += region.id.load() != 0 || region.leaving != 0 ? 1 : 0;
    for (const std::shared_ptr<Space>& space : owned_spaces_) spaces += space != nullptr ? 1 : 0;
    if (spaces == 0 && queues_.empty() && regions == 0) return Nothing{};
    return Failure{WEFT_EBUSY, std::to_string(spaces) + " namespaces, " +
                                   std::to_string(queues_.size()) + " queues and " +
                                   std::to_string(regions) + " regions are open"};
}

uint64_t Store::deadline_from_now() const {
    return fabric::boot_time() + options_.timeout_ms * fabric::kMillisecond;
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
    uint64_t deadline = deadline_from_now();
    Result<std::shared_ptr<Mapped>> opened = link_->open(name, options, 0, deadline);
    if (!opened) return opened.failure();
    std::unique_lock<std::mutex> guard(lock_);
    uint32_t place = 0;
    while (place < kSpacesMax && owned_spaces_[place] != nullptr) place++;
    if (place == kSpacesMax) {
        guard.unlock();
        Status closed = link_->close(*opened, deadline);
        return Failure{WEFT_EQUOTA, std::to_string(kSpacesMax) + " open namespaces are the limit"};
    }
    uint32_t id = (++space_generations_[place]) * kSpacesMax + place;
    auto space = std::make_shared<Space>(id, name, options, *opened);
    owned_spaces_[place] = space;
    // Release: pairs with find_space.
    spaces_[place].store(space.get(), std::memory_order_release);
    // The node went and came back before this opening was entered.
    for (auto unclaimed = unclaimed_.begin(); unclaimed != unclaimed_.end(); ++unclaimed) {
        if (unclaimed->first != *opened) continue;
        space->adopt(unclaimed->second);
        unclaimed_.erase(unclaimed);
        tidy_later();
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

/** The load of users pairs with the release in finish. */
Status Store::check_unused(Space& space) {
    uint32_t ops = space.users.load();
    uint64_t views = space.views();
    uint64_t reservations = space.open_reservations();
    if (ops == 0 && views == 0 && reservations == 0) return Nothing{};
    return Failure{WEFT_EBUSY, "namespace " + space.name() + ": " + std::to_string(ops) + " ops, " +
                                   std::to_string(views) + " views and " +
                                   std::to_string(reservations) + " reservations are open"};
}

Status Store::close_namespace(uint32_t id) {
    uint64_t deadline = deadline_from_now();
    uint32_t place = id % kSpacesMax;
    std::shared_ptr<Space> closing;
    {
        std::lock_guard<std::mutex> guard(lock_);
        closing = owned_spaces_[place];
        if (closing == nullptr || closing->id() != id)
            return Failure{WEFT_ECLOSED, "namespace " + std::to_string(id) + " is not open"};
        if (find_space(id) == nullptr)
            return Failure{WEFT_EBUSY, "namespace " + closing->name() + " is being closed"};
        Status unused = check_unused(*closing);
        if (!unused) return unused;
        spaces_[place].store(nullptr, std::memory_order_release);
    }
    // Orders this before the looks at what is used: each call inside saw nullptr, or has counted
    // itself in by then.
    bool alone = read_side_.synchronize(deadline);
    {
        std::lock_guard<std::mutex> guard(lock_);
        Status unused = alone ? check_unused(*closing)
                              : Failure{WEFT_ETIMEOUT, "namespace " + closing->name() +
                                                           ": a call that looks into it goes on"};
        if (!unused) {
            spaces_[place].store(closing.get(), std::memory_order_release);
            return unused;
        }
        owned_spaces_[place] = nullptr;
    }
    // A node that is gone has closed it already.
    Status closed = link_->close(closing->mapped(), deadline);
    return Nothing{};
}

Result<uint32_t> Store::add_region(uint64_t base, uint64_t size, bool everything,
                                   fabric::Mapping mapping, std::unique_ptr<fabric::Pages> pages) {
    std::lock_guard<std::mutex> guard(lock_);
    for (uint32_t place = 0; place < kRegionsMax; place++) {
        Region& region = regions_[place];
        // Under lock_, as all stores of id are. That nobody inside uses the place any more is by
        // drop_region's wait, behind which alone `leaving` is 0 again.
        if (region.id.load() != 0 || region.leaving != 0) continue;
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
    uint64_t deadline = deadline_from_now();
    Region& region = regions_[id % kRegionsMax];
    {
        std::lock_guard<std::mutex> guard(lock_);
        if (id != 0 && region.leaving == id) return -WEFT_EBUSY;  // another call drops it
        if (find_region(id) == nullptr) return -WEFT_ECLOSED;
        if (region.users.load() > 0) return -WEFT_EBUSY;
        region.leaving = id;
        region.id.store(0, std::memory_order_release);
    }
    // As in close_namespace.
    bool alone = read_side_.synchronize(deadline);
    fabric::Mapping mapping;  // unmapped when the lock has been let go
    std::lock_guard<std::mutex> guard(lock_);
    region.leaving = 0;
    if (!alone || region.users.load() > 0) {
        region.id.store(id, std::memory_order_release);
        return alone ? -WEFT_EBUSY : -WEFT_ETIMEOUT;
    }
    mapping = std::move(region.mapping);
    region.pages = nullptr;
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
    return link_->query(mapped, words, deadline_from_now());
}

}  // namespace weft
