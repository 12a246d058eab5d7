// A client of a node's socket that is Cap'n Proto alone, because Weft's own cannot say a wrong
// number, lose its connection, or keep what it should let go of.
//
// Invariants: a thread has one client at a time; what the node asks of it is answered while it
// waits for an answer itself.
#pragma once
#include <capnp/rpc-twoparty.h>
#include <capnp/serialize-async.h>
#include <doctest/doctest.h>
#include <kj/async-io.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/node/convert.h"
#include "core/node/node.h"

namespace weft::bare {

class FileServer final : public rpc::File::Server {
  public:
    explicit FileServer(int fd) : fd_(fd) {}
    kj::Maybe<int> getFd() override { return fd_.get(); }

  private:
    fabric::Descriptor fd_;
};

inline fabric::Descriptor pidfd_of(pid_t pid) {
    return fabric::Descriptor(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

/** A connection. What is said at login, and what is done behind it, is the test's. */
class Client {
  public:
    explicit Client(const std::string& path)
        : io(kj::setupAsyncIo()),
          stream(io.provider->getNetwork()
                     .parseAddress(kj::str("unix:", path.c_str()))
                     .then([](kj::Own<kj::NetworkAddress> address) {
                         auto connected = address->connect();
                         return connected.attach(kj::mv(address));
                     })
                     .wait(io.waitScope)),
          client(kj::downcast<kj::AsyncCapabilityStream>(*stream), kDescriptorsPerMessage) {}

    /** As a good client says it, but for what `change` makes of it. */
    template <typename F>
    capnp::Response<rpc::Node::LoginResults> login(F change) {
        auto request = client.bootstrap().castAs<rpc::Node>().loginRequest();
        auto hello = request.initHello();
        hello.setProtocol(rpc::PROTOCOL_VERSION);
        hello.setLayout(kLayoutVersion);
        hello.setVersion("0.0.test");
        hello.setBootTime(fabric::boot_time());
        change(hello);
        return request.send().wait(io.waitScope);
    }

    /** One call on a lane of its own. Without an answer in time it throws. */
    Reply ask(rpc::Session::Client& session, uint64_t opening, const Request& request) {
        auto response = session.laneRequest().send().wait(io.waitScope);
        kj::Maybe<int> fd = response.getSocket().getFd().wait(io.waitScope);
        auto lane = io.lowLevelProvider->wrapSocketFd(kj::AutoCloseFd(dup(KJ_ASSERT_NONNULL(fd))));
        capnp::MallocMessageBuilder message;
        auto call = message.initRoot<rpc::LaneCall>();
        call.setId(3);
        call.setOpening(opening);
        to_rpc(request, call.initRequest());
        capnp::writeMessage(*lane, message).wait(io.waitScope);
        auto answer = io.provider->getTimer()
                          .timeoutAfter(10 * kj::SECONDS, capnp::readMessage(*lane))
                          .wait(io.waitScope);
        Reply reply;
        CHECK(answer->getRoot<rpc::LaneAnswer>().getId() == 3);
        from_rpc(answer->getRoot<rpc::LaneAnswer>().getReply(), reply);
        return reply;
    }

    kj::AsyncIoContext io;
    kj::Own<kj::AsyncIoStream> stream;
    capnp::TwoPartyClient client;
};

inline std::unique_ptr<Node> node_at(const std::string& path) {
    NodeOptions options;
    options.listen = path;
    options.cache.memory = uint64_t{8} << 20;
    Result<std::unique_ptr<Node>> node =
        Node::open(options, fabric::Log(2, fabric::LogLevel::error));
    REQUIRE(node.ok());
    return std::move(*node);
}

/** As a good client of this process says it. */
inline void as_instance(rpc::Hello::Builder hello, uint64_t instance,
                        const std::string& token = "") {
    hello.setPidfd(kj::heap<FileServer>(pidfd_of(getpid()).release()));
    hello.setInstance(instance);
    hello.setToken(token);
}

}  // namespace weft::bare
