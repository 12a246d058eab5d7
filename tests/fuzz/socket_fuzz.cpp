// A node's sockets: a connection before its login, one behind it, and a lane, each with any bytes
// on it, as a real node in this process reads them. The first byte chooses.
//
// Invariants: the node lives, ends the connection that makes no sense or is at its end, and answers
// another client meanwhile.
//
// WEFT_SEEDS=FOLDER: writes what a good client says there, to begin with, and ends.
#include <capnp/rpc-twoparty.h>
#include <capnp/serialize.h>
#include <sys/un.h>

#include <fstream>

#include "capi/weft.h"
#include "core/node/node.h"
#include "tests/fuzz/small_node.h"
#include "tests/hostile/said.h"

namespace weft::fuzz {
namespace {

constexpr int kPatienceS = 20;
constexpr uint64_t kHelloMost = 20 * fabric::kSecond;
constexpr size_t kChunk = 64 << 10;
enum Way : uint8_t { kBare, kLoggedIn, kLane, kWays };

using hostile::pidfd_of_this;
using hostile::Recorder;
using hostile::say_hello;

std::string lane_call(Verb verb, uint64_t opening, uint32_t items) {
    Request request;
    request.verb = verb;
    request.user = true;
    request.size = 2;
    request.deadline = fabric::boot_time();
    for (uint32_t i = 0; i < items; i++) request.items.push_back({{1, i}, 0, kNoSlot, 0});
    capnp::MallocMessageBuilder message;
    auto call = message.initRoot<rpc::LaneCall>();
    call.setId(9);
    call.setOpening(opening);
    to_rpc(request, call.initRequest());
    kj::Array<capnp::word> flat = capnp::messageToFlatArray(message);
    return {reinterpret_cast<const char*>(flat.begin()), flat.asBytes().size()};
}

/** The node, and a client of it that behaves. */
class Neighbours {
  public:
    Neighbours() : path_("/tmp/weft-fuzz-" + std::to_string(getpid())), io_(kj::setupAsyncIo()) {
        // Other users' connections, files and all, are not what is tried here.
        NodeOptions options;
        options.listen = path_;
        options.cache.memory = uint64_t{8} << 20;
        Result<std::unique_ptr<Node>> node =
            Node::open(options, fabric::Log(2, fabric::LogLevel::error));
        must(node.ok(), "a node");
        node_ = std::move(*node);
        address_.sun_family = AF_UNIX;
        path_.copy(address_.sun_path, sizeof address_.sun_path - 1);
        say_anew();
        stream_ = io_.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(connected()));
        client_ = kj::heap<capnp::TwoPartyClient>(kj::downcast<kj::AsyncCapabilityStream>(*stream_),
                                                  kDescriptorsPerMessage);
        auto login = client_->bootstrap().castAs<rpc::Node>().loginRequest();
        say_hello(login.initHello(), "", 1);
        session_ = login.send().wait(io_.waitScope).getSession();
        auto open = session_.openRequest();
        open.setName("good/one");
        open.setOptions("part_bytes=4096");
        opening_ = open.send().wait(io_.waitScope).getOpened().getOpening();
    }
    void say(Way way, const std::string& bytes) {
        fabric::Descriptor socket(way == kLane ? lane() : connected());
        // A login says what its clock says, which must not be far behind.
        if (fabric::boot_time() > said_at_ + kHelloMost) say_anew();
        if (way == kLoggedIn)
            must(hostile::send_with(socket.get(), hello_, pidfd_of_this().get()),
                 "a login is sent");
        send_all(socket.get(), bytes);
        shutdown(socket.get(), SHUT_WR);
        char answers[kChunk];
        ssize_t got = 0;
        // The fuzzer's own alarm interrupts a wait that has a limit.
        while ((got = recv(socket.get(), answers, sizeof answers, 0)) > 0 ||
               (got < 0 && errno == EINTR)) {
        }
        must(got == 0 || errno == ECONNRESET, "the node ends a connection that is at its end");
        if (++said_ % 64 == 0) check();
    }
    void write_seeds(const std::string& folder);

  private:
    void say_anew() {
        hello_ = hostile::login_said(io_, "", 2);
        said_at_ = fabric::boot_time();
    }
    int connected() const {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        must(connect(fd, reinterpret_cast<const sockaddr*>(&address_), sizeof address_) == 0,
             "the node takes a connection");
        set_patience(fd);
        return fd;
    }
    static void set_patience(int fd) {
        timeval patience{kPatienceS, 0};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }
    int lane() {
        auto response = session_.laneRequest().send().wait(io_.waitScope);
        kj::Maybe<int> fd = response.getSocket().getFd().wait(io_.waitScope);
        int own = dup(KJ_ASSERT_NONNULL(fd));
        fcntl(own, F_SETFL, fcntl(own, F_GETFL) & ~O_NONBLOCK);
        set_patience(own);
        return own;
    }
    static void send_all(int fd, const std::string& bytes) {
        for (size_t at = 0; at < bytes.size();) {
            ssize_t sent = send(fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
            if (sent < 0 && errno == EINTR) continue;
            if (sent <= 0) return;  // the node has ended it, as it may
            at += static_cast<size_t>(sent);
        }
    }
    void check() {
        auto query = session_.queryRequest();
        query.setWords("stats");
        auto answer = query.send().wait(io_.waitScope);
        must(std::string(answer.getJson().cStr()).find("good/one") != std::string::npos,
             "the node answers another client");
    }

    std::string path_;
    sockaddr_un address_{};
    kj::AsyncIoContext io_;
    std::unique_ptr<Node> node_;
    std::string hello_;
    uint64_t said_at_ = 0;
    kj::Own<kj::AsyncIoStream> stream_;
    kj::Own<capnp::TwoPartyClient> client_;
    rpc::Session::Client session_ = nullptr;
    uint64_t opening_ = 0;
    uint64_t said_ = 0;
};

/** What a good client says, a file each, in front of each the way that it goes. */
void Neighbours::write_seeds(const std::string& folder) {
    int number = 0;
    auto keep = [&](Way way, const std::string& bytes) {
        std::ofstream file(folder + "/good-" + std::to_string(number++), std::ios::binary);
        file << static_cast<char>(way) << bytes;
    };
    keep(kBare, hello_);
    Recorder recorder(io_);
    auto login = recorder.node().loginRequest();
    say_hello(login.initHello(), "", 2);
    auto session = login.send().getSession();
    recorder.written();
    auto open = session.openRequest();
    open.setName("t/m");
    open.setOptions("part_bytes=4096");
    auto opened = open.send();
    std::string opens = recorder.written();
    keep(kLoggedIn, opens);
    auto space = opened.getOpened().getSpace();
    auto query = space.queryRequest();
    query.setWords("blocks limit=3");
    auto blocks = query.send();
    keep(kLoggedIn, opens + recorder.written());
    auto segment = space.segmentRequest();
    auto found = segment.send();
    keep(kLoggedIn, opens + recorder.written());
    auto close = space.closeRequest();
    auto closed = close.send();
    keep(kLoggedIn, opens + recorder.written());
    auto stats = session.queryRequest();
    stats.setWords("stats");
    auto told = stats.send();
    keep(kLoggedIn, recorder.written());
    auto resume = session.resumeRequest();
    resume.setOpening(opening_);
    resume.initReservations(2).set(0, 77);
    resume.initStock(1).set(0, 5);
    auto resumed = resume.send();
    keep(kLoggedIn, recorder.written());
    auto lane = session.laneRequest().send();
    keep(kLoggedIn, recorder.written());
    auto over = session.closeRequest().send();
    keep(kLoggedIn, recorder.written());
    for (int verb = 0; verb <= int(Verb::release); verb++)
        keep(kLane, lane_call(static_cast<Verb>(verb), opening_, static_cast<uint32_t>(verb % 3)));
}

}  // namespace
}  // namespace weft::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft::fuzz;
    static auto* neighbours = new Neighbours;  // for the process's life
    static const char* seeds = getenv("WEFT_SEEDS");
    if (seeds != nullptr) {
        neighbours->write_seeds(seeds);
        _exit(0);
    }
    if (size == 0) return 0;
    neighbours->say(static_cast<Way>(data[0] % kWays),
                    std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
    return 0;
}
