// A node's cache against processes that say what they must not: requests of nothing, text that
// cannot be kept. (What a request does is in writing_test.cpp and waiting_test.cpp, what a
// namespace keeps in namespace_test.cpp.)
#include <doctest/doctest.h>

#include "capi/weft.h"
#include "tests/unit/world.h"

using namespace weft;

namespace {

constexpr const char* kPlain = "part_bytes=4096";

}  // namespace

TEST_CASE("a request of no blocks at all is answered, whatever its verb") {
    World world;
    World::Client& client = world.open(kPlain);
    for (int verb = 0; verb <= static_cast<int>(Verb::release); verb++) {
        for (uint32_t flags : {0u, uint32_t{WEFT_CLAIM}, 0x3fffu}) {
            CAPTURE(verb);
            CAPTURE(flags);
            Request request;
            request.verb = static_cast<Verb>(verb);
            request.flags = flags;
            client.now(request);
        }
    }
}

TEST_CASE("text that is not UTF-8 is refused before it is kept, and others go on") {
    FakeKeeper keeper;
    World world(uint64_t{64} << 20, &keeper);
    World::Client& client = world.open(kPlain);
    for (const char* options : {"layout=\xff", "model=a\xc3", "dtype=\xed\xa0\x80"}) {
        CAPTURE(options);
        Result<Opened> opened =
            world.cache.open_namespace(client.session, "t/other", options, nullptr, 0, world.time);
        REQUIRE_FALSE(opened.ok());
        CHECK(opened.failure().code == WEFT_EINVAL);
    }
    CHECK(world.cache.query(client.session, 0, "namespaces", world.time)->find("t/other") ==
          std::string::npos);
    CHECK(client.now(word_of(Verb::advance, 3)).status == 0);
    CHECK(keeper.kept.find("t/m") != std::string::npos);
}
