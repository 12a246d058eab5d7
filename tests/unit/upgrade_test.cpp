// A client of the ABI whose node is replaced by one that speaks another protocol, as in an upgrade
// that reached the node first: every op says why it ended, the log says it once, and the client
// goes on when a node comes that it understands. The other node here is Cap'n Proto alone; what it
// answers is what core/node/serving.cpp answers to an older client (login_test.cpp).
#include <capnp/rpc-twoparty.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "capi/weft.h"
#include "core/node/convert.h"
#include "core/node/listening.h"
#include "core/node/loop.h"
#include "fabric/clock/clock.h"
#include "tests/unit/folder.h"

namespace weft {
namespace {

constexpr const char* kWords =
    "the node is weft 9.0.0 (protocol 9, layout 9): upgrade the older one";
constexpr uint64_t kPatience = 30 * fabric::kSecond;

class NewerServer final : public rpc::Node::Server {
    kj::Promise<void> login(LoginContext context) override {
        auto failure = context.getResults().initFailure();
        failure.setCode(WEFT_ENOTSUP);
        failure.setMessage(kWords);
        return kj::READY_NOW;
    }
};

/** Listens at a path for as long as it lives. */
class NewerNode {
  public:
    explicit NewerNode(const std::string& path) : path_(path) {
        Result<fabric::Descriptor> socket = listen_unix("listen", path, 0600);
        REQUIRE_MESSAGE(socket.ok(), (socket.ok() ? "" : socket.failure().message));
        socket_ = std::move(*socket);
        REQUIRE(loop_.start("newer", [this](kj::AsyncIoContext& io) -> kj::Promise<void> {
            auto receiver = io.lowLevelProvider->wrapListenSocketFd(
                socket_.get(), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC);
            capnp::TwoPartyServer server(kj::heap<NewerServer>());
            co_await server.listenCapStreamReceiver(*receiver, kDescriptorsPerMessage);
        }));
    }
    ~NewerNode() {
        loop_.stop();
        unlink(path_.c_str());
    }
    NewerNode(const NewerNode&) = delete;
    NewerNode& operator=(const NewerNode&) = delete;

  private:
    std::string path_;
    fabric::Descriptor socket_;
    Loop loop_;
};

struct Opened {
    int32_t code = 0;
    std::string words;
    weft_store* store = nullptr;
};

Opened open_store(const std::string& options) {
    weft_error error{};
    error.struct_size = sizeof error;
    Opened opened;
    opened.code = weft_open(options.c_str(), &opened.store, &error);
    opened.words = error.message;
    return opened;
}

std::string query(weft_store* store, int32_t& code) {
    char json[2048];
    weft_error error{};
    error.struct_size = sizeof error;
    code = weft_query(store, 0, "stats", json, sizeof json, &error);
    return code < 0 ? error.message : json;
}

/** Asks until the answer is this code; returns its words. */
std::string ask_until(weft_store* store, bool good) {
    int32_t code = 0;
    std::string words;
    for (uint64_t end = fabric::boot_time() + kPatience; fabric::boot_time() < end; usleep(20000)) {
        words = query(store, code);
        if (good ? code >= 0 : words.find(kWords) != std::string::npos) return words;
    }
    FAIL("code " << code << ": " << words);
    return words;
}

std::string read_all(int fd) {
    std::string text(65536, '\0');
    ssize_t got = read(fd, text.data(), text.size());
    text.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return text;
}

}  // namespace

TEST_CASE("a client that meets a newer node is told both versions, before and after an upgrade") {
    Folder folder;
    std::string path = folder.path + "/s";
    std::string node_options = "memory=8MiB,listen=unix:" + path;
    int log[2];
    REQUIRE(pipe2(log, O_CLOEXEC | O_NONBLOCK) == 0);
    std::string connect =
        "connect=unix:" + path + ",timeout_ms=2000,log_fd=" + std::to_string(log[1]);
    {
        NewerNode newer(path);
        Opened refused = open_store(connect);
        CHECK(refused.code == -WEFT_ENOTSUP);
        CHECK(refused.words == kWords);
    }
    Opened node = open_store(node_options);
    REQUIRE(node.code == 0);
    Opened client = open_store(connect);
    REQUIRE_MESSAGE(client.code == 0, client.words);
    ask_until(client.store, true);
    read_all(log[0]);

    REQUIRE(weft_close(node.store) == 0);
    {
        NewerNode newer(path);
        std::string words = ask_until(client.store, false);
        int32_t code = 0;
        query(client.store, code);
        CHECK(code == -WEFT_EPEER);
        CHECK(words.find(path) != std::string::npos);
        usleep(700'000);  // some more attempts to connect, each as vain as the first
        std::string said = read_all(log[0]);
        size_t first = said.find(kWords);
        CHECK(first != std::string::npos);
        CHECK(said.find(kWords, first + 1) == std::string::npos);
    }
    node = open_store(node_options);
    REQUIRE(node.code == 0);
    ask_until(client.store, true);
    CHECK(weft_close(client.store) == 0);
    CHECK(weft_close(node.store) == 0);
    close(log[0]);
    close(log[1]);
}

}  // namespace weft
