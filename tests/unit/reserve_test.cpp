// What is put by for the case that memory runs out in the middle of work.
#include "core/node/reserve.h"

#include <doctest/doctest.h>

#include <new>
#include <thread>

namespace weft {

TEST_CASE("a thread inside Weft is helped once, and then when memory was put by again") {
    REQUIRE(Reserve::put_by());
    std::new_handler handler = std::get_new_handler();
    REQUIRE((handler != nullptr));
    Reserve::Inside call;
    CHECK_NOTHROW(handler());
    CHECK_THROWS_AS(handler(), std::bad_alloc);
    CHECK(Reserve::put_by());
    CHECK_NOTHROW(handler());
    CHECK(Reserve::put_by());
}

TEST_CASE("the host's own threads do not live off Weft's memory") {
    REQUIRE(Reserve::put_by());
    std::new_handler handler = std::get_new_handler();
    Reserve::Inside call;
    std::thread([&] { CHECK_THROWS_AS(handler(), std::bad_alloc); }).join();
    CHECK_NOTHROW(handler());  // it is still there
    CHECK(Reserve::put_by());
}

}  // namespace weft
