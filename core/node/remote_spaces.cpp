// Openings of namespaces at a node: opened, their segments mapped, closed.
#include <nlohmann/json.hpp>

#include "core/node/remote.h"

namespace weft {

OpenSpace* RemoteLink::find(const std::shared_ptr<Mapped>& mapped) {
    auto found = spaces_.find(mapped->opening());
    return found == spaces_.end() || found->second->mapped != mapped ? nullptr
                                                                     : found->second.get();
}

kj::Promise<Result<std::shared_ptr<Mapped>>> RemoteLink::open_now(std::string name,
                                                                  std::string options,
                                                                  uint64_t floor_known) {
    rpc::Session::Client* session = nullptr;
    KJ_IF_MAYBE (live, session_) session = live;
    if (session == nullptr) co_return Failure{WEFT_EPEER, unreachable()};
    auto request = session->openRequest();
    request.setName(name);
    request.setOptions(options);
    request.setFloorKnown(floor_known);
    auto response = co_await request.send();
    if (response.hasFailure()) co_return failure_of(response.getFailure());
    auto opened = response.getOpened();
    // The node holds an opening that this process cannot use until it hears so.
    auto give_back = [&](const Failure& failure) {
        spawn(opened.getSpace().closeRequest().send().ignoreResult());
        return failure;
    };
    fabric::Descriptor index_fd = co_await descriptor_of(opened.getIndex());
    fabric::Descriptor page_fd = co_await descriptor_of(opened.getPage());
    if (!index_fd.valid() || !page_fd.valid())
        co_return give_back({WEFT_ENOMEM, "namespace " + name + ": no descriptor left"});
    Result<uint64_t> index_size = fabric::file_size(index_fd);
    if (!index_size) co_return give_back(index_size.failure());
    Result<fabric::Mapping> index =
        memory_->map(index_fd, *index_size, fabric::Access::read, false);
    if (!index) co_return give_back(index.failure());
    Result<fabric::Mapping> page =
        memory_->map(page_fd, sizeof(ReaderPage), fabric::Access::write, true);
    if (!page) co_return give_back(page.failure());
    Result<NamespaceConfig> config =
        config_from_json(nlohmann::json::parse(opened.getConfig().cStr()));
    if (!config) co_return give_back(config.failure());
    struct Kept {
        fabric::Mapping index;
        fabric::Mapping page;
    };
    auto kept = std::make_shared<Kept>(std::move(*index),
                                       std::move(*page));  // shared with the Mapped alone
    auto mapped = std::make_shared<Mapped>(opened.getOpening(), *config, opened.getVersion(),
                                           kept->index.address(),
                                           reinterpret_cast<ReaderPage*>(kept->page.address()));
    mapped->keeper = kept;
    auto space =
        std::make_shared<OpenSpace>(name, options, mapped, opened.getSpace(), opened.getPopulate());
    // Known before its segments are mapped: the node may push the next one at any time.
    spaces_[opened.getOpening()] = space;
    auto forget = kj::defer([&] {
        if (find(mapped) != nullptr) spaces_.erase(mapped->opening());
    });
    for (auto segment : opened.getSegments())
        co_await add_segment(mapped, segment, space->populate);
    forget.cancel();
    co_return mapped;
}

kj::Promise<bool> RemoteLink::add_segment(std::shared_ptr<Mapped> mapped,
                                          rpc::Segment::Reader segment, bool populate) {
    uint32_t id = segment.getId();
    uint64_t slot_bytes = segment.getSlotBytes();
    uint64_t size = segment.getSize();
    bool writes = segment.hasWrite();
    if (mapped->has_segment(id)) co_return true;
    fabric::Descriptor read_fd = co_await descriptor_of(segment.getRead());
    fabric::Descriptor write_fd;
    if (writes) write_fd = co_await descriptor_of(segment.getWrite());
    if (!read_fd.valid() || (writes && !write_fd.valid())) co_return false;
    Result<fabric::Mapping> read = memory_->map(read_fd, size, fabric::Access::read, populate);
    if (!read) co_return false;
    fabric::Mapping write;
    if (writes) {
        Result<fabric::Mapping> mapping =
            memory_->map(write_fd, size, fabric::Access::write, populate);
        if (!mapping) co_return false;
        write = std::move(*mapping);
    }
    mapped->add_segment(id, slot_bytes, std::move(*read), std::move(write), nullptr);
    co_return true;
}

/** Before an answer that names slots is given out, their segments are mapped; a late one is asked
 * for. */
kj::Promise<void> RemoteLink::need_segments(std::shared_ptr<Mapped> mapped, const Reply& reply) {
    auto found = spaces_.find(mapped->opening());
    if (found == spaces_.end() || found->second->mapped != mapped) co_return;
    std::shared_ptr<OpenSpace> space = found->second;
    for (uint32_t id : lacking(*mapped, reply)) {
        if (space->capability == nullptr) co_return;
        try {
            auto request = KJ_ASSERT_NONNULL(space->capability).segmentRequest();
            request.setId(id);
            auto response = co_await request.send();
            if (response.getFound())
                co_await add_segment(mapped, response.getSegment(), space->populate);
        } catch (...) {
            co_return;  // the connection has ended: whoever needs the segment finds it missing
        }
    }
}

Result<std::shared_ptr<Mapped>> RemoteLink::open(const std::string& name,
                                                 const std::string& options, uint64_t floor_known,
                                                 uint64_t deadline) {
    using Waiter = std::shared_ptr<Waiting<std::shared_ptr<Mapped>>>;
    return call<std::shared_ptr<Mapped>>(
        deadline, [this, name, options, floor_known](const Waiter& waiting) {
            return open_now(name, options, floor_known)
                .then([this, waiting](Result<std::shared_ptr<Mapped>>&& opened) {
                    std::shared_ptr<Mapped> mapped = opened ? *opened : nullptr;
                    if (!waiting->answer(std::move(opened)) && mapped != nullptr)
                        spawn(close_now(mapped).ignoreResult());
                });
        });
}

/** Also for an opening that came too late for who asked: the node would keep it as long as this
 * process lives. And for what it became meanwhile, whether or not who asked still waits. */
kj::Promise<Result<Nothing>> RemoteLink::close_now(std::shared_ptr<Mapped> mapped) {
    for (; mapped != nullptr; mapped = events_.became(mapped)) {
        OpenSpace* space = find(mapped);
        kj::Maybe<rpc::Space::Client> capability;
        if (space != nullptr) capability = kj::mv(space->capability);
        if (space != nullptr) spaces_.erase(mapped->opening());
        KJ_IF_MAYBE (live, capability) {
            auto response = co_await live->closeRequest().send();
            if (response.hasFailure()) co_return failure_of(response.getFailure());
        }
    }
    co_return Nothing{};
}

Status RemoteLink::close(const std::shared_ptr<Mapped>& mapped, uint64_t deadline) {
    using Waiter = std::shared_ptr<Waiting<Nothing>>;
    return call<Nothing>(deadline, [this, mapped](const Waiter& waiting) {
        return close_now(mapped).then(
            [waiting](Result<Nothing>&& closed) { waiting->answer(std::move(closed)); });
    });
}

}  // namespace weft
