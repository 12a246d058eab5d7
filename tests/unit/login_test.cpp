// A login speaks first of versions: a client of another protocol or layout, newer or older, gets
// words that name both sides and nothing else. The client here is Cap'n Proto alone, because Weft's
// own cannot say a wrong number.
#include <capnp/rpc-twoparty.h>
#include <doctest/doctest.h>
#include <kj/async-io.h>
#include <unistd.h>

#include <cstdlib>

#include "capi/weft.h"
#include "core/node/convert.h"
#include "core/node/node.h"

namespace weft {
namespace {

struct Answer {
    int32_t code;
    std::string words;
    bool session;
};

Answer login(const std::string& path, uint32_t protocol, uint64_t layout, uint64_t boot_time) {
    kj::AsyncIoContext io = kj::setupAsyncIo();
    auto stream = io.provider->getNetwork()
                      .parseAddress(kj::str("unix:", path.c_str()))
                      .then([](kj::Own<kj::NetworkAddress> address) {
                          auto connected = address->connect();
                          return connected.attach(kj::mv(address));
                      })
                      .wait(io.waitScope);
    capnp::TwoPartyClient client(kj::downcast<kj::AsyncCapabilityStream>(*stream),
                                 kDescriptorsPerMessage);
    auto request = client.bootstrap().castAs<rpc::Node>().loginRequest();
    auto hello = request.initHello();
    hello.setProtocol(protocol);
    hello.setLayout(layout);
    hello.setVersion("0.0.test");
    hello.setBootTime(boot_time);
    auto response = request.send().wait(io.waitScope);
    return {response.getFailure().getCode(), response.getFailure().getMessage().cStr(),
            response.hasSession()};
}

std::unique_ptr<Node> node_at(const std::string& path) {
    NodeOptions options;
    options.listen = path;
    options.cache.memory = uint64_t{8} << 20;
    Result<std::unique_ptr<Node>> node =
        Node::open(options, fabric::Log(2, fabric::LogLevel::error));
    REQUIRE(node.ok());
    return std::move(*node);
}

TEST_CASE("a client of another protocol or layout is refused with both versions named") {
    std::string path = "/tmp/weft-login-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    uint64_t now = fabric::boot_time();
    for (uint32_t protocol : {rpc::PROTOCOL_VERSION - 1, rpc::PROTOCOL_VERSION + 1}) {
        Answer answer = login(path, protocol, kLayoutVersion, now);
        CHECK(answer.code == WEFT_ENOTSUP);
        CHECK(answer.words.find(weft_version()) != std::string::npos);
        CHECK(answer.words.find("0.0.test") != std::string::npos);
        CHECK(answer.words.find("protocol " + std::to_string(protocol)) != std::string::npos);
        CHECK_FALSE(answer.session);
    }
    Answer layout = login(path, rpc::PROTOCOL_VERSION, kLayoutVersion + 1, now);
    CHECK(layout.code == WEFT_ENOTSUP);
    CHECK_FALSE(layout.session);
}

TEST_CASE("a client whose boot clock is far away is refused") {
    std::string path = "/tmp/weft-clock-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    Answer answer = login(path, rpc::PROTOCOL_VERSION, kLayoutVersion,
                          fabric::boot_time() + 3600 * fabric::kSecond);
    CHECK(answer.code == WEFT_ENOTSUP);
    CHECK(answer.words.find("time namespaces") != std::string::npos);
}

TEST_CASE("a login without a pidfd is refused") {
    std::string path = "/tmp/weft-pidfd-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    Answer answer = login(path, rpc::PROTOCOL_VERSION, kLayoutVersion, fabric::boot_time());
    CHECK(answer.code == WEFT_EINVAL);
    CHECK_FALSE(answer.session);
}

}  // namespace
}  // namespace weft
