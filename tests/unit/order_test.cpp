// The orders, whole: what would leave, in the order in which it would leave.
#include "core/policy/order.h"

#include <doctest/doctest.h>

#include "capi/weft.h"

using namespace weft;

namespace {

struct Queue {
    explicit Queue(const PolicyChoice& choice) {
        infos.grow(64);
        order = make_order(choice, infos);
    }
    std::string text() const {
        std::string words;
        for (uint32_t slot = order->first(); slot != UINT32_MAX; slot = order->after(slot))
            words += (words.empty() ? "" : " ") + std::to_string(slot);
        return words;
    }
    void insert(std::initializer_list<uint32_t> slots) {
        for (uint32_t slot : slots) order->insert(slot);
    }
    void touch(std::initializer_list<uint32_t> slots) {
        for (uint32_t slot : slots) order->touch(slot);
    }
    SlotInfos infos;
    std::unique_ptr<Order> order;
};

}  // namespace

TEST_CASE("lru: the least recently used leaves first") {
    Queue queue({"lru", 0.3});
    CHECK(queue.text() == "");
    queue.insert({1, 2, 3, 4});
    CHECK(queue.text() == "1 2 3 4");
    queue.touch({2});
    CHECK(queue.text() == "1 3 4 2");
    queue.touch({2, 1});
    CHECK(queue.text() == "3 4 2 1");
    queue.order->remove(4);
    CHECK(queue.text() == "3 2 1");
    queue.order->remove(3);
    queue.order->remove(1);
    CHECK(queue.text() == "2");
    queue.order->remove(2);
    CHECK(queue.text() == "");
    CHECK(queue.order->size() == 0);
    queue.insert({7});
    CHECK(queue.text() == "7");
}

TEST_CASE("what is said not to return is the next to leave, in every order") {
    Queue lru({"lru", 0.3});
    lru.order->insert_first(9);
    lru.insert({1, 2});
    lru.order->insert_first(5);
    CHECK(lru.text() == "5 9 1 2");
    lru.touch({5});
    CHECK(lru.text() == "9 1 2 5");
    Queue windowed({"windowed", 0.3});
    windowed.insert({1, 2, 3});
    windowed.touch({1, 2, 3});
    windowed.order->insert_first(4);
    CHECK(windowed.text() == "4 1 2 3");
    windowed.insert({6, 7, 8});
    windowed.order->insert_first(5);
    CHECK(windowed.text() == "5 6 7 8 4 1 2 3");
    CHECK(windowed.order->size() == 8);
}

TEST_CASE("lru: a chain touched deepest first leaves leaves first") {
    Queue queue({"lru", 0.3});
    queue.insert({10, 11, 12, 20});  // 10 is the root
    queue.touch({12, 11, 10});
    CHECK(queue.text() == "20 12 11 10");
}

TEST_CASE("windowed: what is used again moves to the main list and outlives a scan") {
    Queue queue({"windowed", 0.25});
    queue.insert({1, 2, 3, 4});
    CHECK(queue.text() == "1 2 3 4");
    queue.touch({1, 2, 3});  // main: 1 2 3, window: 4; a quarter of four is not exceeded
    CHECK(queue.text() == "1 2 3 4");
    queue.insert({5, 6});  // a scan: window 4 5 6 of six
    CHECK(queue.text() == "4 5 6 1 2 3");
    queue.touch({1});
    CHECK(queue.text() == "4 5 6 2 3 1");
    queue.order->remove(4);
    queue.order->remove(5);  // the window is within its share again
    CHECK(queue.text() == "2 3 1 6");
    CHECK(queue.order->size() == 4);
}

TEST_CASE("windowed: with one list empty the other one leaves") {
    Queue queue({"windowed", 0.5});
    queue.insert({1, 2});
    queue.touch({1, 2});
    CHECK(queue.text() == "1 2");
    queue.order->remove(1);
    queue.order->remove(2);
    CHECK(queue.text() == "");
}

TEST_CASE("a policy that is not known is refused by name") {
    CHECK(check_policy({"lru", 0.3}).ok());
    CHECK(check_policy({"windowed", 0.01}).ok());
    Status unknown = check_policy({"fifo", 0.3});
    REQUIRE_FALSE(unknown.ok());
    CHECK(unknown.failure().message.find("policy=fifo") != std::string::npos);
    CHECK_FALSE(check_policy({"windowed", 0}).ok());
    CHECK_FALSE(check_policy({"windowed", 1}).ok());
}
