// Embedded use: the process is the node and its own first session.
#include "core/node/local_link.h"

#include <unistd.h>

#include <cstring>
#include <new>

#include "capi/weft.h"
#include "core/node/peer.h"

namespace weft {

LocalLink::LocalLink(Node& node) : node_(node) {}

void LocalLink::stop(uint64_t) {
    node_.with([&](Cache& cache, uint64_t now) {
        cache.end_session(session_, now);
        return 0;
    });
}

Status LocalLink::start() {
    Result<uint32_t> session = node_.with([&](Cache& cache, uint64_t) {
        return cache.begin_session(*this, Grants{{"*", kAllRights}}, getpid(),
                                   name_of_process(getpid()));
    });
    if (!session) return session.failure();
    session_ = *session;
    return Nothing{};
}

Result<std::shared_ptr<Mapped>> LocalLink::open(const std::string& name, const std::string& options,
                                                uint64_t floor_known, uint64_t) {
    // Zeroed, aligned, and alive as long as the Mapped is.
    auto page = std::shared_ptr<ReaderPage>(
        static_cast<ReaderPage*>(aligned_alloc(4096, (sizeof(ReaderPage) + 4095) & ~size_t{4095})),
        free);  // shared with the Mapped's keeper alone
    if (page == nullptr)
        return Failure{WEFT_ENOMEM,
                       "a reader's page of " + std::to_string(sizeof(ReaderPage)) + " bytes"};
    memset(static_cast<void*>(page.get()), 0, sizeof(ReaderPage));
    return node_.with([&](Cache& cache, uint64_t now) -> Result<std::shared_ptr<Mapped>> {
        Result<Opened> opened =
            cache.open_namespace(session_, name, options, page.get(), floor_known, now);
        if (!opened) return opened.failure();
        auto mapped =
            std::make_shared<Mapped>(opened->opening, opened->space->config(), opened->version,
                                     opened->space->slots().index().mapping.address(), page.get());
        mapped->keeper = page;
        mapped_[opened->opening] = mapped;
        for (auto& [id, segment] : opened->space->slots().segments()) {
            if (!segment->retiring) push_segment(opened->opening, *segment, true);
        }
        return mapped;
    });
}

Status LocalLink::close(const std::shared_ptr<Mapped>& mapped, uint64_t) {
    return node_.with([&](Cache& cache, uint64_t now) {
        Status closed = cache.close_opening(session_, mapped->opening(), now);
        mapped_.erase(mapped->opening());
        return closed;
    });
}

void LocalLink::run(const std::shared_ptr<Mapped>& mapped, Request& request, Done done) {
    node_.with([&](Cache& cache, uint64_t now) {
        cache.run(session_, mapped->opening(), std::move(request), std::move(done), now);
        return 0;
    });
}

Result<std::string> LocalLink::query(const std::shared_ptr<Mapped>& mapped,
                                     const std::string& words, uint64_t) {
    if (mapped == nullptr && words == "reload") {
        Status reloaded = node_.reload();
        if (!reloaded) return reloaded.failure();
        return std::string("{\"reloaded\":true}");
    }
    return node_.with([&](Cache& cache, uint64_t now) {
        return cache.query(session_, mapped == nullptr ? 0 : mapped->opening(), words, now);
    });
}

void LocalLink::release(uint64_t handle) {
    Request request;
    request.verb = Verb::release;
    RequestItem item;
    item.key.lo = handle;
    request.items.push_back(item);
    node_.with([&](Cache& cache, uint64_t now) {
        cache.run(session_, 0, std::move(request), [](Reply&&) {}, now);
        return 0;
    });
}

std::string LocalLink::about() const { return node_.options().listen.empty() ? "private" : "node"; }

bool LocalLink::push_segment(uint64_t opening, const Segment& segment, bool) {
    auto found = mapped_.find(opening);
    if (found == mapped_.end()) return true;
    // Bytes are read through a mapping that cannot write, also here.
    bool populate = node_.options().cache.prefault;
    Result<fabric::Mapping> read = node_.memory().map(
        segment.file.reader, segment.file.mapping.size(), fabric::Access::read, populate);
    if (!read) return true;  // its blocks are then FAR for this process
    found->second->add_segment(segment.id, segment.slot_bytes, std::move(*read), fabric::Mapping(),
                               segment.file.mapping.address());
    return true;
}

bool LocalLink::drop_segment(uint64_t opening, uint32_t segment) {
    auto found = mapped_.find(opening);
    if (found != mapped_.end()) found->second->drop_segment(segment);
    return true;
}

}  // namespace weft
