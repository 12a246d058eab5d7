// The node's socket: who connects, and when what a process held comes to its end.
#include <capnp/rpc-twoparty.h>
#include <poll.h>
#include <unistd.h>

#include "capi/weft.h"
#include "core/node/listening.h"
#include "core/node/socket_server.h"

namespace weft {
namespace {

class LogErrors final : public kj::TaskSet::ErrorHandler {
  public:
    explicit LogErrors(const fabric::Log& log) : log_(log) {}
    void taskFailed(kj::Exception&& exception) override {
        // A connection that ended takes its calls with it; that is not news.
        if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
        log_.write(fabric::LogLevel::warning,
                   kj::str("a connection failed: ", exception.getDescription()).cStr());
    }

  private:
    const fabric::Log& log_;
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
}

kj::Promise<void> SocketServer::serve(kj::Own<kj::AsyncIoStream> stream, uint32_t uid, int pid) {
    auto& capability_stream = kj::downcast<kj::AsyncCapabilityStream>(*stream);
    capnp::TwoPartyVatNetwork network(capability_stream, kDescriptorsPerMessage,
                                      capnp::rpc::twoparty::Side::SERVER, reader_options());
    auto system = capnp::makeRpcServer(network, node_server(*this, uid, pid));
    co_await network.onDisconnect();
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
            process->lane = nullptr;
        }
    });
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
        KJ_ASSERT_NONNULL(tasks)->add(serve(kj::mv(accepted.stream), uid, pid));
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
            node.with([&](Cache& cache, uint64_t) {
                cache.set_grants(process->session, grants);
                return 0;
            });
        }
    });
}

Result<std::unique_ptr<Server>> Server::start(Node& node, const std::string& path) {
    auto server = std::make_unique<SocketServer>(node, path);
    Status listening = server->listen();
    if (!listening) return listening.failure();
    return std::unique_ptr<Server>(std::move(server));
}

}  // namespace weft
