// A login speaks first of versions: a client of another protocol or layout, newer or older, gets
// words that name both sides and nothing else. Then of the process: what it holds is the process's,
// not the connection's.
#include <capnp/serialize.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "capi/weft.h"
#include "tests/unit/bare_client.h"
#include "tests/unit/folder.h"

namespace weft {
namespace {

using namespace bare;

struct Answer {
    int32_t code;
    std::string words;
    bool session;
};

Answer login(const std::string& path, uint32_t protocol, uint64_t layout, uint64_t boot_time) {
    Client client(path);
    auto response = client.login([&](rpc::Hello::Builder hello) {
        hello.setProtocol(protocol);
        hello.setLayout(layout);
        hello.setBootTime(boot_time);
    });
    return {response.getFailure().getCode(), response.getFailure().getMessage().cStr(),
            response.hasSession()};
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

TEST_CASE("a client whose boot clock is more than a minute away is refused") {
    std::string path = "/tmp/weft-clock-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    auto login_at = [&](uint64_t boot_time) {
        return login(path, rpc::PROTOCOL_VERSION, kLayoutVersion, boot_time);
    };
    for (uint64_t apart : {uint64_t{3600}, uint64_t{70}}) {
        CAPTURE(apart);
        Answer answer = login_at(fabric::boot_time() + apart * fabric::kSecond);
        CHECK(answer.code == WEFT_ENOTSUP);
        CHECK(answer.words.find("time namespaces") != std::string::npos);
    }
    // What it is refused for then is that it does not say who it is.
    CHECK(login_at(fabric::boot_time() + 50 * fabric::kSecond).code == WEFT_EINVAL);
}

TEST_CASE("a login without a pidfd is refused") {
    std::string path = "/tmp/weft-pidfd-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    Answer answer = login(path, rpc::PROTOCOL_VERSION, kLayoutVersion, fabric::boot_time());
    CHECK(answer.code == WEFT_EINVAL);
    CHECK_FALSE(answer.session);
}

TEST_CASE("a login with another process's pidfd is refused: it would hold what nobody gives up") {
    std::string path = "/tmp/weft-other-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    Client client(path);
    auto response = client.login([&](rpc::Hello::Builder hello) {
        hello.setPidfd(kj::heap<FileServer>(pidfd_of(getppid()).release()));
    });
    CHECK(response.getFailure().getCode() == WEFT_EINVAL);
    std::string words = response.getFailure().getMessage().cStr();
    CHECK(words.find(std::to_string(getpid())) != std::string::npos);
    CHECK(words.find(std::to_string(getppid())) != std::string::npos);
    CHECK_FALSE(response.hasSession());
}

TEST_CASE("what a process holds outlives its connection") {
    std::string path = "/tmp/weft-holds-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    auto as_itself = [](rpc::Hello::Builder hello) {
        hello.setPidfd(kj::heap<FileServer>(pidfd_of(getpid()).release()));
        hello.setInstance(7);
    };
    uint64_t opening = 0;
    uint64_t reservation = 0;
    {
        Client first(path);
        auto session = first.login(as_itself).getSession();
        auto open = session.openRequest();
        open.setName("t/m");
        open.setOptions("part_bytes=4096");
        auto opened = open.send().wait(first.io.waitScope);
        REQUIRE(opened.hasOpened());
        opening = opened.getOpened().getOpening();
        Request wanted;
        wanted.verb = Verb::reserve;
        wanted.user = true;
        wanted.deadline = fabric::boot_time() + 10 * fabric::kSecond;
        wanted.items.push_back({{1, 2}, 0, kNoSlot, 0});
        reservation = first.ask(session, opening, wanted).handle;
        REQUIRE(reservation != 0);
    }
    // The node sees the end of that connection before it sees the next one.
    Client second(path);
    auto session = second.login(as_itself).getSession();
    auto resume = session.resumeRequest();
    resume.setOpening(opening);
    resume.initReservations(1).set(0, reservation);
    auto resumed = resume.send().wait(second.io.waitScope);
    REQUIRE(resumed.hasSpace());
    Request word;
    word.verb = Verb::commit;
    word.number = reservation;
    Reply reply = second.ask(session, opening, word);
    CHECK(reply.status == 0);
    CHECK(reply.detail == 1);
}

TEST_CASE("an opening of which a process did not hear ends when it asks for its next lane") {
    std::string path = "/tmp/weft-unheard-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    auto as_itself = [](rpc::Hello::Builder hello) {
        hello.setPidfd(kj::heap<FileServer>(pidfd_of(getpid()).release()));
        hello.setInstance(7);
    };
    auto open_at = [](Client& client, rpc::Session::Client& session, const char* name) {
        auto open = session.openRequest();
        open.setName(name);
        open.setOptions("part_bytes=4096");
        return open.send().wait(client.io.waitScope).getOpened().getOpening();
    };
    uint64_t unheard = 0;
    uint64_t known = 0;
    {
        Client first(path);
        auto session = first.login(as_itself).getSession();
        unheard = open_at(first, session, "t/unheard");
        known = open_at(first, session, "t/known");
    }
    Client second(path);
    auto session = second.login(as_itself).getSession();
    auto resumes = [&](uint64_t opening) {
        auto resume = session.resumeRequest();
        resume.setOpening(opening);
        return resume.send().wait(second.io.waitScope).hasSpace();
    };
    CHECK(resumes(known));
    uint64_t fresh = open_at(second, session, "t/fresh");
    session.laneRequest().send().wait(second.io.waitScope);
    CHECK_FALSE(resumes(unheard));
    CHECK(resumes(known));
    CHECK(resumes(fresh));
    session.laneRequest().send().wait(second.io.waitScope);  // of the same login: nothing ends
    CHECK(resumes(known));
}

TEST_CASE("a client that reads no answers is heard no more: what it is owed has an end") {
    std::string path = "/tmp/weft-deaf-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    Client client(path);
    auto session = client
                       .login([](rpc::Hello::Builder hello) {
                           hello.setPidfd(kj::heap<FileServer>(pidfd_of(getpid()).release()));
                           hello.setInstance(8);
                       })
                       .getSession();
    auto response = session.laneRequest().send().wait(client.io.waitScope);
    kj::Maybe<int> fd = response.getSocket().getFd().wait(client.io.waitScope);
    int lane = KJ_ASSERT_NONNULL(fd);
    capnp::MallocMessageBuilder message;
    auto call = message.initRoot<rpc::LaneCall>();
    call.setId(3);
    Request nothing;
    nothing.verb = Verb::match;
    to_rpc(nothing, call.initRequest());
    auto words = capnp::messageToFlatArray(message);
    auto bytes = words.asBytes();
    // Without an end the node would take all of these, and keep an answer for each.
    constexpr int kCalls = 200000;
    int sent = 0;
    while (sent < kCalls) {
        ssize_t put = send(lane, bytes.begin(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put == static_cast<ssize_t>(bytes.size())) {
            sent++;
            continue;
        }
        REQUIRE(put < 0);
        pollfd room{lane, POLLOUT, 0};
        if (poll(&room, 1, 2000) == 0) break;
    }
    CHECK(sent < kCalls);
    CHECK(sent > 1024);
}

TEST_CASE("a call may name as many blocks as an op, and is read within its limit") {
    Request request;
    request.items.resize(kItemsMax);
    request.items.back().key = {5, 6};
    capnp::MallocMessageBuilder message;
    to_rpc(request, message.initRoot<rpc::LaneCall>().initRequest());
    kj::Array<capnp::word> words = capnp::messageToFlatArray(message);
    capnp::FlatArrayMessageReader reader(words, call_options());
    Request got;
    REQUIRE(from_rpc(reader.getRoot<rpc::LaneCall>().getRequest(), got));
    CHECK(got.items.size() == kItemsMax);
    CHECK(got.items.back().key == Key{5, 6});
    CHECK(words.size() <= call_options().traversalLimitInWords);
}

TEST_CASE("a process has the rights of its last login, and loses them with that token") {
    Folder folder;
    NodeOptions options;
    options.listen = folder.path + "/s";
    options.tokens = folder.path + "/tokens";
    options.cache.memory = uint64_t{8} << 20;
    std::ofstream(options.tokens) << "alpha t/* read,write\nbeta t/* read\n";
    Result<std::unique_ptr<Node>> node =
        Node::open(options, fabric::Log(2, fabric::LogLevel::error));
    REQUIRE(node.ok());
    Client first(options.listen);
    auto session =
        first.login([](rpc::Hello::Builder hello) { as_instance(hello, 7, "alpha"); }).getSession();
    auto open = session.openRequest();
    open.setName("t/m");
    open.setOptions("part_bytes=4096");
    uint64_t opening = open.send().wait(first.io.waitScope).getOpened().getOpening();
    Request wanted;
    wanted.verb = Verb::reserve;
    wanted.deadline = fabric::boot_time() + 10 * fabric::kSecond;
    wanted.items.push_back({{1, 2}, 0, kNoSlot, 0});
    CHECK(first.ask(session, opening, wanted).status == 0);
    CHECK(
        first.login([](rpc::Hello::Builder hello) { as_instance(hello, 7, "beta"); }).hasSession());
    // The earlier session is the same process's.
    auto resume = session.resumeRequest();
    resume.setOpening(opening);
    REQUIRE(resume.send().wait(first.io.waitScope).hasSpace());
    CHECK(first.ask(session, opening, wanted).status == -WEFT_EDENIED);
    wanted.verb = Verb::locate;
    CHECK(first.ask(session, opening, wanted).status == 0);
    std::ofstream(options.tokens) << "alpha t/* read,write\n";
    REQUIRE((*node)->reload().ok());
    int32_t status = 0;
    for (int i = 0; i < 100 && status != -WEFT_EDENIED; i++) {
        status = first.ask(session, opening, wanted).status;
        usleep(20000);
    }
    CHECK(status == -WEFT_EDENIED);
}

/** A process that never says which token it has now. */
class Silent final : public rpc::Process::Server {
  public:
    kj::Promise<void> token(TokenContext) override { return kj::NEVER_DONE; }
};

TEST_CASE(
    "a token that holds no more ends its rights, also of a process that never says its next") {
    Folder folder;
    NodeOptions options;
    options.listen = folder.path + "/s";
    options.tokens = folder.path + "/tokens";
    options.cache.memory = uint64_t{8} << 20;
    std::ofstream(options.tokens) << "alpha t/* read,write\n";
    Result<std::unique_ptr<Node>> node =
        Node::open(options, fabric::Log(2, fabric::LogLevel::error));
    REQUIRE(node.ok());
    Client client(options.listen);
    auto session = client
                       .login([](rpc::Hello::Builder hello) {
                           as_instance(hello, 7, "alpha");
                           hello.setProcess(kj::heap<Silent>());
                       })
                       .getSession();
    auto open = session.openRequest();
    open.setName("t/m");
    open.setOptions("part_bytes=4096");
    uint64_t opening = open.send().wait(client.io.waitScope).getOpened().getOpening();
    Request wanted;
    wanted.verb = Verb::locate;
    wanted.deadline = UINT64_MAX;
    wanted.items.push_back({{1, 2}, 0, kNoSlot, 0});
    REQUIRE(client.ask(session, opening, wanted).status == 0);
    std::ofstream(options.tokens) << "beta t/* read,write\n";
    REQUIRE((*node)->reload().ok());
    int32_t status = 0;
    for (int i = 0; i < 500 && status != -WEFT_EDENIED; i++) {
        status = client.ask(session, opening, wanted).status;
        usleep(20000);
    }
    CHECK(status == -WEFT_EDENIED);
}

TEST_CASE("one process has so many sessions, and others log in all the same") {
    std::string path = "/tmp/weft-many-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    Client client(path);
    std::vector<rpc::Session::Client> sessions;
    for (uint64_t i = 0; i < 64; i++) {
        auto response =
            client.login([&](rpc::Hello::Builder hello) { as_instance(hello, 100 + i); });
        REQUIRE(response.hasSession());
        sessions.push_back(response.getSession());
    }
    auto response = client.login([](rpc::Hello::Builder hello) { as_instance(hello, 99); });
    CHECK(response.getFailure().getCode() == WEFT_EQUOTA);
    CHECK(client.login([](rpc::Hello::Builder hello) { as_instance(hello, 100); }).hasSession());
}

/** A lane's socket, not blocking. */
fabric::Descriptor lane_of(Client& client, rpc::Session::Client& session) {
    auto response = session.laneRequest().send().wait(client.io.waitScope);
    kj::Maybe<int> fd = response.getSocket().getFd().wait(client.io.waitScope);
    return fabric::Descriptor(dup(KJ_ASSERT_NONNULL(fd)));
}

TEST_CASE("a lane whose client is at its end is ended by the node as well") {
    std::string path = "/tmp/weft-laneend-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    Client client(path);
    auto session =
        client.login([](rpc::Hello::Builder hello) { as_instance(hello, 1); }).getSession();
    fabric::Descriptor lane = lane_of(client, session);
    shutdown(lane.get(), SHUT_WR);
    pollfd look{lane.get(), POLLIN, 0};
    REQUIRE(poll(&look, 1, 20000) == 1);
    char byte = 0;
    CHECK(recv(lane.get(), &byte, 1, 0) == 0);
}

TEST_CASE("of a client that reads no answers so many calls are taken as these have room") {
    std::string path = "/tmp/weft-unread-" + std::to_string(getpid()) + ".sock";
    std::unique_ptr<Node> node = node_at(path);
    Client client(path);
    auto session =
        client.login([](rpc::Hello::Builder hello) { as_instance(hello, 1); }).getSession();
    auto open = session.openRequest();
    open.setName("t/m");
    open.setOptions("part_bytes=4096");
    uint64_t opening = open.send().wait(client.io.waitScope).getOpened().getOpening();
    fabric::Descriptor lane = lane_of(client, session);
    constexpr uint32_t kItems = 50000;  // 2.4 MB a call, 2 MB an answer
    Request wanted;
    wanted.verb = Verb::match;
    wanted.flags = WEFT_EACH;
    wanted.items.resize(kItems);
    capnp::MallocMessageBuilder message;
    auto call = message.initRoot<rpc::LaneCall>();
    call.setId(1);
    call.setOpening(opening);
    to_rpc(wanted, call.initRequest());
    kj::Array<capnp::word> words = capnp::messageToFlatArray(message);
    auto bytes = words.asBytes();
    size_t sent = 0;
    size_t at = 0;
    // Until it takes no more for two seconds; or as much as it never should.
    while (sent < 40 * bytes.size()) {
        pollfd look{lane.get(), POLLOUT, 0};
        if (poll(&look, 1, 2000) != 1) break;
        ssize_t now = send(lane.get(), bytes.begin() + at, bytes.size() - at, MSG_NOSIGNAL);
        REQUIRE(now > 0);
        sent += static_cast<size_t>(now);
        at = (at + static_cast<size_t>(now)) % bytes.size();
    }
    CHECK(sent > 4 * bytes.size());
    CHECK(sent < 20 * bytes.size());
}

}  // namespace
}  // namespace weft
