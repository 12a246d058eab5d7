// A node's cache against processes that say what they must not: rights and their absence, limits of
// what waits and of what is walked, text that cannot be kept. (What a request does is in
// writing_test.cpp and waiting_test.cpp, what a namespace keeps in namespace_test.cpp.)
#include <doctest/doctest.h>

#include "capi/weft.h"
#include "tests/unit/world.h"

using namespace weft;

namespace {

constexpr const char* kPlain = "part_bytes=4096";

/** What a process was given of each segment. */
class Noting final : public Process {
  public:
    bool push_segment(uint64_t, const Segment&, bool write) override {
        pushed++;
        writable += write ? 1 : 0;
        return true;
    }
    bool drop_segment(uint64_t, uint32_t) override { return true; }
    uint32_t pushed = 0;
    uint32_t writable = 0;
};

Grants only(uint32_t rights) { return {{"t/m", rights}}; }

int32_t of_item(const Reply& reply) {
    return reply.items.empty() ? reply.status : reply.items[0].status;
}

}  // namespace

TEST_CASE("segments go to who may read or write right now, and to be written to who may write") {
    World world;
    World::Client& client = world.open(kPlain);
    for (auto [rights, pushed, writable] :
         {std::tuple{kRead, 1u, 0u}, {kWrite, 1u, 1u}, {kAdvance, 0u, 0u}, {kAdmin, 0u, 0u}}) {
        CAPTURE(rights);
        World other;
        World::Client& first = other.open(kPlain);
        Noting process;
        uint32_t session = *other.cache.begin_session(process, only(rights), 0);
        auto page = std::make_unique<ReaderPage>();
        memset(static_cast<void*>(page.get()), 0, sizeof(ReaderPage));
        Result<Opened> opened =
            other.cache.open_namespace(session, "t/m", "", page.get(), 0, other.time);
        REQUIRE(opened.ok());
        CHECK(opened->may_read() == (pushed == 1));
        CHECK(opened->may_write() == (writable == 1));
        CHECK(save(first, {1, 1}) == 0);
        CHECK(process.pushed == pushed);
        CHECK(process.writable == writable);
        // A token that is taken away: no more segments come.
        other.cache.set_grants(session, {});
        CHECK(other.cache.rights_in(session, opened->opening) == 0);
        CHECK(put(first, {1, 2}, 0) == 0);
        for (uint64_t i = 0; i < 1200; i++) put(first, {2, i});
        CHECK(process.pushed == pushed);
        other.cache.end_session(session, other.time);
    }
    CHECK(save(client, {1, 1}) == 0);
}

TEST_CASE("what is asked without the right is denied, and words end what they end all the same") {
    World world;
    World::Client& writer = world.open(kPlain);
    Reply held = writer.now(reserve_of({{1, 1}}));
    REQUIRE(held.items[0].status == 0);
    world.cache.set_grants(writer.session, only(kRead));
    CHECK(writer.now(reserve_of({{1, 2}})).status == -WEFT_EDENIED);
    CHECK(writer.now(word_of(Verb::advance, 1)).status == -WEFT_EDENIED);
    // It may publish no more; that it writes no more is heard, and its slot is free.
    CHECK(writer.now(word_of(Verb::commit, held.handle)).status == -WEFT_EDENIED);
    CHECK_FALSE(writer.sees({1, 1}));
    CHECK(writer.now(word_of(Verb::abort, held.handle)).status == -WEFT_EINVAL);
    world.cache.set_grants(writer.session, {});
    CHECK(writer.now(request_of(Verb::locate, {{1, 1}})).status == -WEFT_EDENIED);
    Result<std::string> told =
        world.cache.query(writer.session, writer.opened.opening, "stats", world.time);
    CHECK_FALSE(told.ok());
    world.cache.set_grants(writer.session, only(kAllRights));
    CHECK(put(writer, {1, 1}) == 0);
}

TEST_CASE("a floor that a process says it saw is believed of those who could empty the namespace") {
    World world;
    World::Client& owner = world.open(kPlain);
    for (auto [rights, floor] : {std::pair{kRead, 0u}, {kAdmin, 0u}, {kWrite, 7u}}) {
        CAPTURE(rights);
        FakeProcess process;
        uint32_t session = *world.cache.begin_session(process, only(rights), 0);
        auto page = std::make_unique<ReaderPage>();
        memset(static_cast<void*>(page.get()), 0, sizeof(ReaderPage));
        CHECK(world.cache.open_namespace(session, "t/m", "", page.get(), 7, world.time).ok());
        CHECK(owner.opened.space->floor() == floor);
        world.cache.end_session(session, world.time);
    }
}

TEST_CASE("requests that wait have a limit by all the blocks that they name") {
    World world;
    World::Client& writer = world.open(kPlain);
    REQUIRE(writer.now(reserve_of({{9, 9}})).items[0].status == 0);
    // One block of each is waited for; the others are misses at once, and take memory.
    Request request = request_of(Verb::wait, {{9, 9}});
    request.items.resize(Crowd::kAtLeast / 4 + 1, {{1, 1}, 0, kNoSlot, 0});
    AnsweredPtr first = writer.ask(request);
    CHECK(first->times == 0);
    AnsweredPtr second = writer.ask(request);
    REQUIRE(second->times == 1);
    CHECK(of_item(second->reply) == -WEFT_EQUOTA);
    world.pass(60000);
    CHECK(first->times == 1);
    // What was waited for is counted out.
    REQUIRE(writer.now(reserve_of({{9, 9}})).items[0].status == 0);
    AnsweredPtr third = writer.ask(request);
    CHECK(third->times == 0);
}

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

TEST_CASE("one publish names as many blocks as a stock has slots, and sizes that can be") {
    World world;
    World::Client& writer = world.open(kPlain);
    Request publish = request_of(Verb::publish, {{1, 1}});
    publish.items.resize(Writing::kStockMax + 1, publish.items[0]);
    CHECK(writer.now(publish).status == -WEFT_EINVAL);
    World::Client& any = world.open("", "t/any");
    CHECK(any.now(reserve_of({{1, 1}}, 0, 0, uint64_t{1} << 32)).status == -WEFT_EINVAL);
    // Larger than all memory: no class of slots comes to be for it.
    CHECK(of_item(any.now(reserve_of({{1, 1}}, 0, 0, UINT32_MAX))) == -WEFT_EQUOTA);
    CHECK(any.opened.space->slots().classes().empty());
}

TEST_CASE("a ring of the longest chains costs its writer its uses, and the node little") {
    World world;
    World::Client& client = world.open(kPlain);
    constexpr uint64_t kLength = 2000;
    uint32_t tip = kNoSlot;
    for (uint64_t i = 0; i < kLength; i++) {
        Request wanted = reserve_of({{1, i}}, 0, WEFT_LIST | WEFT_CHAIN);
        wanted.has_parent = i > 0;
        wanted.parent = {1, i - 1};
        Reply held = client.now(wanted);
        REQUIRE(held.items[0].status == 0);
        tip = held.items[0].slot;
        REQUIRE(client.now(word_of(Verb::commit, held.handle)).status == 0);
    }
    REQUIRE(put(client, {2, 1}) == 0);
    Namespace& space = *client.opened.space;
    uint32_t last = space.find({2, 1}, 0, world.time);
    world.pass(10000);
    uint32_t before = space.slots().info(last).touched;
    for (uint32_t i = 0; i < kTouchRecords; i++) {
        Touch use = i + 1 < kTouchRecords ? Touch{tip, Touch::kChainMost, 0} : Touch{last, 1, 0};
        client.page->touches[i].store_relaxed(use.pack());
    }
    client.page->touch_count.store_release(kTouchRecords);
    world.pass(10000);
    CHECK(space.slots().info(tip).touched > before);
    CHECK(space.slots().info(last).touched == before);
    // The next ones count again.
    client.page->touches[0].store_relaxed(Touch{last, 1, 0}.pack());
    client.page->touch_count.store_release(kTouchRecords + 1);
    world.pass(1000);
    CHECK(space.slots().info(last).touched > before);
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

TEST_CASE("a damaged file of state is refused in words, whatever stands in it") {
    for (const char* text :
         {"{", "[]", "{\"format\":\"1\"}", "{\"format\":1}", "{\"format\":1,\"namespaces\":[1]}",
          "{\"format\":1,\"namespaces\":{\"t/m\":{\"floor\":\"x\",\"config\":{}}}}",
          "{\"format\":1,\"namespaces\":{\"t/m\":{\"floor\":1}}}",
          "{\"format\":1,\"namespaces\":{\"no name\":{\"floor\":1,\"config\":{}}}}",
          "{\"format\":1,\"namespaces\":{\"t/m\":{\"floor\":1.5,\"config\":{}}}}",
          "{\"format\":1,\"namespaces\":{\"t/m\":{\"floor\":-1,\"config\":{}}}}",
          "{\"format\":1,\"namespaces\":{\"t/m\":{\"floor\":1e300,\"config\":{}}}}",
          "{\"format\":1,\"namespaces\":{},\"dropped_floors\":{\"a\":\"b\"}}",
          "{\"format\":1,\"namespaces\":{},\"dropped_floors\":{\"a\":18446744073709551616}}",
          "{\"format\":1,\"namespaces\":[]}", "{\"format\":1,\"namespaces\":null}",
          "{\"format\":1,\"namespaces\":{\"t/m\":{\"floor\":1,\"config\":[]}}}",
          "{\"format\":1,\"namespaces\":{},\"dropped_floors\":[1]}"}) {
        CAPTURE(text);
        World world;
        Status restored = world.cache.restore(text);
        REQUIRE_FALSE(restored.ok());
        CHECK(restored.failure().code == WEFT_ECORRUPT);
        CHECK(restored.failure().message.starts_with("state: "));
    }
}

TEST_CASE("a session's end takes all its openings along, also where the disk takes nothing") {
    FakeKeeper keeper;
    World world(uint64_t{64} << 20, &keeper);
    World::Client& owner = world.open(kPlain);
    FakeProcess process;
    uint32_t session = *world.cache.begin_session(process, {{"*", kAllRights}}, 0);
    auto page = std::make_unique<ReaderPage>();
    memset(static_cast<void*>(page.get()), 0, sizeof(ReaderPage));
    // Its first opening is the one whose end is told to the disk.
    std::vector<uint64_t> openings;
    for (const char* name : {"a/dropped", "b/kept", "c/kept"}) {
        Result<Opened> opened =
            world.cache.open_namespace(session, name, kPlain, page.get(), 0, world.time);
        REQUIRE(opened.ok());
        openings.push_back(opened->opening);
    }
    REQUIRE(world.cache.query(session, openings[0], "drop", world.time).ok());
    keeper.fails = true;
    world.cache.end_session(session, world.time);
    page.reset();  // nobody looks at it any more
    world.pass(1000);
    Result<std::string> stats = world.cache.query(owner.session, 0, "stats", world.time);
    REQUIRE(stats.ok());
    CHECK(stats->find("\"name\":\"b/kept\",\"openings\":0") != std::string::npos);
    CHECK(stats->find("\"name\":\"c/kept\",\"openings\":0") != std::string::npos);
}

TEST_CASE("what a session holds stays while its process has no connection, which is told") {
    World world;
    World::Client& client = world.open(kPlain);
    FakeProcess process;
    uint32_t session = *world.cache.begin_session(process, {{"*", kAllRights}}, 0);
    auto page = std::make_unique<ReaderPage>();
    memset(static_cast<void*>(page.get()), 0, sizeof(ReaderPage));
    REQUIRE(world.cache.open_namespace(session, "a/held", kPlain, page.get(), 0, world.time).ok());
    auto rows = [&] {
        Result<std::string> told = world.cache.query(client.session, 0, "processes", world.time);
        REQUIRE(told.ok());
        return *told;
    };
    auto told = [&](const char* words) { return rows().find(words) != std::string::npos; };
    CHECK(!told("\"connected\":false"));
    world.cache.set_connected(session, false, world.time);
    world.pass(12000);
    CHECK(told("\"connected\":false,\"namespace\":\"a/held\""));
    CHECK(told("\"apart_s\":12,"));
    CHECK(told("\"connected\":true"));  // the other one
    world.cache.set_connected(session, true, world.time);
    CHECK(!told("\"connected\":false"));
    world.cache.end_session(session, world.time);
    CHECK(!told("a/held"));
}

TEST_CASE("a use tells of 1,048,575 blocks of a chain at most, and of no fewer for being longer") {
    for (uint32_t length : {1U, Touch::kChainMost, Touch::kChainMost + 1, UINT32_MAX}) {
        Touch use = Touch::unpack(Touch{7, length, 3}.pack());
        CHECK(use.length == std::min(length, Touch::kChainMost));
        CHECK((use.slot == 7 && use.hint == 3));
    }
}
