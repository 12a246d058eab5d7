// What is remembered of blocks that left, and that it stays bounded.
#include "core/stats/ghosts.h"

#include <doctest/doctest.h>

#include "capi/weft.h"
#include "core/index/layout.h"

using namespace weft;

TEST_CASE("a ghost tells why its block is gone until it is forgotten") {
    Ghosts ghosts;
    uint64_t hash = hash_key({1, 2});
    ghosts.remember(hash, WEFT_MISS_EVICTED);
    CHECK(ghosts.reason(hash) == 0);  // no room yet
    ghosts.grow(1000);
    ghosts.remember(hash, WEFT_MISS_EVICTED);
    CHECK(ghosts.reason(hash) == WEFT_MISS_EVICTED);
    ghosts.remember(hash, WEFT_MISS_EXPIRED);
    CHECK(ghosts.reason(hash) == WEFT_MISS_EXPIRED);
    CHECK(ghosts.reason(hash_key({1, 3})) == 0);
    ghosts.forget(hash);
    CHECK(ghosts.reason(hash) == 0);
}

TEST_CASE("ghosts survive growth and take at most 8 bytes a slot") {
    Ghosts ghosts;
    ghosts.grow(512);
    for (uint64_t i = 0; i < 64; i++) ghosts.remember(hash_key({i, i}), WEFT_MISS_FENCED);
    uint32_t before = 0;
    for (uint64_t i = 0; i < 64; i++)
        before += ghosts.reason(hash_key({i, i})) == WEFT_MISS_FENCED ? 1 : 0;
    CHECK(before > 40);
    ghosts.grow(100'000);
    uint32_t after = 0;
    for (uint64_t i = 0; i < 64; i++)
        after += ghosts.reason(hash_key({i, i})) == WEFT_MISS_FENCED ? 1 : 0;
    CHECK(after == before);
    for (uint64_t i = 0; i < 1'000'000; i++) ghosts.remember(hash_key({i, 0}), WEFT_MISS_EVICTED);
    CHECK(ghosts.bytes() <= 8 * 100'000);
}

TEST_CASE(
    "of two blocks that have one place of 4,096 the later one is remembered, and all others") {
    Ghosts ghosts;
    ghosts.grow(1);
    CHECK(ghosts.bytes() == 4096 * 8);
    auto hash = [](uint64_t place) { return place << 20 | uint64_t{1} << 60; };
    for (uint64_t i = 0; i < 4096; i++) ghosts.remember(hash(i), WEFT_MISS_EVICTED);
    ghosts.remember(hash(4096 + 7), WEFT_MISS_EXPIRED);
    CHECK(ghosts.reason(hash(4096 + 7)) == WEFT_MISS_EXPIRED);
    uint32_t forgotten = 0;
    for (uint64_t i = 0; i < 4096; i++)
        forgotten += ghosts.reason(hash(i)) == WEFT_MISS_EVICTED ? 0 : 1;
    CHECK(forgotten == 1);
    CHECK(ghosts.reason(hash(7)) == 0);
}
