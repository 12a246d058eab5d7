// What a process knows of a namespace over its node's incarnations.
#include "core/node/space.h"

#include <doctest/doctest.h>

#include <thread>

using namespace weft;

TEST_CASE("a word on a reservation is heard, or ended, while the node's next incarnation comes") {
    alignas(4096) static std::byte index[kIndexPage];
    static ReaderPage pages[2];
    std::shared_ptr<Mapped> mapped[2];  // each incarnation after the other; shared with the space
    for (int i = 0; i < 2; i++)
        mapped[i] = std::make_shared<Mapped>(i + 1, NamespaceConfig(), 0, index, &pages[i]);
    Space space(1, "t/m", "", mapped[0]);
    constexpr uint64_t kRounds = 4'000;
    std::atomic<uint64_t> begun{0};
    std::atomic<uint64_t> adopted{0};
    std::thread link([&] {
        for (uint64_t round = 1; round <= kRounds; round++) {
            while (begun.load() < round) std::this_thread::yield();
            space.adopt(mapped[round % 2]);
            adopted.store(round);
        }
    });
    uint64_t heard = 0;
    uint64_t ended = 0;
    uint64_t left_open = 0;
    uint64_t told_twice = 0;
    for (uint64_t round = 1; round <= kRounds; round++) {
        mapped[(round - 1) % 2]->reservations.fetch_add(1);
        space.know_reservation(round);
        auto adopt = [&] {
            begun.store(round);
            while (adopted.load() < round) std::this_thread::yield();
        };
        Space::Word word;
        if (round % 4 == 0) {  // before it, behind it, and twice beside it
            word = space.hear(round, true);
            adopt();
        } else if (round % 4 == 1) {
            adopt();
            word = space.hear(round, true);
        } else {
            begun.store(round);
            for (uint64_t i = 0; i < round % 64; i++) adopted.load();
            word = space.hear(round, true);
            adopt();
        }
        heard += word == Space::Word::heard ? 1 : 0;
        ended += word == Space::Word::ended ? 1 : 0;
        left_open += space.open_reservations();
        told_twice += space.hear(round, true) == Space::Word::unknown ? 0 : 1;
        space.prune();
    }
    link.join();
    CHECK(heard + ended == kRounds);
    CHECK(heard >= kRounds / 4);
    CHECK(ended >= kRounds / 4);
    CHECK(left_open == 0);
    CHECK(told_twice == 0);
    CHECK(mapped[0]->reservations.load() == 0);
    CHECK(mapped[1]->reservations.load() == 0);
}
