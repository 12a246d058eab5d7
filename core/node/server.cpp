// The node's socket: who connects, and when what a process held comes to its end.
#include <capnp/rpc-twoparty.h>
#include <poll.h>
#include <unistd.h>

#include "capi/weft.h"
#include "core/node/listening.h"
#include "core/node/socket_server.h"

namespace weft {
namespace {

constexpr auto kRenewMost = 1 * kj::SECONDS;

/** At most a line a second: whoever connects could fill a disk otherwise. */
class LogErrors final : public kj::TaskSet::ErrorHandler {
  public:
    explicit LogErrors(const fabric::Log& log) : log_(log) {}
    void taskFailed(kj::Exception&& exception) override {
        // A connection that ended takes its calls with it; that is not news.
        if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
        uint64_t now = fabric::boot_time();
        if (now < next_) {
            left_out_++;
            return;
        }
        log_.write(fabric::LogLevel::warning,
                   kj::str("a connection failed: ", exception.getDescription(), " (and ", left_out_,
                           " since the last such line)")
                       .cStr());
        next_ = now + fabric::kSecond;
        left_out_ = 0;
    }

  private:
    const fabric::Log& log_;
    uint64_t next_ = 0;
    uint64_t left_out_ = 0;
};

}  // namespace

kj::Maybe<rpc::Process::Client&> SocketServer::callback_of(uint64_t instance) {
    auto found = processes.find(instance);
    if (found == processes.end()) return nullptr;
    KJ_IF_MAYBE (to, found->second->callback) return *to;
    return nullptr;
}

/** Waits for the end of the process, or for its word, then gives up what it held. */
kj::Promise<void> SocketServer::watch(kj::Own<ClientProcess> process) {
    kj::UnixEventPort::FdObserver observer(KJ_ASSERT_NONNULL(port), process->pidfd.get(),
                                           kj::UnixEventPort::FdObserver::OBSERVE_READ);
    pollfd look{process->pidfd.get(), POLLIN, 0};
    auto closed = kj::newPromiseAndFulfiller<void>();
    process->closed = kj::mv(closed.fulfiller);
    if (poll(&look, 1, 0) == 0)
        co_await observer.whenBecomesReadable().exclusiveJoin(kj::mv(closed.promise));
    node.with([&](Cache& cache, uint64_t now) {
        cache.end_session(process->session, now);
        return 0;
    });
    process->callback = nullptr;
    process->lane = nullptr;
    processes.erase(process->instance);
    process->connection = nullptr;  // which may hold this process's files
}

kj::Promise<void> SocketServer::serve(kj::Own<Connection> connection, kj::Timer& timer) {
    uint32_t uid = connection->uid();
    if (connections_[uid] >= kConnectionsOfUser) co_return;  // it ends, and comes back
    connections_[uid]++;
    KJ_DEFER({
        for (const auto& [instance, process] : processes)
            if (process->connection.get() == connection.get()) connected(*process, false);
        connection->close();
        if (--connections_[uid] == 0) connections_.erase(uid);
    });
    co_await connection->serve(node_server(*this, kj::addRef(*connection)), timer);
}

void SocketServer::connected(const ClientProcess& process, bool is) {
    node.with([&](Cache& cache, uint64_t now) {
        cache.set_connected(process.session, is, now);
        return 0;
    });
}

void SocketServer::admit(ClientProcess& process, const std::string& token, const Grants& grants) {
    process.token = token;
    node.with([&](Cache& cache, uint64_t) {
        cache.set_grants(process.session, grants);
        return 0;
    });
}

kj::Promise<void> SocketServer::accept_all(kj::AsyncIoContext& io) {
    LogErrors errors(node.log());
    port = io.unixEventPort;
    streams = *io.lowLevelProvider;
    tasks = kj::heap<kj::TaskSet>(errors);
    KJ_DEFER({
        tasks = nullptr;
        // The cache still names these processes; only their connections end here.
        for (auto& [instance, process] : processes) {
            process->callback = nullptr;
            process->connection = nullptr;
            process->lane = nullptr;
        }
        timer = nullptr;
    });
    timer = io.provider->getTimer();
    auto receiver = io.lowLevelProvider->wrapListenSocketFd(
        socket_.get(), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC);
    for (;;) {
        kj::AuthenticatedStream accepted;
        bool failed = false;
        try {
            accepted = co_await receiver->acceptAuthenticated();
        } catch (...) {
            failed = true;  // no descriptor left, say: the next one may do better
        }
        if (failed) {
            co_await io.provider->getTimer().afterDelay(100 * kj::MILLISECONDS);
            continue;
        }
        uint32_t uid = UINT32_MAX;
        int pid = 0;
        if (auto* local = dynamic_cast<kj::LocalPeerIdentity*>(accepted.peerIdentity.get())) {
            KJ_IF_MAYBE (id, local->getCredentials().uid) uid = static_cast<uint32_t>(*id);
            KJ_IF_MAYBE (id, local->getCredentials().pid) pid = *id;
        }
        KJ_ASSERT_NONNULL(tasks)->add(
            serve(kj::refcounted<Connection>(kj::mv(accepted.stream), uid, pid),
                  io.provider->getTimer()));
    }
}

Status SocketServer::listen() {
    // With tokens other users may connect; without, uids are checked at login all the same.
    mode_t mode = node.options().tokens.empty() ? 0600 : 0666;
    Result<fabric::Descriptor> socket = listen_unix("listen", path_, mode);
    if (!socket) return socket.failure();
    socket_ = std::move(*socket);
    if (!loop.start("weft-node", [this](kj::AsyncIoContext& io) { return accept_all(io); }))
        return Failure{WEFT_ENOMEM, "listen=unix:" + path_ + ": no descriptor left"};
    return Nothing{};
}

void SocketServer::tokens_changed() {
    loop.post([this] {
        for (auto& [instance, process] : processes) {
            Grants grants = node.grants(process->token, process->uid);
            if (grants.empty()) {
                KJ_IF_MAYBE (set, tasks) (*set)->add(renew(kj::addRef(*process)));
            } else {
                admit(*process, process->token, grants);
            }
        }
    });
}

/** A token that holds no more may have been replaced where its process reads it: rights go from the
 * old one to the new one without a gap, or end. */
kj::Promise<void> SocketServer::renew(kj::Own<ClientProcess> process) {
    std::string before = process->token;
    std::string token = before;
    KJ_IF_MAYBE (ask, process->callback) {
        auto asked = ask->tokenRequest().send();
        try {
            auto answer = co_await KJ_ASSERT_NONNULL(timer).timeoutAfter(kRenewMost, kj::mv(asked));
            token = answer.getToken();
        } catch (...) {
            token = before;  // it is stopped, gone, or older than this question
        }
    }
    // It may have logged in anew meanwhile.
    if (process->token != before) token = process->token;
    admit(*process, token, node.grants(token, process->uid));
}

Result<std::unique_ptr<Server>> Server::start(Node& node, const std::string& path) {
    auto server = std::make_unique<SocketServer>(node, path);
    Status listening = server->listen();
    if (!listening) return listening.failure();
    return std::unique_ptr<Server>(std::move(server));
}

}  // namespace weft
