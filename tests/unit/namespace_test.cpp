// What is published and how it goes: find, evict, limbo under a held hazard, expiry, fence, flush,
// segments that move, and the memory that a block costs beside its bytes.
#include "core/space/namespace.h"

#include <nlohmann/json.hpp>

#include "tests/unit/world.h"

using namespace weft;

namespace {

constexpr Key kKey{1, 1};

/** Holds the block as a view does. */
Look hold(World::Client& client, Key key, uint32_t& cell, Found& found) {
    cell = client.cells->take(0);
    return client.reader().hold(key, hash_key(key), client.opened.version, client.world->time,
                                client.cells->word(cell), found);
}
uint64_t reason(World::Client& client, Key key) {
    return client.now(request_of(Verb::locate, {key})).items[0].value;
}

}  // namespace

TEST_CASE("a published block is found by its key and version and by no other") {
    World world;
    World::Client& a = world.open("part_bytes=4096");
    World::Client& b = world.open("version=1");
    CHECK(save(a, kKey) == 0);
    CHECK(a.sees(kKey));
    CHECK_FALSE(a.sees({1, 2}));
    CHECK_FALSE(b.sees(kKey));
    CHECK(reason(b, kKey) == WEFT_MISS_FENCED);
    CHECK(reason(a, {1, 2}) == WEFT_MISS_ABSENT);
    CHECK(save(b, kKey) == 0);
    CHECK(b.sees(kKey));
    CHECK(a.opened.space->blocks() == 2);
}

TEST_CASE("a slot that is viewed stays in limbo, bytes and all, until the view ends") {
    World world;
    World::Client& a = world.open("part_bytes=4096");
    CHECK(save(a, kKey) == 0);
    uint32_t cell;
    Found found;
    REQUIRE(hold(a, kKey, cell, found) == Look::hit);
    CHECK(a.now(request_of(Verb::remove, {kKey})).items[0].status == 0);
    SlotInfo& info = a.opened.space->slots().info(found.slot);
    for (int i = 0; i < 4; i++) world.pass(250);
    CHECK(info.state == static_cast<uint8_t>(SlotState::limbo));
    CHECK(a.opened.space->limbo() == 1);
    CHECK_FALSE(a.sees(kKey));
    CHECK(reason(a, kKey) == WEFT_MISS_ABSENT);
    a.cells->give(cell);
    world.pass(250);
    CHECK(info.state == static_cast<uint8_t>(SlotState::free));
    CHECK(a.opened.space->limbo() == 0);
}

TEST_CASE("foreign ids in a reader's page keep nothing from anybody") {
    World world;
    World::Client& a = world.open("part_bytes=4096");
    for (uint32_t cell = 0; cell < 64; cell++)
        a.page->cells[cell].store_release(cell == 0 ? UINT64_MAX : uint64_t{1} << cell);
    CHECK(save(a, kKey) == 0);
    a.now(request_of(Verb::remove, {kKey}));
    world.pass(250);
    CHECK(a.opened.space->limbo() <= 1);
    a.page->touch_count.store_release(UINT64_MAX);
    world.pass(250);
    a.page->touch_count.store_release(3);
    world.pass(250);
    CHECK(save(a, kKey) == 0);
}

TEST_CASE("a full namespace evicts the oldest in small batches and says so") {
    World world(uint64_t{8} << 20);
    World::Client& a = world.open("part_bytes=65536");
    uint64_t count = 0;
    while (a.opened.space->stats_now().evicted == 0) REQUIRE(save(a, {3, count++}, 0, 65536) == 0);
    CHECK(a.opened.space->stats_now().evicted <= 8);
    CHECK_FALSE(a.sees({3, 0}));
    CHECK(reason(a, {3, 0}) == WEFT_MISS_EVICTED);
    CHECK(a.sees({3, count - 1}));
    CHECK(a.sees({3, count / 2}));
}

TEST_CASE("a cache that is full takes every new block, however many there have been") {
    for (uint64_t bytes : {uint64_t{256}, uint64_t{1000}, uint64_t{4096}}) {
        World world(uint64_t{8} << 20);
        World::Client& a = world.open("part_bytes=" + std::to_string(bytes));
        for (uint64_t i = 0; i < 60000; i++)
            REQUIRE(save(a, Key{i * 0x9e3779b97f4a7c15, i}, 0, bytes) == 0);
        CHECK(a.opened.space->stats_now().evicted > 10000);
    }
}

TEST_CASE("what is pinned or viewed is passed over by eviction") {
    World world(uint64_t{8} << 20);
    World::Client& a = world.open("part_bytes=65536");
    for (uint64_t i = 0; i < 3; i++) REQUIRE(save(a, {3, i}, 0, 65536) == 0);
    Reply pin = a.now(request_of(Verb::match, {Key{3, 0}}, WEFT_PIN));
    CHECK(pin.value == 1);
    uint32_t cell;
    Found found;
    REQUIRE(hold(a, {3, 1}, cell, found) == Look::hit);
    for (uint64_t i = 10; i < 400; i++) REQUIRE(save(a, {3, i}, 0, 65536) == 0);
    CHECK(a.sees({3, 0}));
    CHECK(a.sees({3, 1}));
    CHECK_FALSE(a.sees({3, 2}));
    a.now(request_of(Verb::release, {Key{0, pin.handle}}));
    a.cells->give(cell);
    for (uint64_t i = 400; i < 800; i++) REQUIRE(save(a, {3, i}, 0, 65536) == 0);
    CHECK_FALSE(a.sees({3, 0}));
    CHECK_FALSE(a.sees({3, 1}));
}

TEST_CASE("a chain saved in several batches leaves leaves first") {
    World world(uint64_t{8} << 20);
    World::Client& a = world.open("part_bytes=65536");
    constexpr uint64_t kChain = 20;
    for (uint64_t i = 0; i < kChain; i++) {
        Request chain = reserve_of({Key{5, i}}, 0, WEFT_LIST | WEFT_CHAIN);
        chain.has_parent = i > 0;
        chain.parent = {5, i - 1};
        REQUIRE(a.now(word_of(Verb::commit, a.now(std::move(chain)).handle)).status == 0);
    }
    for (uint64_t i = 0; a.sees({5, kChain - 1}); i++) REQUIRE(save(a, {6, i}, 0, 65536) == 0);
    for (uint64_t i = 0; i + 4 < kChain; i++) CHECK(a.sees({5, i}));
    for (uint64_t i = 1000; a.sees({5, 1}); i++) REQUIRE(save(a, {6, i}, 0, 65536) == 0);
    CHECK_FALSE(a.sees({5, 2}));
}

TEST_CASE("an expired block is returned by nobody from its expiry on, and swept") {
    World world;
    World::Client& a = world.open("part_bytes=4096,ttl_s=100");
    CHECK(save(a, kKey, 0, 4096, 1) == 0);
    CHECK(save(a, {1, 2}) == 0);
    world.time += 999 * fabric::kMillisecond;
    CHECK(a.sees(kKey));
    world.time += 1 * fabric::kMillisecond;
    CHECK_FALSE(a.sees(kKey));
    CHECK(a.opened.space->find(kKey, 0, world.time) == kNoSlot);
    CHECK(reason(a, kKey) == WEFT_MISS_EXPIRED);
    CHECK(save(a, kKey) == 0);  // the place is free before the sweep
    CHECK(a.sees(kKey));
    world.pass(250);
    CHECK(a.opened.space->stats_now().expired == 1);
    CHECK(a.sees(kKey));
    world.pass(101'000);
    CHECK(a.opened.space->blocks() == 0);
}

TEST_CASE("a pinned match counts only what outlives the pin, and a touch cannot shorten it") {
    World world;
    World::Client& a = world.open("part_bytes=4096,pin_s=60");
    CHECK(save(a, {1, 1}, 0, 4096, 100) == 0);
    CHECK(save(a, {1, 2}, 0, 4096, 30) == 0);
    Reply pin = a.now(request_of(Verb::match, {Key{1, 1}, Key{1, 2}}, WEFT_PIN | WEFT_LIST));
    CHECK(pin.value == 1);
    CHECK(pin.detail == WEFT_MISS_EXPIRED);
    Request touch = request_of(Verb::touch, {Key{1, 1}});
    touch.ttl_s = 1;
    a.now(std::move(touch));
    world.pass(50'000);
    CHECK(a.sees({1, 1}));
    world.pass(11'000);  // the pin's time is over
    Request again = request_of(Verb::touch, {Key{1, 1}});
    again.ttl_s = 1;
    a.now(std::move(again));
    world.pass(1'000);
    CHECK_FALSE(a.sees({1, 1}));
}

TEST_CASE("pins come to a named limit") {
    World world;
    World::Client& a = world.open("part_bytes=256");
    CHECK(save(a, {1, 1}, 0, 256) == 0);
    CHECK(save(a, {1, 2}, 0, 256) == 0);
    uint32_t pins = 0;
    Reply refused;
    while (refused.status == 0) {
        refused = a.now(request_of(Verb::match, {Key{1, 1}}, WEFT_PIN));
        pins += refused.status == 0 ? 1 : 0;
    }
    CHECK(refused.status == -WEFT_EQUOTA);
    CHECK(refused.message.find("65535 times") != std::string::npos);  // of one block
    CHECK(pins == 65535);
    CHECK(a.now(request_of(Verb::match, {Key{1, 2}}, WEFT_PIN)).handle != 0);
    refused = a.now(request_of(Verb::match, {Key{1, 2}}, WEFT_PIN));
    CHECK(refused.status == -WEFT_EQUOTA);
    CHECK(refused.message.find("pins=65536") != std::string::npos);
}

TEST_CASE("a fence hides every older block at once and frees them in time") {
    World world;
    World::Client& a = world.open("part_bytes=4096");
    for (uint64_t i = 0; i < 10; i++) CHECK(save(a, {1, i}) == 0);
    CHECK(a.now(word_of(Verb::advance, 2)).value == 2);
    CHECK(a.reader().floor() == 2);
    CHECK(a.opened.space->find({1, 0}, 0, world.time) == kNoSlot);
    CHECK(a.now(request_of(Verb::match, {Key{1, 0}})).status == -WEFT_EFENCED);
    CHECK(a.now(word_of(Verb::advance, 1)).value == 2);  // floors never fall
    for (int i = 0; i < 4; i++) world.pass(250);
    CHECK(a.opened.space->blocks() == 0);
    CHECK(a.opened.space->stats_now().fenced == 10);
}

TEST_CASE("advance says that it is done only when the floor is on disk, also when asked again") {
    FakeKeeper keeper;
    World world(uint64_t{64} << 20, &keeper);
    World::Client& a = world.open("part_bytes=4096");
    keeper.fails = true;
    Reply failed = a.now(word_of(Verb::advance, 4));
    CHECK(failed.status == -WEFT_EINTERNAL);
    CHECK(failed.message.find("full") != std::string::npos);
    CHECK(a.now(word_of(Verb::advance, 4)).status == -WEFT_EINTERNAL);
    keeper.fails = false;
    CHECK(a.now(word_of(Verb::advance, 4)).value == 4);
    nlohmann::json kept = nlohmann::json::parse(keeper.kept);
    CHECK(kept["namespaces"]["t/m"]["floor"] == 4);
    FakeMemory memory;
    Cache successor(World::options_of(uint64_t{64} << 20), memory, nullptr);
    REQUIRE(successor.restore(keeper.kept).ok());
    FakeProcess process;
    ReaderPage page{};
    uint32_t session = *successor.begin_session(process, {{"*", kAllRights}}, 0);
    Result<Opened> old = successor.open_namespace(session, "t/m", "version=3", &page, 0, 1);
    REQUIRE_FALSE(old.ok());
    CHECK(old.failure().code == WEFT_EFENCED);
    CHECK(successor.open_namespace(session, "t/m", "", &page, 0, 1)->version == 4);
    successor.end_session(session, 1);
}

TEST_CASE("flush takes the blocks of one version, or all") {
    World world;
    World::Client& a = world.open("part_bytes=4096");
    World::Client& b = world.open("version=1");
    CHECK(save(a, kKey) == 0);
    CHECK(save(b, kKey) == 0);
    REQUIRE(world.cache.query(a.session, a.opened.opening, "flush version=0", world.time).ok());
    CHECK_FALSE(a.sees(kKey));
    CHECK(b.sees(kKey));
    REQUIRE(world.cache.query(a.session, a.opened.opening, "flush", world.time).ok());
    CHECK_FALSE(b.sees(kKey));
}

TEST_CASE("a dropped namespace gives back all of the memory that it was charged with") {
    World world;
    auto used = [&] {
        Result<std::string> stats = world.cache.query(world.clients[0]->session, 0, "stats", 0);
        size_t at = stats->find("\"memory_used\":");
        return stats->substr(at, stats->find(',', at) - at);
    };
    World::Client& other = world.open("part_bytes=4096", "t/other");
    REQUIRE(put(other, kKey) == 0);
    const std::string before = used();
    World::Client& a = world.open("part_bytes=0");
    for (uint64_t i = 1; i <= 100; i++) REQUIRE(save(a, {i, i}, 0, 256) == 0);
    CHECK(used() != before);
    REQUIRE(world.cache.query(a.session, a.opened.opening, "drop", world.time).ok());
    a.close();
    CHECK(used() == before);
}

TEST_CASE("a segment that the machine has no memory for leaves nothing behind") {
    World world;
    World::Client& a = world.open("part_bytes=0");
    REQUIRE(save(a, kKey, 0, 65536, 60) == 0);  // expires, so that all slots are looked at
    world.memory.data_fails = true;
    CHECK(save(a, {2, 2}, 0, 256) < 0);
    for (int i = 0; i < 100; i++) world.pass(250);
    CHECK(a.sees(kKey));
    world.memory.data_fails = false;
    CHECK(save(a, {2, 2}, 0, 256) == 0);
    CHECK(a.sees({2, 2}));
}

TEST_CASE("a retired segment is punched when nothing holds it and every process has let it go") {
    World world;
    World::Client& a = world.open("part_bytes=65536");
    World::Client& b = world.open("");
    REQUIRE(put(a, kKey) == 0);
    Namespace& space = *a.opened.space;
    uint32_t cell;
    Found found;
    REQUIRE(hold(a, kKey, cell, found) == Look::hit);
    Segment& segment = space.slots().segment_of(found.slot);
    uint32_t id = segment.id;
    space.retire(segment, world.time);
    CHECK_FALSE(a.sees(kKey));
    CHECK(reason(a, kKey) == WEFT_MISS_EVICTED);
    world.pass(2000);
    CHECK(space.slots().segment(id) != nullptr);  // viewed
    b.process->confirms = false;
    a.cells->give(cell);
    world.pass(250);
    world.pass(2000);
    CHECK(space.slots().segment(id) != nullptr);  // b has not confirmed
    CHECK(world.memory.punched == 0);
    uint32_t asked = b.process->drops;
    world.cache.keep_only(b.session, b.opened.opening, {}, {}, world.time);  // it was away
    CHECK(b.process->drops == asked + 1);
    world.cache.confirm_drop(b.opened.opening, id, world.time);
    CHECK(space.slots().segment(id) == nullptr);
    CHECK(world.memory.punched == 1);
    b.process->confirms = true;
    REQUIRE(put(a, kKey) == 0);
    REQUIRE(hold(a, kKey, cell, found) == Look::hit);
    CHECK(found.segment != id);  // an id is never given twice
}

TEST_CASE("a new segment's slots are given out when every process has it, or a second has passed") {
    World world;
    World::Client& a = world.open("part_bytes=4096");
    World::Client& b = world.open("");
    b.process->confirms = false;
    AnsweredPtr held = a.ask(reserve_of({kKey}));
    CHECK(held->times == 0);
    world.cache.confirm_segment(b.opened.opening, 0, world.time);
    world.deliver();
    CHECK(held->times == 1);
    World other;
    World::Client& c = other.open("part_bytes=4096");
    World::Client& late = other.open("");
    late.process->confirms = false;
    AnsweredPtr waits = c.ask(reserve_of({kKey}));
    other.pass(900);
    CHECK(waits->times == 0);
    other.pass(200);
    CHECK(waits->times == 1);
}

TEST_CASE("a process that was late with a segment is waited for again when it has confirmed one") {
    World world;
    World::Client& a = world.open("part_bytes=0");
    World::Client& late = world.open("");
    late.process->confirms = false;
    uint64_t slot_bytes = 256;
    // A reservation of a new size is one of a new segment.
    auto reserve = [&] {
        slot_bytes *= 2;
        return a.ask(reserve_of({Key{2, slot_bytes}}, 0, 0, slot_bytes));
    };
    AnsweredPtr first = reserve();
    world.pass(600);
    AnsweredPtr second = reserve();
    CHECK(second->times == 0);
    world.pass(500);
    CHECK(first->times == 1);
    CHECK(second->times == 1);  // for which it was not late yet
    CHECK(reserve()->times == 1);
    world.cache.confirm_segment(late.opened.opening, 0, world.time);
    AnsweredPtr again = reserve();
    CHECK(again->times == 0);
    world.pass(1100);
    CHECK(again->times == 1);
}

TEST_CASE("a namespace is not emptied for memory that a stopped process keeps") {
    World world(uint64_t{32} << 20);
    constexpr uint64_t kBytes = 65536;
    World::Client& big = world.open("part_bytes=65536", "t/big");
    World::Client& stopped = world.open("", "t/big");
    World::Client& small = world.open("part_bytes=65536", "t/small");
    for (uint64_t i = 0; i < 600; i++) REQUIRE(save(big, {1, i}, 0, kBytes) == 0);
    Slots& of_big = big.opened.space->slots();
    Slots& of_small = small.opened.space->slots();
    uint64_t next = 0;
    auto press = [&](uint32_t ticks) {
        for (uint32_t tick = 0; tick < ticks; tick++) {
            for (int i = 0; i < 20; i++) put(small, {2, next++}, kBytes);
            world.pass(250);
        }
    };
    auto retiring = [&] {
        return std::ranges::count_if(of_big.segments(),
                                     [](const auto& entry) { return entry.second->retiring; });
    };
    AnsweredPtr room = small.ask(reserve_of({{3, 3}}, 0, 0, kBytes));
    for (int i = 0; i < 8 && room->times == 0; i++) world.pass(250);
    REQUIRE(room->times == 1);
    REQUIRE(room->reply.items[0].status == 0);
    REQUIRE(retiring() == 0);

    stopped.process->confirms = false;
    press(4);  // what was left is taken, and a segment is on its way
    uint64_t held = of_small.data_bytes();
    press(20);
    CHECK(retiring() == 1);
    CHECK(of_small.data_bytes() == held);
    CHECK(big.opened.space->blocks() > 200);
    stopped.process->confirms = true;
    for (auto& [id, segment] : of_big.segments()) {
        if (!segment->retiring) continue;
        world.cache.confirm_drop(stopped.opened.opening, id, world.time);
        break;
    }
    press(20);
    CHECK(retiring() <= 1);
    CHECK(of_small.data_bytes() > held);
}

TEST_CASE("where a stopped process keeps one namespace's memory another gives") {
    World world(uint64_t{16} << 20);
    constexpr uint64_t kBytes = 65536;
    World::Client& stopped = world.open("part_bytes=65536", "t/stopped");
    World::Client& other = world.open("part_bytes=65536", "t/other");
    World::Client& wants = world.open("part_bytes=65536", "t/wants");
    for (uint64_t i = 0; i < 80; i++) REQUIRE(save(other, {1, i}, 0, kBytes) == 0);
    for (uint64_t i = 0; i < 140; i++) save(stopped, {1, i}, 0, kBytes);
    uint64_t held = other.opened.space->slots().data_bytes();
    REQUIRE(stopped.opened.space->slots().data_bytes() > held);
    stopped.process->confirms = false;
    // The largest is to give first, in vain.
    AnsweredPtr room = wants.ask(reserve_of({{2, 1}}, 0, 0, kBytes));
    for (int i = 0; i < 12 && room->times == 0; i++) world.pass(250);
    REQUIRE(room->times == 1);
    CHECK(room->reply.items[0].status == 0);
    CHECK(other.opened.space->slots().data_bytes() < held);
}

TEST_CASE("segments that come and go cost their headers once") {
    World world(uint64_t{8} << 20);
    World::Client& a = world.open("part_bytes=256");
    Namespace& space = *a.opened.space;
    REQUIRE(put(a, {1, 0}) == 0);
    uint64_t index_bytes = space.slots().index_bytes();
    for (uint64_t i = 1; i < 200; i++) {
        uint32_t slot = space.find({1, i - 1}, 0, world.time);
        REQUIRE(slot != kNoSlot);
        Segment& segment = space.slots().segment_of(slot);
        space.retire(segment, world.time);
        world.pass(250);
        REQUIRE(put(a, {1, i}) == 0);
    }
    CHECK(space.slots().index_bytes() == index_bytes);
}

TEST_CASE("a quota that is no multiple of a page is used") {
    World world;
    World::Client& a = world.open("part_bytes=300,quota=1000000");
    for (uint64_t i = 0; i < 5000; i++) REQUIRE(save(a, {1, i}, 0, 300) == 0);
    CHECK(a.opened.space->slots().data_bytes() <= 1'000'000);
    CHECK(a.opened.space->blocks() > 2'000);
}

TEST_CASE("a large block has its own segment, which goes when the block goes") {
    World world(uint64_t{256} << 20);
    World::Client& a = world.open("");
    uint64_t bytes = uint64_t{100} << 20;
    for (uint64_t i = 0; i < 5; i++) {
        AnsweredPtr held = a.ask(reserve_of({Key{1, i}}, 0, 0, bytes));
        world.pass(250);
        REQUIRE(held->times == 1);
        REQUIRE(held->reply.items[0].status == 0);
        REQUIRE(a.now(word_of(Verb::commit, held->reply.handle)).detail == 1);
        CHECK(a.sees({1, i}));
    }
    CHECK(a.opened.space->slots().data_bytes() <= uint64_t{256} << 20);
}

TEST_CASE("what a hostile process asks is refused") {
    World world;
    World::Client& a = world.open("part_bytes=4096");
    Request part = reserve_of({kKey}, 7);
    CHECK(a.now(std::move(part)).status == -WEFT_EINVAL);
    CHECK(a.now(request_of(Verb::publish, {}, WEFT_CHAIN)).status == -WEFT_EINVAL);
    CHECK(a.now(request_of(Verb::stock, {})).status == -WEFT_EINVAL);
    CHECK(a.now(reserve_of({kKey}, 0, 0, UINT64_MAX)).status == -WEFT_EINVAL);
    Request publish = request_of(Verb::publish, {kKey}, 0, 4096);
    publish.items[0].slot = 12345678;
    CHECK(a.now(std::move(publish)).items[0].status == -WEFT_EINVAL);
    CHECK(a.now(word_of(Verb::commit, UINT64_MAX)).status == -WEFT_EINVAL);
}

TEST_CASE("a reader may look and nothing else") {
    World world;
    World::Client& writer = world.open("part_bytes=4096");
    CHECK(save(writer, kKey) == 0);
    World::Client& reader = world.open("", "t/m", {{"t/*", kRead}});
    CHECK(reader.sees(kKey));
    CHECK(reader.now(request_of(Verb::match, {kKey})).value == 1);
    for (Verb verb : {Verb::stock, Verb::publish, Verb::reserve, Verb::remove})
        CHECK(reader.now(request_of(verb, {kKey})).status == -WEFT_EDENIED);
    CHECK(reader.now(request_of(Verb::wait, {kKey}, WEFT_CLAIM)).status == -WEFT_EDENIED);
    CHECK(reader.now(word_of(Verb::advance, 9)).status == -WEFT_EDENIED);
    CHECK_FALSE(world.cache.query(reader.session, reader.opened.opening, "flush", world.time).ok());
}

TEST_CASE("a million blocks of 256 bytes cost at most 128 bytes each beside their bytes") {
    constexpr uint64_t kBlocks = 1'000'000;
    World world(uint64_t{512} << 20);
    World::Client& a = world.open("part_bytes=256");
    Namespace& space = *a.opened.space;
    for (uint64_t i = 0; i < kBlocks; i++) {
        Result<uint32_t> slot = space.allocate(256, world.time, SlotState::stocked);
        REQUIRE(slot.ok());
        Publication block;
        block.key = {i * 0x9e3779b97f4a7c15, i};
        block.size = 256;
        block.checksums = {&i, 1};
        REQUIRE(space.publish(*slot, block, kNoSlot, world.time));
    }
    CHECK(space.blocks() == kBlocks);
    CHECK(space.stats_now().evicted == 0);
    double bytes = static_cast<double>(space.slots().index_bytes() + space.private_bytes() +
                                       space.slots().infos().bytes());
    MESSAGE("bytes of metadata a block: ", bytes / kBlocks);
    CHECK(bytes / kBlocks <= 128);
    CHECK(a.sees({(kBlocks - 1) * 0x9e3779b97f4a7c15, kBlocks - 1}));
}

TEST_CASE("a pin goes on with the block that replaces the one it was taken on") {
    World world;
    World::Client& a = world.open("part_bytes=4096,quota=65536,pin_s=60");
    auto fill = [&](uint64_t first) {
        for (uint64_t i = 0; i < 64; i++) REQUIRE(save(a, {first, i}) == 0);
    };
    REQUIRE(save(a, kKey) == 0);
    Reply pinned = a.now(request_of(Verb::match, {kKey}, WEFT_PIN));
    REQUIRE(pinned.handle != 0);
    REQUIRE(save(a, kKey, WEFT_REPLACE) == 0);
    REQUIRE(save(a, kKey, WEFT_REPLACE, 4096, 1) == 0);
    fill(2);
    CHECK(a.sees(kKey));
    world.pass(2000);  // the replacement's own time; what was pinned had none
    CHECK(a.sees(kKey));
    Request release = request_of(Verb::release, {Key{0, pinned.handle}});
    CHECK(a.now(std::move(release)).value == 1);
    fill(3);
    CHECK_FALSE(a.sees(kKey));
}

TEST_CASE("what replaces a pinned block outlives its own time by no more than a pin lasts") {
    World world;
    World::Client& a = world.open("part_bytes=4096,pin_s=60");
    REQUIRE(save(a, kKey) == 0);
    REQUIRE(a.now(request_of(Verb::match, {kKey}, WEFT_PIN)).handle != 0);
    REQUIRE(save(a, kKey, WEFT_REPLACE, 4096, 1) == 0);
    world.pass(59'000);
    CHECK(a.sees(kKey));
    world.pass(2'000);
    CHECK_FALSE(a.sees(kKey));
}
