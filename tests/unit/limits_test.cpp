// The limits of a node that no scenario reaches, each reached: what is refused, in which words, and
// that there is room again when something was given back. The table of all limits is in
// core/README.md; tests/tidy holds it and the sources together.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "capi/weft.h"
#include "core/node/space.h"
#include "fabric/log/log.h"
#include "tests/unit/world.h"

using namespace weft;

namespace {

constexpr const char* kSmall = "part_bytes=256,write_s=3600";

bool says(const std::string& words, const std::string& part) {
    return words.find(part) != std::string::npos;
}

Request claim_of(std::vector<Key> keys) {
    Request request = request_of(Verb::wait, {}, WEFT_CLAIM | WEFT_LIST | WEFT_CHAIN);
    for (const Key& key : keys) request.items.push_back({key, 0, kNoSlot, 0});
    return request;
}

std::vector<Key> keys_from(uint64_t first, uint64_t count) {
    std::vector<Key> keys;
    for (uint64_t i = 0; i < count; i++) keys.push_back({5, first + i});
    return keys;
}

}  // namespace

TEST_CASE("a node admits 4,096 processes, and one more when one has left") {
    World world;
    FakeProcess process;
    std::vector<uint32_t> sessions;
    for (uint32_t i = 0; i < Cache::kSessionsMax; i++) {
        Result<uint32_t> session = world.cache.begin_session(process, {{"*", kAllRights}}, 0);
        REQUIRE(session.ok());
        sessions.push_back(*session);
    }
    Result<uint32_t> refused = world.cache.begin_session(process, {{"*", kAllRights}}, 0);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.failure().code == WEFT_EQUOTA);
    CHECK(says(refused.failure().message, "4096 sessions"));
    world.cache.end_session(sessions[7], world.time);
    Result<uint32_t> again = world.cache.begin_session(process, {{"*", kAllRights}}, 0);
    REQUIRE(again.ok());
    sessions.push_back(*again);
    for (uint32_t session : sessions) world.cache.end_session(session, world.time);
}

TEST_CASE("a process opens namespaces 1,024 times, and once more when it closed one") {
    World world;
    World::Client& client = world.open(kSmall);
    auto open = [&] {
        return world.cache.open_namespace(client.session, "t/m", "", client.page.get(), 0,
                                          world.time);
    };
    Opened last;
    for (uint32_t i = 1; i < Cache::kOpeningsMax; i++) {
        Result<Opened> opened = open();
        REQUIRE(opened.ok());
        last = *opened;
    }
    Result<Opened> refused = open();
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.failure().code == WEFT_EQUOTA);
    CHECK(says(refused.failure().message, "1024 openings"));
    REQUIRE(world.cache.close_opening(client.session, last.opening, world.time).ok());
    CHECK(open().ok());
}

TEST_CASE("a node reads no client's text beyond its limits") {
    World world;
    World::Client& client = world.open(kSmall);
    std::string keys;
    for (uint32_t i = 0; i <= Options::kKeysMost; i++) keys += "?key" + std::to_string(i) + "=,";
    std::string bytes(Options::kTextMost + 1, ' ');
    for (auto [text, words] : {std::pair(keys, "64 keys"), std::pair(bytes, "65537 bytes")}) {
        Result<Opened> opened = world.cache.open_namespace(client.session, "t/m", text,
                                                           client.page.get(), 0, world.time);
        REQUIRE_FALSE(opened.ok());
        CHECK(opened.failure().code == WEFT_EINVAL);
        CHECK(says(opened.failure().message, words));
        Result<std::string> told =
            world.cache.query(client.session, client.opened.opening, "stats " + text, world.time);
        REQUIRE_FALSE(told.ok());
        CHECK(told.failure().code == WEFT_EINVAL);
        CHECK(says(told.failure().message, words));
    }
}

TEST_CASE("a node has 4,096 namespaces, and one more when one was dropped") {
    World world(uint64_t{256} << 20);
    World::Client& client = world.open(kSmall);
    auto make = [&](uint32_t number) {
        std::string name = "t/n" + std::to_string(number);
        Result<Opened> opened = world.cache.open_namespace(client.session, name, kSmall,
                                                           client.page.get(), 0, world.time);
        if (opened.ok())
            REQUIRE(world.cache.close_opening(client.session, opened->opening, world.time).ok());
        return opened;
    };
    for (uint32_t i = 1; i < Cache::kNamespacesMax; i++) REQUIRE(make(i).ok());
    Result<Opened> refused = make(0);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.failure().code == WEFT_EQUOTA);
    CHECK(says(refused.failure().message, "4096 namespaces"));
    Result<Opened> other =
        world.cache.open_namespace(client.session, "t/n9", "", client.page.get(), 0, world.time);
    REQUIRE(other.ok());
    REQUIRE(world.cache.query(client.session, other->opening, "drop", world.time).ok());
    REQUIRE(world.cache.close_opening(client.session, other->opening, world.time).ok());
    CHECK(make(0).ok());
}

TEST_CASE("a namespace has 4,096 reservations, and one more when one has ended") {
    World world;
    World::Client& client = world.open(kSmall);
    uint64_t last = 0;
    for (uint32_t i = 0; i < Writing::kReservationsMax; i++) {
        Reply reply = client.now(reserve_of({Key{2, i}}));
        REQUIRE(reply.items[0].status == 0);
        last = reply.handle;
    }
    Reply refused = client.now(reserve_of({Key{3, 1}}));
    CHECK(refused.items[0].status == -WEFT_EQUOTA);
    CHECK(says(refused.message, "4096 reservations"));
    client.now(word_of(Verb::abort, last));
    CHECK(client.now(reserve_of({Key{3, 1}})).items[0].status == 0);
}

TEST_CASE("a namespace has 65,536 claims, and one more when one has ended") {
    World world(uint64_t{1} << 30);
    World::Client& client = world.open(kSmall);
    uint64_t last = 0;
    for (uint32_t i = 0; i < Writing::kClaimsMax; i++) {
        Reply reply = client.now(claim_of({Key{4, i}}));
        REQUIRE(reply.status == -WEFT_EMISS);
        last = reply.handle;
    }
    Reply refused = client.now(claim_of({Key{5, 1}}));
    CHECK(refused.status == -WEFT_EQUOTA);
    CHECK(says(refused.message, "65536 claims"));
    client.now(request_of(Verb::release, {Key{0, last}}));
    CHECK(client.now(claim_of({Key{5, 1}})).status == -WEFT_EMISS);
}

TEST_CASE("claims cover 2,097,152 blocks of a node, half of them of a namespace; as many wait") {
    World world(uint64_t{8} << 30);
    World::Client& holder = world.open(kSmall);
    World::Client& other = world.open(kSmall);
    Reply held = holder.now(claim_of(keys_from(0, Crowd::kClaimedMax / 2)));
    REQUIRE(held.status == -WEFT_EMISS);
    Reply refused = other.now(claim_of({Key{6, 1}}));
    CHECK(refused.status == -WEFT_EQUOTA);
    CHECK(says(refused.message, "2097152 blocks"));
    CHECK(says(refused.message, "1048576 of them here"));
    // Who renews what it has asks for nothing more.
    Request renewal = claim_of(keys_from(0, Crowd::kClaimedMax / 2));
    renewal.number = held.handle;
    CHECK(holder.now(std::move(renewal)).handle == held.handle);

    Request waiting = request_of(Verb::wait, {}, WEFT_LIST);
    for (const Key& key : keys_from(0, Crowd::kWaitersMax / 2))
        waiting.items.push_back({key, 0, kNoSlot, 0});
    AnsweredPtr all = other.ask(std::move(waiting));
    CHECK(all->times == 0);
    Reply full = other.now(request_of(Verb::wait, {Key{5, 1}}));
    CHECK(full.items[0].status == -WEFT_EQUOTA);
    CHECK(says(full.message, "2097152 blocks of requests that wait"));
    holder.now(request_of(Verb::release, {Key{0, held.handle}}));
    CHECK(all->times == 1);
    CHECK(other.now(claim_of({Key{6, 1}})).status == -WEFT_EMISS);
}

TEST_CASE("namespaces share what a node has of claims and of requests that wait") {
    World world;  // 64 MiB: as many blocks as a node has at least
    uint64_t half = Crowd::kAtLeast / 2;
    std::vector<World::Client*> clients;
    for (const char* name : {"t/a", "t/b", "t/c"}) clients.push_back(&world.open(kSmall, name));
    auto claim = [&](World::Client* of, uint64_t first, uint64_t count) {
        return of->now(claim_of(keys_from(first, count)));
    };
    auto wait = [&](World::Client* of, uint64_t count) {
        Request waiting = request_of(Verb::wait, {}, WEFT_LIST);
        waiting.items.assign(count, {Key{5, 0}, 0, kNoSlot, 0});
        return of->ask(std::move(waiting));
    };
    Reply first = claim(clients[0], 0, half);
    REQUIRE(first.status == -WEFT_EMISS);
    REQUIRE(claim(clients[1], 0, half - 1).status == -WEFT_EMISS);
    REQUIRE(claim(clients[2], 0, 1).status == -WEFT_EMISS);
    Reply refused = claim(clients[2], 1, 1);
    CHECK(refused.status == -WEFT_EQUOTA);
    CHECK(says(refused.message, "65536 are claimed, 1 of them here"));
    AnsweredPtr waits = wait(clients[0], half);
    CHECK(waits->times == 0);
    CHECK(wait(clients[1], half)->times == 0);
    AnsweredPtr full = wait(clients[2], 1);
    REQUIRE(full->times == 1);
    CHECK(full->reply.items[0].status == -WEFT_EQUOTA);
    CHECK(says(full->reply.message, "65536 wait, 0 of them here"));
    // The process's end gives back what it claimed and what waited; so do blocks that are there.
    clients[0]->die();
    CHECK(wait(clients[2], 1)->times == 0);
    CHECK(claim(clients[2], 1, half - 1).status == -WEFT_EMISS);
    CHECK(claim(clients[2], half, 1).status == -WEFT_EQUOTA);
    REQUIRE(put(*clients[2], {5, 1}) == 0);
    CHECK(claim(clients[2], half, 1).status == -WEFT_EMISS);
}

TEST_CASE("a namespace that goes gives back what was claimed in it") {
    World world;
    auto claim = [&](World::Client& of) {
        return of.now(claim_of(keys_from(0, Crowd::kAtLeast / 2))).status;
    };
    for (int i = 0; i < 4; i++) {
        World::Client& client = world.open(kSmall, "t/" + std::to_string(i));
        REQUIRE(claim(client) == -WEFT_EMISS);
        Result<std::string> dropped =
            world.cache.query(client.session, client.opened.opening, "drop", world.time);
        REQUIRE(dropped.ok());
        client.close();
    }
}

TEST_CASE("a claim of one version does not become another version's when it is renewed there") {
    World world;
    World::Client& client = world.open(kSmall);
    Reply held = client.now(claim_of({Key{1, 1}}));
    Result<Opened> later = world.cache.open_namespace(client.session, "t/m", "version=1",
                                                      client.page.get(), 0, world.time);
    REQUIRE(later.ok());
    std::swap(client.opened, *later);
    Request renewal = claim_of({Key{2, 2}});
    renewal.number = held.handle;
    CHECK(client.now(std::move(renewal)).handle != held.handle);
    std::swap(client.opened, *later);
    AnsweredPtr waits = client.ask(claim_of({Key{1, 1}}));
    CHECK(waits->times == 0);
    client.now(request_of(Verb::release, {Key{0, held.handle}}));
    CHECK(waits->times == 1);
}

TEST_CASE("a claim lasts an hour at the most, or as long as a block may be unfinished") {
    World world;
    World::Client& hour = world.open("part_bytes=256", "t/hour");
    World::Client& longer = world.open("part_bytes=256,write_s=7200", "t/longer");
    for (auto [client, seconds] : {std::pair(&hour, 3600), std::pair(&longer, 7200)}) {
        CAPTURE(seconds);
        Request claim = claim_of({Key{1, 1}});
        claim.ttl_s = 4'000'000'000;
        REQUIRE(client->now(std::move(claim)).status == -WEFT_EMISS);
        Request other = claim_of({Key{1, 1}});
        other.deadline = UINT64_MAX;
        AnsweredPtr waits = client->ask(std::move(other));
        world.pass(uint64_t(seconds - 1) * 1000);
        CHECK(waits->times == 0);
        world.pass(2000);
        CHECK(waits->times == 1);
    }
}

TEST_CASE("a size class has 64 segments: beyond, its oldest block makes room") {
    World world(uint64_t{16} << 30);
    World::Client& client = world.open("parts=1,part_bytes=0");
    uint64_t large = kLargestClass + 1;
    for (uint32_t i = 0; i < Slots::kSegmentsPerClass; i++)
        REQUIRE(put(client, {7, i}, large) == 0);
    CHECK(client.opened.space->slots().segments().size() == Slots::kSegmentsPerClass);
    AnsweredPtr reserved = client.ask(reserve_of({Key{8, 1}}, 0, 0, large));
    for (int i = 0; i < 8 && reserved->times == 0; i++) world.pass(250);
    REQUIRE(reserved->times == 1);
    CHECK(reserved->reply.items[0].status == 0);
    CHECK(client.opened.space->slots().segments().size() <= Slots::kSegmentsPerClass);
    CHECK(client.opened.space->stats_now().evicted > 0);
    CHECK_FALSE(client.sees({7, 0}));
}

TEST_CASE("a namespace has 4,096 segments: beyond, the oldest block of a size makes room") {
    World world(uint64_t{1} << 40);
    World::Client& client = world.open("parts=1,part_bytes=0");
    constexpr uint64_t kStep = uint64_t{2} << 20;  // between sizes that have a segment a block
    constexpr uint64_t kSizes = kSegmentsMax / Slots::kSegmentsPerClass;
    uint64_t first = kLargestClass + 1;
    for (uint64_t i = 0; i < kSegmentsMax; i++)
        REQUIRE(put(client, {7, i}, first + i % kSizes * kStep) == 0);
    Slots& slots = client.opened.space->slots();
    REQUIRE(slots.segments().size() == kSegmentsMax);

    AnsweredPtr other = client.ask(reserve_of({Key{8, 1}}, 0, 0, first + kSizes * kStep));
    REQUIRE(other->times == 1);
    CHECK(other->reply.items[0].status == -WEFT_EQUOTA);
    CHECK(says(other->reply.message, "4096 segments are the limit of a namespace"));
    CHECK(client.sees({7, 0}));
    AnsweredPtr same = client.ask(reserve_of({Key{8, 2}}, 0, 0, first));
    for (int i = 0; i < 8 && same->times == 0; i++) world.pass(250);
    REQUIRE(same->times == 1);
    CHECK(same->reply.items[0].status == 0);
    CHECK(slots.segments().size() <= kSegmentsMax);
    CHECK_FALSE(client.sees({7, 0}));
}

TEST_CASE("views of 256 nodes before this one are as many as handles can name") {
    World world;
    std::vector<World::Client*> clients;
    for (uint32_t i = 0; i <= Space::kNumbers; i++) clients.push_back(&world.open(kSmall));
    std::vector<std::shared_ptr<Mapped>> mapped;  // shared with the space
    for (World::Client* client : clients) {
        Slots& slots = client->opened.space->slots();
        mapped.push_back(
            std::make_shared<Mapped>(client->opened.opening, client->opened.space->config(), 0,
                                     slots.index().mapping.address(), client->page.get()));
    }
    struct View {
        uint32_t cell, generation;
    };
    auto view = [](Mapped& of) {
        uint32_t cell = of.cells().take(0);
        of.cells().chain(Cells::kNone, cell);
        return View{cell, of.cells().bind(cell)};
    };
    Space space(1, "t/m", "", mapped[0]);
    std::vector<View> views = {view(*mapped[0])};
    for (uint32_t i = 1; i < Space::kNumbers; i++) {
        REQUIRE(space.adopt(mapped[i]));
        views.push_back(view(*mapped[i]));
        space.prune();
    }
    CHECK_FALSE(space.adopt(mapped[Space::kNumbers]));
    CHECK(space.current() == mapped[Space::kNumbers - 1].get());
    CHECK(space.views() == Space::kNumbers);
    REQUIRE(mapped[3]->cells().release(views[3].cell, views[3].generation));
    space.prune();
    CHECK(space.adopt(mapped[Space::kNumbers]));
    CHECK(space.current() == mapped[Space::kNumbers].get());
}

TEST_CASE("2,048 uses are told before the node looks; older ones are lost and nothing else is") {
    for (uint32_t others : {kTouchRecords - 1, kTouchRecords}) {
        CAPTURE(others);
        World world;
        World::Client& client = world.open(kSmall);
        std::vector<uint32_t> slots;
        for (uint64_t i = 0; i < 3; i++) {
            REQUIRE(put(client, {1, i}) == 0);
            slots.push_back(client.opened.space->find({1, i}, 0, world.time));
        }
        auto use = [&](uint32_t slot) {
            uint64_t at = client.page->touch_count.fetch_add_relaxed(1);
            client.page->touches[at % kTouchRecords].store_relaxed(Touch{slot, 1, 0}.pack());
        };
        use(slots[0]);
        for (uint32_t i = 0; i < others; i++) use(slots[1]);
        client.opened.space->drain_touches(world.time);
        Order& order = *client.opened.space->slots().size_class(256).order;
        CHECK(order.first() == slots[others < kTouchRecords ? 2 : 0]);
    }
}

TEST_CASE("a list of blocks has at most 10,000, and an explanation names 16 other places") {
    World world;
    World::Client& client = world.open(kSmall);
    auto query = [&](const World::Client& of, const std::string& words) {
        return world.cache.query(of.session, of.opened.opening, words, world.time);
    };
    CHECK(query(client, "blocks limit=10000").ok());
    Result<std::string> refused = query(client, "blocks limit=10001");
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.failure().code == WEFT_EINVAL);
    CHECK(says(refused.failure().message, "10000"));
    for (int version = 1; version <= 20; version++) {
        World::Client& other = world.open("version=" + std::to_string(version));
        REQUIRE(put(other, {9, 9}) == 0);
    }
    Result<std::string> told = query(client, "explain key=00000000000000090000000000000009");
    REQUIRE(told.ok());
    size_t places = 0;
    for (size_t at = 0; (at = told->find("same_layout", at)) != std::string::npos; at++) places++;
    CHECK(places == 16);
}

TEST_CASE("a store has 1,024 open namespaces and regions and 256 queues, a process 4,095 handles") {
    std::vector<weft_store*> stores(16);
    for (weft_store*& store : stores) REQUIRE(weft_open("memory=4MiB", &store, nullptr) == 0);
    weft_error error{};
    error.struct_size = sizeof error;
    weft_namespace space{};
    auto open = [&] {
        space.struct_size = sizeof space;
        return weft_namespace_open(stores[0], "t/m", kSmall, &space, &error);
    };
    for (int i = 0; i < 1024; i++) REQUIRE(open() == 0);
    CHECK(open() == -WEFT_EQUOTA);
    CHECK(says(error.message, "1024"));
    CHECK(weft_namespace_close(stores[0], space.space) == 0);
    CHECK(open() == 0);

    uint32_t region = 0;
    auto adopt = [&] { return weft_region_adopt(stores[1], 0, 0, -1, &region, &error); };
    for (int i = 0; i < 1024; i++) REQUIRE(adopt() == 0);
    CHECK(adopt() == -WEFT_EQUOTA);
    CHECK(says(error.message, "1024 regions"));
    CHECK(weft_region_drop(stores[1], region) == 0);
    CHECK(adopt() == 0);

    std::vector<weft_queue*> queues;
    auto add = [&](weft_store* store) {
        weft_queue* queue = nullptr;
        int32_t code = weft_queue_open(store, "depth=1", &queue, &error);
        if (code == 0) queues.push_back(queue);
        return code;
    };
    for (int i = 0; i < 256; i++) REQUIRE(add(stores[2]) == 0);
    CHECK(add(stores[2]) == -WEFT_EQUOTA);
    CHECK(says(error.message, "256 queues"));
    int32_t code = 0;
    for (size_t i = 3; i < stores.size() && code == 0; i++) {
        for (int of = 0; of < 256 && code == 0; of++) code = add(stores[i]);
    }
    for (int of = 0; of < 256 && code == 0; of++) code = add(stores[0]);
    for (int of = 0; of < 256 && code == 0; of++) code = add(stores[1]);
    CHECK(code == -WEFT_EQUOTA);
    CHECK(says(error.message, "4095 stores and queues"));
    for (weft_queue* queue : queues) CHECK(weft_queue_close(queue) == 0);
    queues.clear();
    CHECK(add(stores[2]) == 0);
    CHECK(weft_queue_close(queues[0]) == 0);
    // Namespaces and regions are closed too, so that nothing is left for other tests.
    for (uint32_t id = 0; id < 4096; id++) weft_region_drop(stores[1], id);
    for (uint32_t id = 0; id < 8192; id++) weft_namespace_close(stores[0], id);
    for (weft_store* store : stores) CHECK(weft_close(store) == 0);
}

TEST_CASE("a log takes 100 lines a second and says how many it left out") {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    fabric::Log log(ends[1], fabric::LogLevel::warning);
    for (int i = 0; i < 300; i++) log.write(fabric::LogLevel::warning, "said often");
    auto read_all = [&] {
        std::string text;
        char buffer[4096];
        for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
            text.append(buffer, static_cast<size_t>(got));
        return text;
    };
    std::string text = read_all();
    auto lines = std::count(text.begin(), text.end(), '\n');
    // The second may have ended in between, and another begun.
    CHECK(lines >= fabric::Log::kLinesPerSecond);
    CHECK(lines <= 2 * fabric::Log::kLinesPerSecond);
    usleep(1'100'000);
    log.write(fabric::LogLevel::warning, std::string(10 * fabric::Log::kLineBytes, 'x'));
    text = read_all();
    CHECK(says(text, std::to_string(300 - lines) + " lines before this one were left out"));
    CHECK(text.size() < 2 * fabric::Log::kLineBytes);
    close(ends[0]);
    close(ends[1]);
}

TEST_CASE("nobody waits for a log that is not read") {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    REQUIRE(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096);
    fabric::Log log(ends[1], fabric::LogLevel::warning);
    // A write that waits would never return: nobody reads.
    for (int i = 0; i < 50; i++) log.write(fabric::LogLevel::warning, std::string(1000, 'x'));
    close(ends[0]);
    log.write(fabric::LogLevel::warning, "and whose reader is gone sends no signal");
    close(ends[1]);
}

TEST_CASE("an incarnation stays while an op holds a block of it that is no view yet") {
    World world;
    std::vector<std::shared_ptr<Mapped>> mapped;  // shared with the space
    for (int i = 0; i < 2; i++) {
        World::Client& client = world.open(kSmall);
        Slots& slots = client.opened.space->slots();
        mapped.push_back(
            std::make_shared<Mapped>(client.opened.opening, client.opened.space->config(), 0,
                                     slots.index().mapping.address(), client.page.get()));
    }
    Space space(1, "t/m", "", mapped[0]);
    uint32_t cell = mapped[0]->cells().take(0);
    REQUIRE(space.adopt(mapped[1]));
    CHECK(space.prune().empty());
    CHECK(space.numbered(0) == mapped[0].get());
    mapped[0]->cells().give(cell);
    CHECK(space.prune().size() == 1);
}
