// Who waits for whose call.
#include "core/node/read_side.h"

#include <doctest/doctest.h>

#include <thread>

using namespace weft;

namespace {

constexpr uint64_t kShort = 50 * fabric::kMillisecond;
uint64_t soon() { return fabric::boot_time() + kShort; }

}  // namespace

TEST_CASE("synchronize waits for the calls that were inside before it, and for no later ones") {
    ReadSide side;
    CHECK(side.synchronize(soon()));
    uint32_t early = side.enter();
    std::atomic<bool> over{false};
    std::thread waiter([&] { over = side.synchronize(); });
    usleep(50000);
    CHECK_FALSE(over);
    uint32_t late = side.enter();
    CHECK(late != early);
    side.leave(early);
    waiter.join();
    CHECK(over);
    side.leave(late);
}

TEST_CASE("synchronize gives up at its deadline, and the next one waits for the same calls") {
    ReadSide side;
    uint32_t early = side.enter();
    uint64_t deadline = soon();
    CHECK_FALSE(side.synchronize(deadline));
    CHECK(fabric::boot_time() >= deadline);
    for (int again = 0; again < 3; again++) CHECK_FALSE(side.synchronize(soon()));
    uint32_t late = side.enter();
    side.leave(early);
    CHECK_FALSE(side.synchronize(soon()));  // `late` is before this one
    side.leave(late);
    CHECK(side.synchronize(soon()));
}

TEST_CASE("one that waits keeps another from waiting beyond its own deadline") {
    ReadSide side;
    uint32_t early = side.enter();
    std::thread waiter([&] { side.synchronize(); });
    usleep(20000);
    CHECK_FALSE(side.synchronize(soon()));
    side.leave(early);
    waiter.join();
    CHECK(side.synchronize(soon()));
}
