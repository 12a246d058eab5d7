// The completion queue: one event an op, and both ways to learn of it.
#include "core/node/queue.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <thread>

#include "core/node/stories.h"

using namespace weft;

namespace {

weft_op op_of(uint16_t kind, uint64_t tag) {
    weft_op op{};
    op.kind = kind;
    op.tag = tag;
    return op;
}
weft_event event_of(uint64_t tag) {
    weft_event event{};
    event.tag = tag;
    return event;
}
bool readable(int fd) {
    pollfd look{fd, POLLIN, 0};
    return poll(&look, 1, 0) == 1;
}

}  // namespace

TEST_CASE("a queue takes as many ops as it is deep, and 64 more that end others") {
    Queue queue(2, 0, 1, nullptr);
    Operation* first = queue.take(op_of(WEFT_OP_LOAD, 1));
    REQUIRE(first != nullptr);
    REQUIRE(queue.take(op_of(WEFT_OP_LOAD, 2)) != nullptr);
    CHECK(queue.take(op_of(WEFT_OP_LOAD, 3)) == nullptr);
    REQUIRE(queue.take(op_of(WEFT_OP_COMMIT, 4)) != nullptr);
    REQUIRE(queue.take(op_of(WEFT_OP_ABORT, 5)) != nullptr);
    for (uint32_t i = 2; i < Queue::kEndsExtra; i++)
        REQUIRE(queue.take(op_of(WEFT_OP_CANCEL, i)) != nullptr);
    CHECK(queue.take(op_of(WEFT_OP_CANCEL, 9)) == nullptr);
    queue.push(*first, event_of(1));
    CHECK(queue.take(op_of(WEFT_OP_CANCEL, 9)) == nullptr);  // ended, but not reaped
    weft_event events[4];
    CHECK(queue.reap(events, 4, 0) == 1);
    CHECK(events[0].tag == 1);
    CHECK(queue.reap(events, 4, 0) == 0);
    CHECK(queue.take(op_of(WEFT_OP_CANCEL, 9)) != nullptr);
}

TEST_CASE(
    "events come in the order in which ops ended, each once, however few are reaped at a time") {
    Queue queue(8, 0, 1, nullptr);
    for (uint64_t round = 0; round < 50; round++) {
        std::vector<Operation*> taken;
        for (uint64_t i = 0; i < 8; i++) taken.push_back(queue.take(op_of(WEFT_OP_LOAD, i)));
        for (uint64_t i = 0; i < 8; i++) queue.push(*taken[i], event_of(round * 8 + i));
        for (uint64_t i = 0; i < 8;) {
            weft_event events[3];
            int32_t count = queue.reap(events, 3, 0);
            REQUIRE(count > 0);
            for (int32_t j = 0; j < count; j++, i++) REQUIRE(events[j].tag == round * 8 + i);
        }
    }
    CHECK(queue.unreaped() == 0);
}

TEST_CASE("the descriptor is readable exactly while there are events") {
    Queue queue(4, 0, 1, nullptr);
    Operation* early = queue.take(op_of(WEFT_OP_LOAD, 1));
    queue.push(*early, event_of(1));
    int fd = queue.fd();
    REQUIRE(fd >= 0);
    CHECK(queue.fd() == fd);
    CHECK(readable(fd));  // the event was there before the descriptor
    Operation* second = queue.take(op_of(WEFT_OP_LOAD, 2));
    queue.push(*second, event_of(2));
    weft_event event;
    CHECK(queue.reap(&event, 1, 0) == 1);
    CHECK(readable(fd));
    CHECK(queue.reap(&event, 1, 0) == 1);
    CHECK_FALSE(readable(fd));
    Operation* third = queue.take(op_of(WEFT_OP_LOAD, 3));
    CHECK_FALSE(readable(fd));
    queue.push(*third, event_of(3));
    CHECK(readable(fd));
}

TEST_CASE(
    "a closing queue takes nothing, gives out what is left, and then says that it is closed") {
    Queue queue(4, 0, 1, nullptr);
    Operation* left = queue.take(op_of(WEFT_OP_LOAD, 1));
    CHECK(queue.close() == 1);
    CHECK(queue.take(op_of(WEFT_OP_LOAD, 2)) == nullptr);
    weft_event event;
    CHECK(queue.reap(&event, 1, 0) == 0);
    std::thread other([&] { queue.push(*left, event_of(1)); });
    CHECK(queue.reap(&event, 1, -1) == 1);
    other.join();
    CHECK(queue.reap(&event, 1, -1) == -WEFT_ECLOSED);
}

TEST_CASE("the last 1,024 stories are kept, cut to their room, and older ones are not found") {
    auto stories = std::make_unique<Stories>();
    CHECK_FALSE(stories->find(0).has_value());
    uint64_t first = stories->tell(WEFT_EPEER, "first");
    CHECK(stories->find(first)->words == "first");
    CHECK(stories->find(first)->code == WEFT_EPEER);
    uint64_t last = 0;
    for (uint64_t i = 0; i < Stories::kKept; i++)
        last = stories->tell(WEFT_EQUOTA, std::string(1000, 'x'));
    CHECK_FALSE(stories->find(first).has_value());
    CHECK(stories->find(last)->words == std::string(243, 'x'));
    CHECK(stories->find(first + 1).has_value());
    CHECK_FALSE(stories->find(last + 1).has_value());
}
