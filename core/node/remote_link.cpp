// The life of a connection to a node: it is made, served until it ends, and made again.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/node/remote.h"
#include "core/node/space.h"

namespace weft {
namespace {

constexpr auto kReconnectFirst = 20 * kj::MILLISECONDS;
constexpr auto kReconnectMost = 500 * kj::MILLISECONDS;
// What a login may take at the least, whatever the store's timeout is. Who accepts and never
// answers is left then, and another attempt finds who may listen there by now.
constexpr uint64_t kLoginLeast = 10 * fabric::kSecond;
constexpr uint64_t kCloseMost = fabric::kSecond;  // that a node which is stopped holds up a close

class FileServer final : public rpc::File::Server {
  public:
    explicit FileServer(int fd) : fd_(fd) {}
    kj::Maybe<int> getFd() override { return fd_; }

  private:
    int fd_;
};

class DropErrors final : public kj::TaskSet::ErrorHandler {
  public:
    void taskFailed(kj::Exception&&) override {}  // each task answers its caller itself
};

/** How a namespace is opened again: exactly what it was, whatever has become of it meanwhile. The
 * floor of today, or a layout of today, would be another one's blocks. */
std::string reopen_options(const OpenSpace& space) {
    std::string text = to_options(space.mapped->config()) +
                       "version=" + std::to_string(space.mapped->version()) + "\n";
    Result<Options> said = Options::parse(space.options.c_str());
    std::optional<std::string> writer = said ? said->take("writer") : std::nullopt;
    return writer ? text + "writer=" + quote_option(*writer) + "\n" : text;
}

}  // namespace

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

RemoteLink::RemoteLink(std::string path, TokenSource token, LinkEvents& events,
                       const fabric::Log& log)
    : path_(std::move(path)),
      token_(std::move(token)),
      events_(events),
      log_(log),
      memory_(fabric::system_memory()) {
    if (getrandom(&instance_, sizeof instance_, 0) != sizeof instance_)
        instance_ = fabric::boot_time();
}

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

void RemoteLink::spawn(kj::Promise<void> promise) {
    KJ_IF_MAYBE (tasks, tasks_) (*tasks)->add(kj::mv(promise));
}

Status RemoteLink::start(uint64_t timeout_ns) {
    pidfd_ = fabric::Descriptor(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    if (!pidfd_.valid())
        return Failure{errno == ENOSYS ? WEFT_ENOTSUP : WEFT_ENOMEM,
                       std::string("pidfd_open: ") + strerror(errno)};
    login_most_ = std::max(timeout_ns, kLoginLeast);
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
            co_await connect_once(io, connection).exclusiveJoin(no_answer(io.provider->getTimer()));
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

kj::Promise<void> RemoteLink::no_answer(kj::Timer& timer) {
    co_await timer.afterDelay(static_cast<int64_t>(login_most_) * kj::NANOSECONDS);
    throw_failure({WEFT_ETIMEOUT, "connect=unix:" + path_ + ": no answer to the login in " +
                                      std::to_string(login_most_ / fabric::kSecond) + " s"});
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
    connection.here = closed_in_children(*connection.stream);
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

kj::Promise<void> RemoteLink::reopen_all() {
    std::vector<std::shared_ptr<OpenSpace>> before;
    for (auto& [opening, space] : spaces_) before.push_back(space);
    for (std::shared_ptr<OpenSpace>& space : before) {
        // It may be closed at each wait: then nobody owns what would come of it.
        std::shared_ptr<Mapped> old = space->mapped;
        if (find(old) == nullptr) continue;
        if (co_await try_resume(*space)) {
            if (find(old) == nullptr)
                spawn(KJ_ASSERT_NONNULL(space->capability).closeRequest().send().ignoreResult());
            continue;
        }
        if (find(old) == nullptr) continue;
        Result<std::shared_ptr<Mapped>> opened =
            co_await open_now(space->name, reopen_options(*space), old->reader().floor());
        if (find(old) == nullptr) {
            if (opened) spawn(close_now(*opened).ignoreResult());
            continue;
        }
        if (opened && events_.reopened(old, *opened)) {
            spaces_.at((*opened)->opening())->options = space->options;
            spaces_.erase(old->opening());
            continue;
        }
        if (opened) {
            spawn(close_now(*opened).ignoreResult());
            opened =
                Failure{WEFT_EQUOTA, "views of " + std::to_string(Space::kNumbers) +
                                         " nodes before this one are held, which is the limit"};
        }
        // It stays lost until the next connection; whoever uses it is told.
        space->capability = nullptr;
        log_.write(fabric::LogLevel::warning,
                   "namespace " + space->name + ": " + opened.failure().message);
        if (opened.failure().code == WEFT_EFENCED)
            old->fenced_away.store(true, std::memory_order_release);  // see Mapped
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

Result<std::unique_ptr<Link>> connect_link(const std::string& path, const TokenSource& token,
                                           uint64_t timeout_ns, LinkEvents& events,
                                           const fabric::Log& log) {
    auto link = std::make_unique<RemoteLink>(path, token, events, log);
    Status started = link->start(timeout_ns);
    if (!started) return started.failure();
    return std::unique_ptr<Link>(std::move(link));
}

}  // namespace weft
