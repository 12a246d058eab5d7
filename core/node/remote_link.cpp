// The asking side of core/node/rpc.capnp: all but the calls of ops, which take the lane.
#include "core/node/remote_link.h"

#include <capnp/rpc-twoparty.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <future>
#include <nlohmann/json.hpp>

#include "capi/weft.h"
#include "core/node/convert.h"
#include "core/node/lane.h"
#include "core/node/loop.h"
#include "core/node/space.h"
#include "fabric/clock/clock.h"

namespace weft {
namespace {

constexpr auto kReconnectFirst = 20 * kj::MILLISECONDS;
constexpr auto kReconnectMost = 500 * kj::MILLISECONDS;
constexpr uint64_t kCloseMost = fabric::kSecond;  // that a node which is stopped holds up a close

class FileServer final : public rpc::File::Server {
  public:
    explicit FileServer(int fd) : fd_(fd) {}
    kj::Maybe<int> getFd() override { return fd_; }

  private:
    int fd_;
};

Failure failure_of(rpc::Failure::Reader in) { return {in.getCode(), in.getMessage().cStr()}; }

/** A failure as an exception, for `live` to take apart again. */
void throw_failure(const Failure& failure) {
    std::string text = failure.message + '\x1f' + std::to_string(failure.code);
    kj::throwFatalException(
        kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::str(text.c_str())));
}

kj::Promise<fabric::Descriptor> descriptor_of(rpc::File::Client file) {
    kj::Maybe<int> fd = co_await file.getFd();
    KJ_IF_MAYBE (number, fd) co_return fabric::Descriptor(fcntl(*number, F_DUPFD_CLOEXEC, 0));
    co_return fabric::Descriptor();
}

/** One namespace opening as the loop's thread knows it. */
struct OpenSpace {
    std::string name;
    std::string options;
    std::shared_ptr<Mapped> mapped;  // shared with the store's space
    kj::Maybe<rpc::Space::Client> capability;
    bool populate = false;
};

/** Hands a result of the loop's thread to the one caller who waits for it, if it still does. */
template <typename T>
struct Waiting {
    std::promise<Result<T>> promise;
    std::atomic<bool> settled{false};  // by the answer, or by the caller who waits no more
    /** False: nobody gets it. */
    bool answer(Result<T> result) {
        if (settled.exchange(true)) return false;
        promise.set_value(std::move(result));
        return true;
    }
    /** False: the answer is there. */
    bool give_up() { return !settled.exchange(true); }
};

class RemoteLink final : public Link {
  public:
    RemoteLink(std::string path, TokenSource token, LinkEvents& events, const fabric::Log& log)
        : path_(std::move(path)),
          token_(std::move(token)),
          events_(events),
          log_(log),
          memory_(fabric::system_memory()) {
        if (getrandom(&instance_, sizeof instance_, 0) != sizeof instance_)
            instance_ = fabric::boot_time();
    }
    ~RemoteLink() noexcept override { loop_.stop(); }
    void stop(uint64_t deadline) override;
    Status start(uint64_t timeout_ns);

    Result<std::shared_ptr<Mapped>> open(const std::string& name, const std::string& options,
                                         uint64_t floor_known, uint64_t deadline) override;
    Status close(const std::shared_ptr<Mapped>& mapped, uint64_t deadline) override;
    void run(const std::shared_ptr<Mapped>& mapped, Request& request, Done done) override;
    Result<std::string> query(const std::shared_ptr<Mapped>& mapped, const std::string& words,
                              uint64_t deadline) override;
    void release(uint64_t handle) override;
    Lane* lane() override { return lane_.get(); }
    std::string about() const override { return "client of unix:" + path_; }

  private:
    class Callbacks;
    struct Connection {
        kj::Own<kj::AsyncIoStream> stream;
        kj::Own<capnp::TwoPartyClient> client;
    };

    kj::Promise<void> live(kj::AsyncIoContext& io);
    kj::Promise<void> connect_once(kj::AsyncIoContext& io, Connection& connection);
    kj::Promise<void> reopen_all();
    kj::Promise<bool> try_resume(OpenSpace& space);
    kj::Promise<Result<std::shared_ptr<Mapped>>> open_now(std::string name, std::string options,
                                                          uint64_t floor_known);
    kj::Promise<Result<Nothing>> close_now(std::shared_ptr<Mapped> mapped);
    kj::Promise<bool> add_segment(std::shared_ptr<Mapped> mapped, rpc::Segment::Reader segment,
                                  bool populate);
    kj::Promise<void> open_lane();
    kj::Promise<void> need_segments(std::shared_ptr<Mapped> mapped, const Reply& reply);
    void answered(Lane::Call&& call, Reply&& reply);
    void refuse(Lane::Call& call);
    OpenSpace* find(const std::shared_ptr<Mapped>& mapped);
    void lose();
    void note_why(const std::string& words);
    std::string unreachable();
    void spawn(kj::Promise<void> promise);

    template <typename T, typename F>
    Result<T> call(uint64_t deadline, const F& start);

    std::string path_;
    const TokenSource token_;
    LinkEvents& events_;
    fabric::Log log_;
    std::unique_ptr<fabric::Memory> memory_;
    uint64_t instance_ = 0;
    fabric::Descriptor pidfd_;
    // The rest belongs to the loop's thread.
    std::map<uint64_t, std::shared_ptr<OpenSpace>>
        spaces_;  // by opening; shared with calls under way
    kj::Maybe<rpc::Session::Client> session_;
    kj::Maybe<kj::Own<kj::TaskSet>> tasks_;
    std::shared_ptr<Waiting<Nothing>> first_login_;  // shared with the opener
    kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> lane_ended_;
    Loop loop_;
    std::mutex why_lock_;       // guards why_
    std::string why_;           // the last connection failed; empty: it stands
    std::mutex releases_lock_;  // guards releases_
    std::vector<std::unique_ptr<Request>> releases_;  // memory of those that were answered
    std::unique_ptr<Lane> lane_;                      // ends before the loop, which it posts to
};

class RemoteLink::Callbacks final : public rpc::Process::Server {
  public:
    explicit Callbacks(RemoteLink& link) : link_(link) {}

    kj::Promise<void> addSegment(AddSegmentContext context) override {
        auto params = context.getParams();
        auto found = link_.spaces_.find(params.getOpening());
        if (found == link_.spaces_.end()) co_return;
        std::shared_ptr<OpenSpace> space = found->second;
        co_await link_.add_segment(space->mapped, params.getSegment(), space->populate);
    }
    kj::Promise<void> dropSegment(DropSegmentContext context) override {
        auto found = link_.spaces_.find(context.getParams().getOpening());
        if (found != link_.spaces_.end())
            found->second->mapped->drop_segment(context.getParams().getId());
        return kj::READY_NOW;
    }
    kj::Promise<void> token(TokenContext context) override {
        Result<std::string> token = link_.token_.read();
        if (token) context.getResults().setToken(*token);
        return kj::READY_NOW;
    }

  private:
    RemoteLink& link_;
};

class DropErrors final : public kj::TaskSet::ErrorHandler {
  public:
    void taskFailed(kj::Exception&&) override {}  // each task answers its caller itself
};

void RemoteLink::spawn(kj::Promise<void> promise) {
    KJ_IF_MAYBE (tasks, tasks_) (*tasks)->add(kj::mv(promise));
}

OpenSpace* RemoteLink::find(const std::shared_ptr<Mapped>& mapped) {
    auto found = spaces_.find(mapped->opening());
    return found == spaces_.end() || found->second->mapped != mapped ? nullptr
                                                                     : found->second.get();
}

Status RemoteLink::start(uint64_t timeout_ns) {
    pidfd_ = fabric::Descriptor(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    if (!pidfd_.valid())
        return Failure{errno == ENOSYS ? WEFT_ENOTSUP : WEFT_ENOMEM,
                       std::string("pidfd_open: ") + strerror(errno)};
    first_login_ = std::make_shared<Waiting<Nothing>>();
    std::future<Result<Nothing>> result = first_login_->promise.get_future();
    lane_ = std::make_unique<Lane>(
        [this](Lane::Call&& call, Reply&& reply) { answered(std::move(call), std::move(reply)); },
        [this] {
            loop_.post([this] {
                KJ_IF_MAYBE (ended, lane_ended_) (*ended)->fulfill();
            });
        });
    if (!lane_->good()) return Failure{WEFT_ENOMEM, "no descriptor left for the lane to the node"};
    bool started = loop_.start("weft-link", [this](kj::AsyncIoContext& io) { return live(io); });
    if (!started) return Failure{WEFT_ENOMEM, "no descriptor left for the loop of the link"};
    if (result.wait_for(std::chrono::nanoseconds(timeout_ns)) != std::future_status::ready) {
        return Failure{WEFT_ETIMEOUT, "connect=unix:" + path_ + ": no answer"};
    }
    return result.get();
}

/** Connects, serves the connection until it ends, and again. */
kj::Promise<void> RemoteLink::live(kj::AsyncIoContext& io) {
    DropErrors errors;
    tasks_ = kj::heap<kj::TaskSet>(errors);
    KJ_DEFER({
        lose();
        tasks_ = nullptr;
        spaces_.clear();
    });
    auto wait = kReconnectFirst;
    for (;;) {
        Connection connection;
        kj::Maybe<kj::Exception> failed;
        try {
            co_await connect_once(io, connection);
            co_await reopen_all();
            auto ended = kj::newPromiseAndFulfiller<void>();
            lane_ended_ = kj::mv(ended.fulfiller);
            co_await open_lane();
            wait = kReconnectFirst;
            note_why("");
            first_login_->answer(Nothing{});
            co_await connection.client->onDisconnect().exclusiveJoin(kj::mv(ended.promise));
        } catch (...) {
            failed = kj::getCaughtExceptionAsKj();
        }
        KJ_IF_MAYBE (exception, failed) {
            bool denied = exception->getType() == kj::Exception::Type::UNIMPLEMENTED;
            Failure failure{denied ? WEFT_EDENIED : WEFT_EPEER, exception->getDescription().cStr()};
            size_t code_at = failure.message.find('\x1f');
            if (code_at != std::string::npos) {
                failure.code = atoi(failure.message.c_str() + code_at + 1);
                failure.message.resize(code_at);
            }
            if (!first_login_->answer(failure)) note_why(failure.message);
        }
        lose();
        if (failed != nullptr) events_.unreachable();
        co_await io.provider->getTimer().afterDelay(wait);
        wait = kj::min(wait * 2, kReconnectMost);
    }
}

kj::Promise<void> RemoteLink::connect_once(kj::AsyncIoContext& io, Connection& connection) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    KJ_REQUIRE(path_.size() < sizeof address.sun_path, "connect=: the path is too long",
               path_.c_str());
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        std::string why = "connect=unix:" + path_ + ": " + strerror(errno);
        if (fd >= 0) ::close(fd);
        kj::throwFatalException(kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
                                              kj::str(why.c_str())));
    }
    connection.stream = io.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(fd));
    connection.client = kj::heap<capnp::TwoPartyClient>(
        kj::downcast<kj::AsyncCapabilityStream>(*connection.stream), kDescriptorsPerMessage);
    auto request = connection.client->bootstrap().castAs<rpc::Node>().loginRequest();
    auto hello = request.initHello();
    hello.setProtocol(rpc::PROTOCOL_VERSION);
    hello.setLayout(kLayoutVersion);
    hello.setVersion(weft_version());
    hello.setBootTime(fabric::boot_time());
    Result<std::string> token = token_.read();
    if (!token) throw_failure(token.failure());
    hello.setToken(*token);
    hello.setPidfd(kj::heap<FileServer>(pidfd_.get()));
    hello.setProcess(kj::heap<Callbacks>(*this));
    hello.setInstance(instance_);
    auto response = co_await request.send();
    if (response.hasFailure()) {
        throw_failure(failure_of(response.getFailure()));
    }
    if (response.getWarning().size() > 0)
        log_.write(fabric::LogLevel::info, response.getWarning().cStr());
    session_ = response.getSession();
}

/** How a namespace is opened again: exactly what it was, whatever has become of it meanwhile. The
 * floor of today, or a layout of today, would be another one's blocks. */
std::string reopen_options(const OpenSpace& space) {
    std::string text = to_options(space.mapped->config()) +
                       "version=" + std::to_string(space.mapped->version()) + "\n";
    Result<Options> said = Options::parse(space.options.c_str());
    std::optional<std::string> writer = said ? said->take("writer") : std::nullopt;
    return writer ? text + "writer=" + quote_option(*writer) + "\n" : text;
}

kj::Promise<void> RemoteLink::reopen_all() {
    std::vector<std::shared_ptr<OpenSpace>> before;
    for (auto& [opening, space] : spaces_) before.push_back(space);
    for (std::shared_ptr<OpenSpace>& space : before) {
        if (co_await try_resume(*space)) continue;
        std::shared_ptr<Mapped> old = space->mapped;
        spaces_.erase(old->opening());
        Result<std::shared_ptr<Mapped>> opened =
            co_await open_now(space->name, reopen_options(*space), old->reader().floor());
        if (opened) spaces_.at((*opened)->opening())->options = space->options;
        if (opened && !events_.reopened(old, *opened)) {
            spawn(close_now(*opened).ignoreResult());
            opened =
                Failure{WEFT_EQUOTA, "views of " + std::to_string(Space::kNumbers) +
                                         " nodes before this one are held, which is the limit"};
        }
        if (!opened) {
            // It stays lost until the next connection; whoever uses it is told.
            log_.write(fabric::LogLevel::warning,
                       "namespace " + space->name + ": " + opened.failure().message);
            space->capability = nullptr;
            if (opened.failure().code == WEFT_EFENCED)
                old->fenced_away.store(true, std::memory_order_release);  // see Mapped
            spaces_[old->opening()] = space;
        }
    }
}

kj::Promise<bool> RemoteLink::try_resume(OpenSpace& space) {
    auto request = KJ_ASSERT_NONNULL(session_).resumeRequest();
    request.setOpening(space.mapped->opening());
    LinkEvents::Known known = events_.known(space.mapped);
    auto reservations = request.initReservations(static_cast<uint32_t>(known.reservations.size()));
    for (uint32_t i = 0; i < reservations.size(); i++) reservations.set(i, known.reservations[i]);
    auto stock = request.initStock(static_cast<uint32_t>(known.slots.size()));
    for (uint32_t i = 0; i < stock.size(); i++) stock.set(i, known.slots[i]);
    auto response = co_await request.send();
    if (response.hasFailure()) co_return false;
    space.capability = response.getSpace();
    events_.resumed(space.mapped);
    co_return true;
}

kj::Promise<void> RemoteLink::open_lane() {
    auto response = co_await KJ_ASSERT_NONNULL(session_).laneRequest().send();
    fabric::Descriptor socket = co_await descriptor_of(response.getSocket());
    if (!socket.valid())
        throw_failure({WEFT_ENOMEM, "connect=unix:" + path_ + ": no descriptor left"});
    lane_->attach(std::move(socket));
}

/** Why the node cannot be reached is told with every op that it ends, and logged where it changes:
 * an upgrade to a node that speaks another protocol is no mere silence. */
void RemoteLink::note_why(const std::string& words) {
    {
        std::lock_guard<std::mutex> guard(why_lock_);
        if (words == why_) return;
        why_ = words;
    }
    if (!words.empty()) log_.write(fabric::LogLevel::warning, "no connection: " + words);
}

std::string RemoteLink::unreachable() {
    std::lock_guard<std::mutex> guard(why_lock_);
    std::string words = "the node at unix:" + path_ + " cannot be reached";
    return why_.empty() ? words : words + " (" + why_ + ")";
}

void RemoteLink::lose() {
    if (session_ == nullptr) return;
    lane_ended_ = nullptr;
    lane_->detach();
    session_ = nullptr;
    for (auto& [opening, space] : spaces_) space->capability = nullptr;
    events_.lost();
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
    for (auto segment : opened.getSegments())
        co_await add_segment(mapped, segment, space->populate);
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

/** The segments that an answer names and that are not mapped. */
std::set<uint32_t> lacking(const Mapped& mapped, const Reply& reply) {
    std::set<uint32_t> ids;
    for (const std::vector<ReplyItem>* items : {&reply.items, &reply.stock}) {
        for (const ReplyItem& item : *items) {
            auto id = static_cast<uint32_t>(item.place >> 32);
            if (item.slot != kNoSlot && item.status >= 0 && item.gen != 0 &&
                !mapped.has_segment(id))
                ids.insert(id);
        }
    }
    return ids;
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

/** The node lets go of what the session held when it hears so, and else when the process ends. */
void RemoteLink::stop(uint64_t deadline) {
    deadline = std::min(deadline, fabric::boot_time() + kCloseMost);
    Result<Nothing> closed = call<Nothing>(
        deadline, [this](const std::shared_ptr<Waiting<Nothing>>& waiting) -> kj::Promise<void> {
            KJ_IF_MAYBE (live, session_) {
                return live->closeRequest().send().then(
                    [waiting](auto&&) { waiting->answer(Nothing{}); });
            }
            waiting->answer(Nothing{});
            return kj::READY_NOW;
        });
    if (!closed) log_.write(fabric::LogLevel::info, "closing: " + closed.failure().message);
    loop_.stop();
    lane_->stop();
}

/** The lane gave a call back, on whatever thread. */
void RemoteLink::answered(Lane::Call&& call, Reply&& reply) {
    if (call.mapped == nullptr) return call.done(std::move(reply));
    // A call that was written while another node came went to that one, which knows no such
    // opening. Acquire: pairs with Store::lost, which was before that node's lane.
    bool astray =
        reply.status == -WEFT_ECLOSED && call.mapped->gone.load(std::memory_order_acquire);
    if (reply.status == -WEFT_EPEER || astray) {
        events_.unanswered(call.mapped, *call.request);
        return refuse(call);
    }
    if (lacking(*call.mapped, reply).empty()) return call.done(std::move(reply));
    struct Kept {
        Lane::Call call;
        Reply reply;
    };
    // std::function wants copies; shared with the post alone.
    auto kept = std::make_shared<Kept>(std::move(call), std::move(reply));
    bool posted = loop_.post([this, kept] {
        spawn(need_segments(kept->call.mapped, kept->reply).then([kept] {
            kept->call.done(std::move(kept->reply));
        }));
    });
    if (!posted) kept->call.done(std::move(kept->reply));
}

/** Answers a call that reaches nobody. */
void RemoteLink::refuse(Lane::Call& call) {
    Reply reply;
    reply.status = call.mapped->fenced() ? -WEFT_EFENCED : -WEFT_EPEER;
    reply.message = unreachable();
    call.done(std::move(reply));
}

void RemoteLink::run(const std::shared_ptr<Mapped>& mapped, Request& request, Done done) {
    Lane::Call call{mapped, &request, std::move(done)};
    Lane::Sent sent = Lane::Sent::no_socket;
    // Acquire: pairs with Store::lost. Only a short cut: a lane without a socket says so too.
    if (!mapped->gone.load(std::memory_order_acquire)) sent = lane_->call(call);
    if (sent == Lane::Sent::yes) return;
    if (sent == Lane::Sent::too_many) {
        Reply reply;
        reply.status = -WEFT_EQUOTA;
        reply.message = "the node does not answer: as many calls wait for it as may";
        return call.done(std::move(reply));
    }
    // On the loop's thread, since this may run inside a short call.
    auto kept = std::make_shared<Lane::Call>(std::move(call));  // shared with the refusal below
    bool posted = loop_.post([this, kept] {
        events_.unanswered(kept->mapped, *kept->request);
        refuse(*kept);
    });
    if (posted) return;
    Reply reply;
    reply.status = -WEFT_ECLOSED;
    kept->done(std::move(reply));
}

template <typename T, typename F>
Result<T> RemoteLink::call(uint64_t deadline, const F& start) {
    auto waiting =
        std::make_shared<Waiting<T>>();  // shared with the work, which may outlive this wait
    std::future<Result<T>> result = waiting->promise.get_future();
    bool posted = loop_.post([this, waiting, start] {
        spawn(start(waiting).catch_([waiting](kj::Exception&& exception) {
            kj::Exception::Type type = exception.getType();
            int32_t code = type == kj::Exception::Type::DISCONNECTED ? WEFT_EPEER
                           : type == kj::Exception::Type::OVERLOADED ? WEFT_ENOMEM
                                                                     : WEFT_EINTERNAL;
            waiting->answer(Failure{code, exception.getDescription().cStr()});
        }));
    });
    if (!posted) return Failure{WEFT_ECLOSED, "the store is closed"};
    uint64_t now = fabric::boot_time();
    auto left = std::chrono::nanoseconds(deadline > now ? deadline - now : 0);
    if (result.wait_for(left) != std::future_status::ready && waiting->give_up()) {
        return Failure{WEFT_ETIMEOUT, "the node at unix:" + path_ + " did not answer in time"};
    }
    return result.get();
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
 * process lives. */
kj::Promise<Result<Nothing>> RemoteLink::close_now(std::shared_ptr<Mapped> mapped) {
    OpenSpace* space = find(mapped);
    kj::Maybe<rpc::Space::Client> capability;
    if (space != nullptr) capability = kj::mv(space->capability);
    if (space != nullptr) spaces_.erase(mapped->opening());
    KJ_IF_MAYBE (live, capability) {
        auto response = co_await live->closeRequest().send();
        if (response.hasFailure()) co_return failure_of(response.getFailure());
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

Result<std::string> RemoteLink::query(const std::shared_ptr<Mapped>& mapped,
                                      const std::string& words, uint64_t deadline) {
    return call<std::string>(
        deadline,
        [this, mapped,
         words](const std::shared_ptr<Waiting<std::string>>& waiting) -> kj::Promise<void> {
            auto answer = [waiting](auto&& response) {
                if (response.hasFailure()) {
                    waiting->answer(failure_of(response.getFailure()));
                } else {
                    waiting->answer(std::string(response.getJson().cStr()));
                }
            };
            if (mapped != nullptr) {
                OpenSpace* space = find(mapped);
                if (space != nullptr) {
                    KJ_IF_MAYBE (live, space->capability) {
                        auto request = live->queryRequest();
                        request.setWords(words);
                        return request.send().then(kj::mv(answer));
                    }
                }
            } else {
                KJ_IF_MAYBE (live, session_) {
                    auto request = live->queryRequest();
                    request.setWords(words);
                    return request.send().then(kj::mv(answer));
                }
            }
            waiting->answer(Failure{WEFT_EPEER, unreachable()});
            return kj::READY_NOW;
        });
}

/** By the lane too, so that it is before whatever is asked next. A node that is gone has nothing to
 * release. */
void RemoteLink::release(uint64_t handle) {
    std::unique_ptr<Request> request;
    {
        std::lock_guard<std::mutex> guard(releases_lock_);
        if (!releases_.empty()) {
            request = std::move(releases_.back());
            releases_.pop_back();
        }
    }
    if (request == nullptr) request = std::make_unique<Request>();
    request->verb = Verb::release;
    request->items.assign(1, {{0, handle}, 0, kNoSlot, 0});
    Request* asked = request.release();
    auto done = [this, asked](Reply&&) {
        std::lock_guard<std::mutex> guard(releases_lock_);
        releases_.emplace_back(asked);
    };
    Lane::Call call{nullptr, asked, done};
    if (lane_->call(call) != Lane::Sent::yes) done(Reply());
}

}  // namespace

Result<std::unique_ptr<Link>> connect_link(const std::string& path, const TokenSource& token,
                                           uint64_t timeout_ns, LinkEvents& events,
                                           const fabric::Log& log) {
    auto link = std::make_unique<RemoteLink>(path, token, events, log);
    Status started = link->start(timeout_ns);
    if (!started) return started.failure();
    return std::unique_ptr<Link>(std::move(link));
}

}  // namespace weft
