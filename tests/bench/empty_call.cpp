// The bodies of empty_call.h: a server in a forked child, a connection in this thread over a socket
// pair.
#include "empty_call.h"

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "figure.h"
#include "tests/bench/empty.capnp.h"

namespace bench {
namespace {

class Server final : public Empty::Server {
    kj::Promise<void> call(CallContext) override { return kj::READY_NOW; }
};

/** Answers until the other end is gone. */
void serve(int socket) {
    kj::AsyncIoContext io = kj::setupAsyncIo();
    auto stream = io.lowLevelProvider->wrapSocketFd(socket);
    capnp::TwoPartyVatNetwork network(*stream, capnp::rpc::twoparty::Side::SERVER);
    auto system = capnp::makeRpcServer(network, kj::heap<Server>());
    network.onDisconnect().wait(io.waitScope);
}

}  // namespace

struct EmptyCall::Connection {
    explicit Connection(int socket)
        : io(kj::setupAsyncIo()),
          stream(io.lowLevelProvider->wrapSocketFd(socket,
                                                   kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP)),
          client(*stream),
          empty(client.bootstrap().castAs<Empty>()) {}
    kj::AsyncIoContext io;
    kj::Own<kj::AsyncIoStream> stream;
    capnp::TwoPartyClient client;
    Empty::Client empty;
};

EmptyCall::EmptyCall() {
    int ends[2];
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    server_ = fork();
    require(server_ >= 0, "fork");
    if (server_ == 0) {
        close(ends[0]);
        serve(ends[1]);
        _exit(0);
    }
    close(ends[1]);
    connection_ = std::make_unique<Connection>(ends[0]);
    call();
}

EmptyCall::~EmptyCall() {
    connection_ = nullptr;
    int status = 0;
    waitpid(server_, &status, 0);
}

void EmptyCall::call() { connection_->empty.callRequest().send().wait(connection_->io.waitScope); }

}  // namespace bench
