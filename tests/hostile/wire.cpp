// What anybody may write into a node's socket: garbage, halves of good messages, messages that
// promise more than they are, calls whose answers nobody reads.
//
//     hostile_wire UID SOCKET TOKEN_FILE SEED MS WHAT...
//
// WHAT: garbage, halves, promises, crowd, unread, unfinished, words, let-go, let-go-all; each for
// MS. Prints what it did, a line each; what must not happen ends it with words and status 1.
#include <capnp/rpc.capnp.h>
#include <capnp/serialize.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <random>

#include "core/node/connection.h"
#include "tests/hostile/raw_client.h"
#include "tests/hostile/said.h"

namespace weft::hostile {
namespace {

constexpr uint32_t kLoginQuestion = 1;
constexpr uint16_t kSessionPlace = 1;  // the second pointer of login's answer
constexpr uint16_t kQuery = 2;         // a method of Session
constexpr uint16_t kOpen = 0;
constexpr uint16_t kLane = 3;
constexpr uint32_t kLastWords = 16;
constexpr uint32_t kCrowd = 3000;
constexpr uint32_t kUnreadCalls = 200000;
constexpr uint32_t kBeforeLanes = 400;             // answers that fill a socket
constexpr uint32_t kFirstLane = kBeforeLanes + 2;  // a question
constexpr uint32_t kLanes = 14;
constexpr uint32_t kBatch = 128;
constexpr useconds_t kStep = 300000;  // for the node to take what was said

std::string flat(capnp::MessageBuilder& message) {
    kj::Array<capnp::word> words = capnp::messageToFlatArray(message);
    return {reinterpret_cast<const char*>(words.begin()), words.asBytes().size()};
}

/** A call of a method of the session, which login's answer will have. */
template <typename Params>
std::string session_call(uint32_t question, uint16_t method,
                         const std::function<void(typename Params::Builder)>& fill) {
    capnp::MallocMessageBuilder message;
    auto call = message.initRoot<capnp::rpc::Message>().initCall();
    call.setQuestionId(question);
    auto answer = call.initTarget().initPromisedAnswer();
    answer.setQuestionId(kLoginQuestion);
    answer.initTransform(1)[0].setGetPointerField(kSessionPlace);
    call.setInterfaceId(capnp::typeId<rpc::Session>());
    call.setMethodId(method);
    fill(call.initParams().getContent().initAs<Params>());
    return flat(message);
}

class Wire {
  public:
    Wire(std::string socket, std::string token, uint64_t seed, uint64_t milliseconds)
        : path_(std::move(socket)),
          token_(std::move(token)),
          dice_(seed),
          life_(milliseconds * fabric::kMillisecond) {
        address_.sun_family = AF_UNIX;
        path_.copy(address_.sun_path, sizeof address_.sun_path - 1);
        say_anew();
        good_ = {login_, lane_like()};
    }

    /** Bytes that are no message, or nearly one. */
    uint64_t garbage() {
        return repeat([this] {
            fabric::Descriptor socket = logged_in(dice_() % 2 == 0);
            std::string bytes(dice_() % 4096, '\0');
            for (char& byte : bytes) byte = static_cast<char>(dice_() % 3 == 0 ? dice_() : 0);
            send_some(socket.get(), bytes);
        });
    }
    /** Good messages with an end that does not come, or with a few bytes changed. */
    uint64_t halves() {
        return repeat([this] {
            fabric::Descriptor socket = logged_in(dice_() % 2 == 0);
            std::string bytes = good_[dice_() % good_.size()] +
                                session_call<rpc::Session::QueryParams>(
                                    7, kQuery, [](auto params) { params.setWords("stats"); });
            for (uint64_t i = dice_() % 4; i > 0; i--)
                bytes[dice_() % bytes.size()] = static_cast<char>(dice_());
            send_some(socket.get(), bytes.substr(0, dice_() % bytes.size()));
        });
    }
    /** Heads of messages of gigabytes, and of many segments; some of the bytes come. */
    uint64_t promises() {
        return repeat([this] {
            fabric::Descriptor socket = logged_in(dice_() % 2 == 0);
            auto segments = static_cast<uint32_t>(dice_() % 3 == 0 ? dice_() % 600 : 0);
            std::vector<uint32_t> head(segments + 2 + segments % 2, uint32_t{1} << dice_() % 32);
            head[0] = segments;
            std::string bytes(reinterpret_cast<const char*>(head.data()), head.size() * 4);
            send_some(socket.get(), bytes + std::string(dice_() % 65536, 'x'));
        });
    }
    /** More connections than a user may have, none of which ever says who it is. */
    uint64_t crowd() {
        std::vector<fabric::Descriptor> sockets;
        for (uint32_t i = 0; i < kCrowd; i++) {
            fabric::Descriptor one = connected();
            if (one.valid()) sockets.push_back(std::move(one));
        }
        usleep(static_cast<useconds_t>(life_ / 1000));
        return sockets.size();
    }
    /** Calls with large answers that nobody reads. Returns how many the node took. */
    uint64_t unread() {
        fabric::Descriptor socket = logged_in(true);
        uint64_t end = fabric::boot_time() + life_;
        uint64_t bytes_sent = 0;
        std::string call;
        for (uint32_t i = 0; i < kUnreadCalls && fabric::boot_time() < end; i++) {
            call = stats_call(i + 2);
            uint64_t sent = send_patiently(socket.get(), call, end);
            bytes_sent += sent;
            if (sent < call.size()) break;
        }
        // At last it reads them: there must have been answers.
        std::string answers(1 << 20, '\0');
        ssize_t got = recv(socket.get(), answers.data(), answers.size(), MSG_DONTWAIT);
        must(got > 50000, "the answers that came have " + std::to_string(got) + " bytes");
        return bytes_sent / call.size();
    }

    /** Asks for the node itself, reads the answers, and never says that it is done with them.
     * Returns how many came before the connection was cut. */
    uint64_t unfinished() {
        fabric::Descriptor socket = logged_in(true);
        uint64_t end = fabric::boot_time() + life_;
        std::string answers(1 << 20, '\0');
        for (uint32_t i = 0; fabric::boot_time() < end; i++) {
            capnp::MallocMessageBuilder message;
            message.initRoot<capnp::rpc::Message>().initBootstrap().setQuestionId(i + 2);
            std::string ask = flat(message);
            if (send(socket.get(), ask.data(), ask.size(), MSG_NOSIGNAL) < 0) return i;
            if (recv(socket.get(), answers.data(), answers.size(), 0) <= 0) return i;
        }
        fail("what is never finished is answered for ever");
    }

    /** Logs in, and at the end of its time asks for what takes descriptors, and is gone. */
    uint64_t last_words() {
        std::vector<fabric::Descriptor> sockets;
        sockets.push_back(logged_in(true));
        usleep(static_cast<useconds_t>(life_ / 1000));
        uint64_t times = 0;
        for (uint32_t i = 0; i < kLastWords; i++) {
            send_some(sockets[0].get(), lane_call(2 * i + 2));
            send_some(sockets[0].get(),
                      session_call<rpc::Session::OpenParams>(
                          2 * i + 3, kOpen, [](auto params) { params.setName("x/last"); }));
            times++;
        }
        return times;
    }

    /** Asks for lanes on a connection whose answers it does not read yet, lets go of them, and
     * reads at the end of its time: they must come, and nothing else that has a descriptor. */
    uint64_t let_go() {
        fabric::Descriptor socket = with_a_full_socket();
        for (uint32_t i = 0; i < kLanes; i++) send_some(socket.get(), lane_call(kFirstLane + i));
        usleep(kStep);
        for (uint32_t i = 0; i < kLanes; i++) send_some(socket.get(), finish(kFirstLane + i));
        usleep(static_cast<useconds_t>(life_ / 1000));
        uint64_t came = 0;
        while (came < kLanes) came += sockets_of(socket.get());
        return came;
    }

    /** The same until the node reads no more: before as many answers as it would leave unread,
     * since each keeps a descriptor. Returns how many lanes it took. */
    uint64_t let_go_all() {
        fabric::Descriptor socket = with_a_full_socket();
        int room = 1;  // the kernel's least: what the node has not read is not counted
        must(setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0, "no option");
        uint32_t lanes = 0;
        for (bool reads = true; reads; lanes += reads ? kBatch : 0) {
            must(lanes < Connection::kBuriedMost + 2 * kBatch,
                 "descriptors that are let go are not counted");
            std::string calls;
            std::string finishes;
            for (uint32_t i = 0; i < kBatch; i++) {
                calls += lane_call(kFirstLane + lanes + i);
                finishes += finish(kFirstLane + lanes + i);
            }
            // What the node has not answered when it hears this would be no lane.
            uint64_t end = fabric::boot_time() + life_;
            reads = send_patiently(socket.get(), calls, end) == calls.size();
            usleep(kStep);
            reads = reads && send_patiently(socket.get(), finishes, end) == finishes.size();
        }
        must(lanes >= Connection::kBuriedMost / 2, "after " + std::to_string(lanes) + " already");
        return lanes;
    }

  private:
    /** Reads what is there: how many descriptors came. */
    static uint64_t sockets_of(int socket) {
        std::string bytes(1 << 16, '\0');
        iovec all{bytes.data(), bytes.size()};
        alignas(cmsghdr) char room[CMSG_SPACE(64 * sizeof(int))] = {};
        msghdr message{};
        message.msg_iov = &all;
        message.msg_iovlen = 1;
        message.msg_control = room;
        message.msg_controllen = sizeof room;
        ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        must(got > 0, "the connection ended before what was asked for came");
        uint64_t came = 0;
        for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
             head = CMSG_NXTHDR(&message, head)) {
            size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < count; i++, came++) {
                int number = -1;
                memcpy(&number, CMSG_DATA(head) + i * sizeof number, sizeof number);
                fabric::Descriptor descriptor(number);
                struct stat what{};
                must(fstat(number, &what) == 0 && S_ISSOCK(what.st_mode),
                     "a descriptor came that is none of a lane");
            }
        }
        return came;
    }
    /** A connection whose answers from now on wait in the node. */
    fabric::Descriptor with_a_full_socket() {
        fabric::Descriptor socket = logged_in(true);
        usleep(kStep);
        for (uint32_t i = 0; i < kBeforeLanes; i++) send_some(socket.get(), stats_call(i + 2));
        usleep(kStep);
        return socket;
    }
    static std::string lane_call(uint32_t question) {
        return session_call<rpc::Session::LaneParams>(question, kLane, [](auto) {});
    }
    /** The answer, and what it names, is let go. */
    static std::string finish(uint32_t question) {
        capnp::MallocMessageBuilder message;
        auto finish = message.initRoot<capnp::rpc::Message>().initFinish();
        finish.setQuestionId(question);
        finish.setReleaseResultCaps(true);
        return flat(message);
    }
    static std::string stats_call(uint32_t question) {
        return session_call<rpc::Session::QueryParams>(
            question, kQuery, [](auto params) { params.setWords("stats"); });
    }
    uint64_t repeat(const std::function<void()>& act) {
        uint64_t times = 0;
        for (uint64_t end = fabric::boot_time() + life_; fabric::boot_time() < end; times++) act();
        return times;
    }
    void say_anew() {
        login_ = login_said(io_, token_, 5);
        said_at_ = fabric::boot_time();
    }
    static std::string lane_like() {
        capnp::MallocMessageBuilder message;
        message.initRoot<rpc::LaneCall>().setId(7);
        return flat(message);
    }
    fabric::Descriptor connected() const {
        fabric::Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        bool there = socket.valid() && connect(socket.get(), as_sockaddr(), sizeof address_) == 0;
        return there ? std::move(socket) : fabric::Descriptor();
    }
    const sockaddr* as_sockaddr() const { return reinterpret_cast<const sockaddr*>(&address_); }
    fabric::Descriptor logged_in(bool says_who_it_is) {
        fabric::Descriptor socket = connected();
        must(socket.valid(), "the node takes no connection");
        // One process is one session, whatever its connections.
        // It says what its clock says, which must not be far behind.
        if (fabric::boot_time() > said_at_ + 20 * fabric::kSecond) say_anew();
        if (!says_who_it_is) return socket;
        // A descriptor is of the message whose first bytes it comes with: the login's, not the
        // bootstrap's before it.
        uint32_t words = 0;
        memcpy(&words, login_.data() + 4, sizeof words);
        size_t bootstrap = 8 + size_t{words} * 8;
        send_some(socket.get(), login_.substr(0, bootstrap));
        send_with(socket.get(), login_.substr(bootstrap), pidfd_of_this().get());
        return socket;
    }
    static void send_some(int socket, const std::string& bytes) {
        // What does not fit at once is not worth the wait.
        [[maybe_unused]] ssize_t sent =
            send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    static uint64_t send_patiently(int socket, const std::string& bytes, uint64_t end) {
        uint64_t at = 0;
        while (at < bytes.size() && fabric::boot_time() < end) {
            ssize_t sent =
                send(socket, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent > 0) at += static_cast<uint64_t>(sent);
            if (sent < 0 && errno != EAGAIN) fail("a connection that reads nothing was ended");
            if (sent < 0) usleep(1000);
        }
        return at;
    }

    std::string path_;
    std::string token_;
    sockaddr_un address_{};
    std::mt19937_64 dice_;
    uint64_t life_;
    kj::AsyncIoContext io_ = kj::setupAsyncIo();
    std::string login_;
    uint64_t said_at_ = 0;
    std::vector<std::string> good_;
};

uint64_t act(Wire& wire, const std::string& what) {
    if (what == "garbage") return wire.garbage();
    if (what == "halves") return wire.halves();
    if (what == "promises") return wire.promises();
    if (what == "crowd") return wire.crowd();
    if (what == "unread") return wire.unread();
    if (what == "unfinished") return wire.unfinished();
    if (what == "words") return wire.last_words();
    if (what == "let-go") return wire.let_go();
    if (what == "let-go-all") return wire.let_go_all();
    fail("what is \"" + what + "\"?");
}

}  // namespace
}  // namespace weft::hostile

int main(int argc, char** argv) {
    using namespace weft::hostile;
    must(argc > 6, "usage: hostile_wire UID SOCKET TOKEN_FILE SEED MS WHAT...");
    std::ifstream file(argv[3]);
    std::string token;
    std::getline(file, token);
    auto uid = static_cast<uid_t>(std::stoul(argv[1]));
    must(setgroups(0, nullptr) == 0 && setresgid(uid, uid, uid) == 0 &&
             setresuid(uid, uid, uid) == 0,
         "run as root");
    Wire wire(argv[2], token, std::stoull(argv[4]), std::stoull(argv[5]));
    for (int i = 6; i < argc; i++)
        printf("%s %llu\n", argv[i], static_cast<unsigned long long>(act(wire, argv[i])));
    return 0;
}
