// What one client, one process and one user may have of a node: descriptors, sessions, connections,
// messages. Each is reached, others go on, and there is room again when something was given back.
#include <capnp/rpc.capnp.h>
#include <capnp/serialize.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capi/weft.h"
#include "core/node/socket_server.h"
#include "tests/unit/bare_client.h"
#include "tests/unit/folder.h"

namespace weft {
namespace {

using namespace bare;

constexpr int kPatienceMs = 10'000;

/** As many descriptors as a test needs of node and clients, which are one process; the limit from
 * before comes back. */
class Descriptors {
  public:
    explicit Descriptors(rlim_t wanted) {
        getrlimit(RLIMIT_NOFILE, &before_);
        rlimit more{std::max(wanted, before_.rlim_cur), before_.rlim_max};
        are_there_ = setrlimit(RLIMIT_NOFILE, &more) == 0;
        if (!are_there_) MESSAGE("skipped: a process may not have ", wanted, " descriptors here");
    }
    ~Descriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
    Descriptors(const Descriptors&) = delete;
    Descriptors& operator=(const Descriptors&) = delete;
    bool are_there() const { return are_there_; }

  private:
    rlimit before_{};
    bool are_there_ = false;
};

/** Whether a client gets in as this process, at last. */
bool gets_in(const std::string& path) {
    for (uint64_t end = fabric::boot_time() + kPatienceMs * fabric::kMillisecond;;) {
        try {
            Client client(path);
            if (client.login([](rpc::Hello::Builder hello) { as_instance(hello, 1); }).hasSession())
                return true;
        } catch (...) {
            // Its connection was ended.
        }
        if (fabric::boot_time() > end) return false;
        usleep(1000);
    }
}

fabric::Descriptor connected_to(const std::string& path) {
    fabric::Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    auto* named = reinterpret_cast<const sockaddr*>(&address);
    REQUIRE(connect(socket.get(), named, sizeof address) == 0);
    return socket;
}

bool has_ended(const fabric::Descriptor& socket, int within_ms) {
    pollfd look{socket.get(), POLLIN, 0};
    char byte = 0;
    return poll(&look, 1, within_ms) == 1 && recv(socket.get(), &byte, 1, MSG_DONTWAIT) <= 0;
}

/** A process that logs in as often as one may, when it is told to, and stays. */
class Regular {
  public:
    Regular(const std::string& path, uint64_t first, int go, int done) : pid_(fork()) {
        REQUIRE(pid_ >= 0);
        if (pid_ != 0) return;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        char said = 0;
        if (read(go, &said, 1) != 1) _exit(1);
        Client client(path);
        std::vector<rpc::Session::Client> sessions;
        for (uint64_t i = 0; i < SocketServer::kSessionsOfProcess; i++) {
            auto response =
                client.login([&](rpc::Hello::Builder hello) { as_instance(hello, first + i); });
            said = response.hasSession() ? 'y' : 'n';
            if (said == 'n') break;
            sessions.push_back(response.getSession());
        }
        if (write(done, &said, 1) != 1) _exit(1);
        for (;;) pause();
    }
    ~Regular() {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    Regular(const Regular&) = delete;
    Regular& operator=(const Regular&) = delete;

  private:
    pid_t pid_;
};

TEST_CASE(
    "one user has 2,048 sessions, whichever its processes, and more when a process has ended") {
    constexpr uint32_t kProcesses =
        SocketServer::kSessionsOfUser / SocketServer::kSessionsOfProcess;
    Descriptors room(4096);
    if (!room.are_there()) return;
    Folder folder;
    std::string path = folder.path + "/s";
    int go[2];
    int done[2];
    REQUIRE(pipe2(go, O_CLOEXEC) == 0);
    REQUIRE(pipe2(done, O_CLOEXEC) == 0);
    // Before the node, so that each is a copy of a process with one thread.
    std::vector<std::unique_ptr<Regular>> regulars;
    for (uint32_t i = 0; i < kProcesses; i++)
        regulars.push_back(
            std::make_unique<Regular>(path, uint64_t{1000} * (i + 1), go[0], done[1]));
    std::unique_ptr<Node> node = node_at(path);
    for (uint32_t i = 0; i < kProcesses; i++) {
        REQUIRE(write(go[1], "g", 1) == 1);
        pollfd look{done[0], POLLIN, 0};
        REQUIRE(poll(&look, 1, kPatienceMs) == 1);
        char said = 0;
        REQUIRE(read(done[0], &said, 1) == 1);
        REQUIRE(said == 'y');
    }
    {
        Client client(path);
        auto response = client.login([](rpc::Hello::Builder hello) { as_instance(hello, 1); });
        CHECK_FALSE(response.hasSession());
        CHECK(response.getFailure().getCode() == WEFT_EQUOTA);
        std::string words = response.getFailure().getMessage().cStr();
        CHECK(words.find("2048 of a user") != std::string::npos);
    }
    regulars.pop_back();
    CHECK(gets_in(path));
    for (int end : {go[0], go[1], done[0], done[1]}) close(end);
}

TEST_CASE("one user has 2,048 connections: the next one ends at once, until another has gone") {
    Descriptors room(6144);
    if (!room.are_there()) return;
    Folder folder;
    std::string path = folder.path + "/s";
    std::unique_ptr<Node> node = node_at(path);
    std::vector<fabric::Descriptor> sockets;
    for (uint32_t i = 0; i < SocketServer::kConnectionsOfUser; i++)
        sockets.push_back(connected_to(path));
    // Not because it is late with its login: that has twice as long.
    CHECK(has_ended(connected_to(path), 5000));
    CHECK_FALSE(has_ended(sockets.back(), 0));
    sockets.pop_back();
    CHECK(gets_in(path));
}

TEST_CASE("a connection that says nothing ends, and one that has logged in stays") {
    Folder folder;
    std::string path = folder.path + "/s";
    std::unique_ptr<Node> node = node_at(path);
    Client client(path);
    auto session =
        client.login([](rpc::Hello::Builder hello) { as_instance(hello, 1); }).getSession();
    CHECK(has_ended(connected_to(path), 10 * kPatienceMs));
    auto query = session.queryRequest();
    query.setWords("stats");
    CHECK(query.send().wait(client.io.waitScope).hasJson());
}

TEST_CASE("a process keeps 1,024 descriptors that it was sent, and gets more for those let go") {
    Descriptors room(6144);
    if (!room.are_there()) return;
    Folder folder;
    std::string path = folder.path + "/s";
    std::unique_ptr<Node> node = node_at(path);
    Client client(path);
    auto login = [&](uint64_t instance) {
        return client.login([&](rpc::Hello::Builder hello) { as_instance(hello, instance); })
            .getSession();
    };
    auto first = login(7);
    auto second = login(8);
    auto open = [&](rpc::Session::Client& session) {
        auto request = session.openRequest();
        request.setName("t/m");
        request.setOptions("part_bytes=4096");
        return request.send().wait(client.io.waitScope);
    };
    // An index and a page each.
    std::vector<capnp::Response<rpc::Session::OpenResults>> kept;
    for (uint32_t i = 0; i < ClientProcess::kFilesMost / 2; i++) {
        kept.push_back(open(first));
        REQUIRE(kept.back().hasOpened());
    }
    auto refused = open(first);
    CHECK(refused.getFailure().getCode() == WEFT_ENOMEM);
    CHECK(open(second).hasOpened());
    kept.pop_back();
    CHECK(open(first).hasOpened());
}

TEST_CASE("a message of more than 1 MiB ends its connection, and others go on") {
    Folder folder;
    std::string path = folder.path + "/s";
    std::unique_ptr<Node> node = node_at(path);
    uint64_t most = Connection::kMessageWords * sizeof(capnp::word);
    for (uint64_t bytes : {most - 4096, most + 4096}) {
        CAPTURE(bytes);
        Client client(path);
        auto session =
            client.login([](rpc::Hello::Builder hello) { as_instance(hello, 1); }).getSession();
        auto query = session.queryRequest();
        query.setWords(std::string(bytes, 'x').c_str());
        bool answered = true;
        try {
            query.send().wait(client.io.waitScope);
        } catch (...) {
            answered = false;
        }
        CHECK(answered == (bytes < most));
    }
    CHECK(gets_in(path));
}

/** One question of a connection's first, whose answer is some hundred bytes. */
kj::Array<kj::byte> question(uint32_t id) {
    capnp::MallocMessageBuilder message;
    message.initRoot<capnp::rpc::Message>().initBootstrap().setQuestionId(id);
    auto words = capnp::messageToFlatArray(message);
    return kj::heapArray(words.asBytes());
}

TEST_CASE("no more is read of a client that leaves 2,048 answers unread, however small") {
    Folder folder;
    std::string path = folder.path + "/s";
    std::unique_ptr<Node> node = node_at(path);
    fabric::Descriptor socket = connected_to(path);
    // What lies in the socket both ways is some hundred messages more. That many calls which are
    // not finished would end the connection: 32 MiB at 2 KiB each.
    constexpr uint32_t kUnfinished = Connection::kUnfinishedBytes / Connection::kCallBytes;
    uint32_t asked = 0;
    for (pollfd look{socket.get(), POLLOUT, 0}; poll(&look, 1, 1000) == 1; asked++) {
        REQUIRE(asked < kUnfinished);
        auto bytes = question(asked);
        REQUIRE(send(socket.get(), bytes.begin(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
                static_cast<ssize_t>(bytes.size()));
    }
    CHECK(asked > Connection::kUnreadMost);
    {
        // They are all there, and the client is heard again when it has read them.
        auto io = kj::setupAsyncIo();
        auto in = io.lowLevelProvider->wrapSocketFd(kj::AutoCloseFd(dup(socket.get())));
        for (uint32_t i = 0; i < asked; i++) {
            auto answer = io.provider->getTimer()
                              .timeoutAfter(10 * kj::SECONDS, capnp::readMessage(*in))
                              .wait(io.waitScope);
            REQUIRE(answer->getRoot<capnp::rpc::Message>().getReturn().getAnswerId() == i);
        }
    }
    CHECK(gets_in(path));
}

TEST_CASE("no more is read of a client when 32 KiB of its calls are not answered") {
    Folder folder;
    std::string path = folder.path + "/s";
    std::unique_ptr<Node> node = node_at(path);
    {
        Client client(path);
        auto session =
            client.login([](rpc::Hello::Builder hello) { as_instance(hello, 1); }).getSession();
        bool answered = false;
        auto ask = [&] {
            answered = false;
            auto query = session.queryRequest();
            query.setWords("stats");
            return query.send().then([&](auto&&) { answered = true; }).eagerlyEvaluate(nullptr);
        };
        // Logins that wait for their pidfds, which do not come.
        std::string token(Connection::kCallWords * sizeof(capnp::word) / 4, 'x');
        std::vector<kj::Own<kj::PromiseFulfiller<rpc::File::Client>>> pidfds;
        std::vector<kj::Promise<void>> waiting;
        auto wait_for_pidfds = [&](uint64_t calls) {
            for (uint64_t i = 0; i < calls; i++) {
                auto pidfd = kj::newPromiseAndFulfiller<rpc::File::Client>();
                pidfds.push_back(kj::mv(pidfd.fulfiller));
                auto request = client.client.bootstrap().castAs<rpc::Node>().loginRequest();
                auto hello = request.initHello();
                hello.setProtocol(rpc::PROTOCOL_VERSION);
                hello.setLayout(kLayoutVersion);
                hello.setBootTime(fabric::boot_time());
                hello.setInstance(2);
                hello.setToken(token);
                hello.setPidfd(kj::mv(pidfd.promise));
                waiting.push_back(request.send().ignoreResult());
            }
        };
        kj::Timer& timer = client.io.provider->getTimer();
        wait_for_pidfds(3);
        timer.timeoutAfter(kPatienceMs * kj::MILLISECONDS, ask()).wait(client.io.waitScope);
        CHECK(answered);
        wait_for_pidfds(2);
        auto asked = ask();
        timer.afterDelay(500 * kj::MILLISECONDS).wait(client.io.waitScope);
        CHECK_FALSE(answered);
    }
    CHECK(gets_in(path));
}

}  // namespace
}  // namespace weft
