// The lane between a client and its node, with a socket whose other end is in the hands of the
// test: who reads the answers, and what becomes of calls when the socket ends.
#include "core/node/lane.h"

#include <capnp/any.h>
#include <capnp/message.h>
#include <capnp/serialize.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>

#include "capi/weft.h"
#include "core/node/convert.h"

using namespace weft;

namespace {

constexpr int kWaitMs = 10000;

/** A namespace that was opened once and is not looked at. */
std::shared_ptr<Mapped> some_mapped() {
    static std::byte index[4096];
    static ReaderPage page;
    return std::make_shared<Mapped>(77, NamespaceConfig(), 0, index, &page);
}

/** A lane, the node's end of its socket, and what was answered. */
class Ends {
  public:
    Ends()
        : lane(
              [](Lane::Call&& call, Reply&& reply) {
                  reply.handle = std::hash<std::thread::id>()(std::this_thread::get_id());
                  call.done(std::move(reply));
              },
              [this] { ended++; }) {
        attach();
    }
    void attach() {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        node = fabric::Descriptor(ends[1]);
        lane.attach(fabric::Descriptor(ends[0]));
    }
    bool ask(uint64_t number, size_t items = 0) {
        auto request = std::make_shared<Request>();
        request->verb = Verb::match;
        request->number = number;
        request->items.resize(items);
        Lane::Call call{mapped, request.get(), [this, number, request](Reply&& reply) {
                            std::lock_guard<std::mutex> guard(lock);
                            answers[number].push_back(std::move(reply));
                        }};
        return lane.call(call) == Lane::Sent::yes;
    }
    /** Reads a call at the node's end. */
    std::pair<uint64_t, uint64_t> take() {
        capnp::StreamFdMessageReader message(node.get());
        auto call = message.getRoot<rpc::LaneCall>();
        CHECK(call.getOpening() == 77);
        return {call.getId(), call.getRequest().getNumber()};
    }
    void answer(uint64_t id, uint64_t value, size_t items = 0) {
        capnp::MallocMessageBuilder message;
        auto out = message.initRoot<rpc::LaneAnswer>();
        out.setId(id);
        Reply reply;
        reply.value = value;
        reply.items.resize(items);
        to_rpc(reply, out.initReply());
        capnp::writeMessageToFd(node.get(), message);
    }
    std::vector<Reply> answered(uint64_t number, size_t times = 1) {
        for (int waited = 0; waited < kWaitMs; waited++) {
            {
                std::lock_guard<std::mutex> guard(lock);
                if (answers[number].size() >= times) return answers[number];
            }
            usleep(1000);
        }
        return {};
    }

    std::shared_ptr<Mapped> mapped = some_mapped();
    std::mutex lock;
    std::map<uint64_t, std::vector<Reply>> answers;
    std::atomic<int> ended{0};
    fabric::Descriptor node;
    Lane lane;  // ends first
};

uint64_t this_thread() { return std::hash<std::thread::id>()(std::this_thread::get_id()); }

}  // namespace

TEST_CASE("whoever leads reads the answers itself, and the lane's own thread otherwise") {
    Ends ends;
    int never = eventfd(0, EFD_CLOEXEC);
    REQUIRE(ends.ask(1));
    uint64_t id = ends.take().first;
    {
        Lane::Lead lead(ends.lane);
        REQUIRE(static_cast<bool>(lead));
        Lane::Lead second(ends.lane);
        CHECK_FALSE(static_cast<bool>(second));
        ends.answer(id, 11);
        lead.wait(never, kWaitMs);
        REQUIRE(ends.answered(1).size() == 1);
        CHECK(ends.answers[1][0].value == 11);
        CHECK(ends.answers[1][0].handle == this_thread());
    }
    REQUIRE(ends.ask(2));
    ends.answer(ends.take().first, 22);
    REQUIRE(ends.answered(2).size() == 1);
    CHECK(ends.answers[2][0].value == 22);
    CHECK(ends.answers[2][0].handle != this_thread());
    close(never);
}

TEST_CASE("what a leader leaves unread is read when it leaves") {
    Ends ends;
    REQUIRE(ends.ask(1));
    uint64_t id = ends.take().first;
    {
        Lane::Lead lead(ends.lane);
        REQUIRE(static_cast<bool>(lead));
        ends.answer(id, 1);
        usleep(20000);
        CHECK(ends.answers[1].empty());  // nobody else looks
    }
    CHECK(ends.answered(1).size() == 1);
}

TEST_CASE("a lane that has been detached has no answer on its way to an asker") {
    Ends ends;
    REQUIRE(ends.ask(1));
    uint64_t id = ends.take().first;
    std::unique_lock<std::mutex> asker(ends.lock);  // who is given the answer is held up
    ends.answer(id, 1);
    usleep(50000);
    std::atomic<bool> detached{false};
    std::thread link([&] {
        ends.lane.detach();
        detached = true;
    });
    usleep(50000);
    CHECK_FALSE(detached);
    asker.unlock();
    link.join();
    CHECK(ends.answers[1].size() == 1);
    CHECK(ends.ended == 1);
}

TEST_CASE("a leader is woken for other reasons") {
    Ends ends;
    int wake = eventfd(1, EFD_CLOEXEC);
    Lane::Lead lead(ends.lane);
    REQUIRE(static_cast<bool>(lead));
    lead.wait(wake, -1);  // else this test does not end
    CHECK(ends.answers.empty());
    close(wake);
}

TEST_CASE("calls of many threads and answers in any order find each other") {
    constexpr uint64_t kThreads = 8;
    constexpr uint64_t kCalls = 200;
    Ends ends;
    std::thread node([&] {
        std::vector<std::pair<uint64_t, uint64_t>> calls;
        for (uint64_t i = 0; i < kThreads * kCalls; i++) {
            calls.push_back(ends.take());
            if (calls.size() < 7 && i + 1 < kThreads * kCalls) continue;
            for (; !calls.empty(); calls.pop_back())
                ends.answer(calls.back().first, calls.back().second + 1, calls.size());
        }
    });
    std::vector<std::thread> threads;
    std::atomic<bool> over{false};
    std::thread leader([&] {
        int never = eventfd(0, EFD_CLOEXEC);
        while (!over) {  // leads and leaves all the time
            Lane::Lead lead(ends.lane);
            if (lead) lead.wait(never, 1);
        }
        close(never);
    });
    for (uint64_t t = 0; t < kThreads; t++) {
        threads.emplace_back([&, t] {
            for (uint64_t i = 0; i < kCalls; i++)
                if (!ends.ask(t * kCalls + i)) abort();
        });
    }
    for (std::thread& thread : threads) thread.join();
    node.join();
    uint64_t wrong = 0;
    for (uint64_t number = 0; number < kThreads * kCalls; number++) {
        std::vector<Reply> got = ends.answered(number);
        if (got.size() != 1 || got[0].value != number + 1) wrong++;
    }
    over = true;
    leader.join();
    CHECK(wrong == 0);
}

TEST_CASE(
    "a call that does not fit into the socket is sent when there is room, and so are those behind "
    "it") {
    Ends ends;
    constexpr size_t kItems = 100000;  // 4.8 MiB
    for (uint64_t number = 1; number <= 3; number++) REQUIRE(ends.ask(number, kItems));
    for (uint64_t number = 1; number <= 3; number++) {
        auto [id, asked] = ends.take();
        CHECK(asked == number);
        std::thread node([&, id = id] { ends.answer(id, number, kItems); });
        REQUIRE(ends.answered(number).size() == 1);
        CHECK(ends.answers[number][0].items.size() == kItems);
        node.join();
    }
}

TEST_CASE(
    "when the socket ends, each call under way is answered once, and the next socket serves") {
    Ends ends;
    for (uint64_t number = 1; number <= 50; number++) REQUIRE(ends.ask(number));
    ends.answer(ends.take().first, 1);
    REQUIRE(ends.answered(1).size() == 1);
    ends.node = fabric::Descriptor();
    for (uint64_t number = 2; number <= 50; number++) {
        REQUIRE(ends.answered(number).size() == 1);
        CHECK(ends.answers[number][0].status == -WEFT_EPEER);
    }
    CHECK(ends.answers[1].size() == 1);
    CHECK_FALSE(ends.ask(51));
    for (int waited = 0; ends.ended == 0 && waited < kWaitMs; waited++) usleep(1000);
    CHECK(ends.ended == 1);
    ends.attach();
    REQUIRE(ends.ask(52));
    ends.answer(ends.take().first, 52);
    REQUIRE(ends.answered(52).size() == 1);
    CHECK(ends.answers[52][0].value == 52);
}

TEST_CASE(
    "65,536 calls may wait for a node that answers none, and one more for each that it answers") {
    Ends ends;
    for (uint64_t number = 1; number <= 65536; number++) REQUIRE(ends.ask(number));
    CHECK_FALSE(ends.ask(65537));
    ends.answer(ends.take().first, 1);
    REQUIRE(ends.answered(1).size() == 1);
    CHECK(ends.ask(65538));
    CHECK_FALSE(ends.ask(65539));
}

TEST_CASE("calls that a stopped node does not read take 64 MiB, and the last of them") {
    Ends ends;
    constexpr size_t kItems = 100000;  // 4.6 MiB
    uint64_t taken = 0;
    while (taken < 100 && ends.ask(taken + 1, kItems)) taken++;
    CHECK(taken >= 12);
    CHECK(taken <= 16);
}

TEST_CASE("an answer that is none ends the socket") {
    for (std::string garbage : {std::string(64, '\xff'), std::string(64, '\0')}) {
        Ends ends;
        REQUIRE(ends.ask(1));
        ends.take();
        REQUIRE(write(ends.node.get(), garbage.data(), garbage.size()) == 64);
        REQUIRE(ends.answered(1).size() == 1);
        CHECK(ends.answers[1][0].status == -WEFT_EPEER);
    }
}

TEST_CASE("a call whose items take no bytes is malformed, however many it says there are") {
    for (uint16_t words : {uint16_t{0}, uint16_t{2}, uint16_t{3}}) {
        capnp::MallocMessageBuilder message;
        auto request = message.initRoot<rpc::Request>();
        request.setVerb(static_cast<uint16_t>(Verb::match));
        capnp::toAny(request).getPointerSection()[1].initAsListOfAnyStruct(words, 1, 1000);
        REQUIRE(request.asReader().getItems().size() == 1000);
        Request read;
        CHECK(from_rpc(request.asReader(), read) == (words == 3));
    }
}
