// A node's sockets: a connection before its login, one behind it, and a lane, each with any bytes
// on it, as a real node in this process reads them. The first byte chooses.
//
// A connection is a pair of sockets, of which the node's loop has one end as if it had accepted it;
// the other end is written and read on the same thread, which is five times as fast as connecting
// from another one. The client that looks after the node from time to time does connect.
//
// Invariants: the node lives, ends the connection that makes no sense or is at its end, and answers
// another client meanwhile.
//
// The node is kept; sessions, openings and namespaces of an input end with it. Where an input says
// kAnyOpening it means the opening that it was given, whose number is another one in each process.
//
// WEFT_SEEDS=FOLDER: writes what a good client says there, to begin with, and ends.
#include <capnp/rpc-twoparty.h>
#include <capnp/serialize.h>
#include <sys/un.h>

#include <condition_variable>
#include <fstream>
#include <mutex>

#include "capi/weft.h"
#include "core/node/node.h"
#include "core/node/socket_server.h"
#include "tests/fuzz/small_node.h"
#include "tests/hostile/said.h"

namespace weft::fuzz {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);
constexpr uint64_t kHelloMost = 20 * fabric::kSecond;
constexpr size_t kChunk = 64 << 10;
constexpr uint64_t kCheckEach = 64;
constexpr uint64_t kGoodInstance = 1;
constexpr uint64_t kInstance = 2;                     // of who says an input
constexpr uint64_t kAnyOpening = 0x676e696e65706f2e;  // ".opening", as it lies in memory
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

void replace_all(std::string& in, uint64_t word, uint64_t by) {
    std::string_view wanted(reinterpret_cast<const char*>(&word), sizeof word);
    for (size_t at = 0; (at = in.find(wanted, at)) != std::string::npos; at += sizeof word)
        memcpy(in.data() + at, &by, sizeof by);
}

/** The node's end of a lane, and the session that it is of. On the loop's thread. */
class OwnLane {
  public:
    OwnLane(SocketServer& server, kj::Own<kj::AsyncIoStream> stream, std::string& bytes)
        : node_(server.node) {
        memset(static_cast<void*>(page_.get()), 0, sizeof(ReaderPage));
        opening_ = node_.with([&](Cache& cache, uint64_t now) {
            session_ = *cache.begin_session(process_, {{"*", kAllRights}}, getpid());
            Result<Opened> opened = cache.open_namespace(
                session_, "lane/m", "part_bytes=4096,quota=64KiB", page_.get(), 0, now);
            must(opened.ok(), "a namespace opens");
            return opened->opening;
        });
        replace_all(bytes, kAnyOpening, opening_);
        lane_ = kj::heap<LaneServer>(node_, server.loop, session_, kj::mv(stream));
    }
    ~OwnLane() {
        lane_ = nullptr;
        node_.with([&](Cache& cache, uint64_t now) {
            cache.end_session(session_, now);
            return 0;
        });
    }
    KJ_DISALLOW_COPY_AND_MOVE(OwnLane);

  private:
    Node& node_;
    QuietProcess process_;
    std::unique_ptr<ReaderPage> page_ = std::make_unique<ReaderPage>();
    uint32_t session_ = 0;
    uint64_t opening_ = 0;
    kj::Own<LaneServer> lane_;
};

/** The node, and a client of it that behaves. */
class Neighbours {
  public:
    Neighbours() : path_("/tmp/weft-fuzz-" + std::to_string(getpid())), io_(kj::setupAsyncIo()) {
        // Other users' connections, files and all, are not what is tried here.
        NodeOptions options;
        options.cache.memory = uint64_t{8} << 20;
        Result<std::unique_ptr<Node>> node =
            Node::open(options, fabric::Log(2, fabric::LogLevel::error));
        must(node.ok(), "a node");
        node_ = std::move(*node);
        server_ = std::make_unique<SocketServer>(*node_, path_);
        must(server_->listen().ok(), "it listens");
        say_anew();
        stream_ = io_.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(connected()));
        client_ = kj::heap<capnp::TwoPartyClient>(kj::downcast<kj::AsyncCapabilityStream>(*stream_),
                                                  kDescriptorsPerMessage);
        auto login = client_->bootstrap().castAs<rpc::Node>().loginRequest();
        say_hello(login.initHello(), "", kGoodInstance);
        session_ = login.send().wait(io_.waitScope).getSession();
        auto open = session_.openRequest();
        open.setName("good/one");
        open.setOptions("part_bytes=4096");
        open.send().wait(io_.waitScope);
    }
    void say(Way way, std::string bytes) {
        // A login says what its clock says, which must not be far behind.
        if (fabric::boot_time() > said_at_ + kHelloMost) say_anew();
        bool posted = server_->loop.post([this, way, &bytes] {
            KJ_IF_MAYBE (tasks, server_->tasks) (*tasks)->add(talk(way, bytes));
        });
        must(posted, "the loop runs");
        {
            std::unique_lock<std::mutex> guard(lock_);
            must(ended_.wait_for(guard, kPatience, [this] { return over_; }),
                 "the node ends a connection that is at its end, and what was of it");
            over_ = false;
        }
        if (++said_ % kCheckEach == 0) check();
    }
    void write_seeds(const std::string& folder);

  private:
    void say_anew() {
        hello_ = hostile::login_said(io_, "", kInstance);
        said_at_ = fabric::boot_time();
    }
    int connected() const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        must(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0,
             "the node takes a connection");
        return fd;
    }
    /** An input from its first byte to the node's last. On the loop's thread. */
    kj::Promise<void> talk(Way way, std::string& bytes) {
        int ends[2];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0,
             "a pair of sockets");
        auto& streams = KJ_ASSERT_NONNULL(server_->streams);
        auto node_end = streams.wrapUnixSocketFd(kj::AutoCloseFd(ends[0]));
        std::unique_ptr<OwnLane> lane;
        if (way == kLane) {
            lane = std::make_unique<OwnLane>(*server_, kj::mv(node_end), bytes);
        } else {
            auto connection = kj::refcounted<Connection>(kj::mv(node_end), geteuid(), getpid());
            KJ_ASSERT_NONNULL(server_->tasks)
                ->add(server_->serve(kj::mv(connection), KJ_ASSERT_NONNULL(server_->timer)));
        }
        // All of it lies in the socket before the node reads the first of it.
        if (way == kLoggedIn)
            must(hostile::send_with(ends[1], hello_, pidfd_.get()), "a login is sent");
        must(send(ends[1], bytes.data(), bytes.size(), MSG_NOSIGNAL) == ssize_t(bytes.size()),
             "an input fits into a socket");
        shutdown(ends[1], SHUT_WR);
        auto stream = streams.wrapUnixSocketFd(kj::AutoCloseFd(ends[1]));
        try {
            while (co_await stream->tryRead(answers_, 1, sizeof answers_) != 0) {
            }
        } catch (const kj::Exception& reset) {
            must(reset.getType() == kj::Exception::Type::DISCONNECTED, "it ends as sockets do");
        }
        lane = nullptr;
        if (way != kLane) co_await end_processes();
        drop_all();
        {
            std::lock_guard<std::mutex> guard(lock_);
            over_ = true;
        }
        ended_.notify_one();
    }
    /** As if they had died. */
    kj::Promise<void> end_processes() {
        for (;;) {
            bool all = true;
            for (auto& [instance, process] : server_->processes) {
                if (instance == kGoodInstance) continue;
                all = false;
                KJ_IF_MAYBE (closed, process->closed) (*closed)->fulfill();
            }
            if (all) co_return;
            co_await kj::evalLast([] {});
        }
    }
    void drop_all() {
        node_->with([&](Cache& cache, uint64_t now) {
            uint32_t owner = server_->processes.at(kGoodInstance)->session;
            if (cache.report(now).spaces.size() > 1)
                must(cache.query(owner, 0, "drop", now).ok(), "namespaces are dropped");
            must(cache.report(now).spaces.size() == 1, "nobody has them open");
            return 0;
        });
    }
    void check() {
        auto query = session_.queryRequest();
        query.setWords("stats");
        auto answer = query.send().wait(io_.waitScope);
        must(std::string(answer.getJson().cStr()).find("good/one") != std::string::npos,
             "the node answers another client");
    }

    std::string path_;
    kj::AsyncIoContext io_;
    std::unique_ptr<Node> node_;
    std::unique_ptr<SocketServer> server_;
    fabric::Descriptor pidfd_ = pidfd_of_this();
    std::string hello_;
    uint64_t said_at_ = 0;
    kj::Own<kj::AsyncIoStream> stream_;
    kj::Own<capnp::TwoPartyClient> client_;
    rpc::Session::Client session_ = nullptr;
    uint64_t said_ = 0;
    std::mutex lock_;  // guards over_
    std::condition_variable ended_;
    bool over_ = false;  // the input
    char answers_[kChunk];
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
    say_hello(login.initHello(), "", kInstance);
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
    resume.setOpening(kAnyOpening);
    resume.initReservations(2).set(0, 77);
    resume.initStock(1).set(0, 5);
    auto resumed = resume.send();
    keep(kLoggedIn, recorder.written());
    auto lane = session.laneRequest().send();
    keep(kLoggedIn, recorder.written());
    auto over = session.closeRequest().send();
    keep(kLoggedIn, recorder.written());
    for (int verb = 0; verb <= int(Verb::release); verb++)
        keep(kLane,
             lane_call(static_cast<Verb>(verb), kAnyOpening, static_cast<uint32_t>(verb % 3)));
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
