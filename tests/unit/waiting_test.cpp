// Those who wait: claims and who takes them over, followers and the attempt that they follow, room
// that does not come.
#include "core/write/writing.h"
#include "tests/unit/world.h"

using namespace weft;

namespace {

constexpr const char* kOnePart = "part_bytes=4096,write_s=5";
constexpr Key k1{1, 1};
constexpr Key k2{1, 2};
constexpr Key k3{1, 3};

Request claim_of(std::initializer_list<Key> keys) {
    return request_of(Verb::wait, keys, WEFT_CLAIM | WEFT_LIST | WEFT_CHAIN);
}
Request claims_released(uint64_t id) { return request_of(Verb::release, {Key{0, id}}); }
Request follow_of(Verb verb, Key key, uint64_t start, uint64_t size, uint32_t follower = 0) {
    Request request = request_of(verb, {key}, WEFT_FOLLOW, size);
    request.ttl_s = follower;
    request.start = start;
    return request;
}
Request more_of(uint64_t reservation, uint64_t bytes) {
    Request request = word_of(Verb::commit, reservation);
    request.flags = WEFT_MORE;
    request.size = bytes;
    return request;
}

}  // namespace

TEST_CASE("a claim covers the rest of the chain, so a waiter does not get the next block of it") {
    World world;
    World::Client& a = world.open(kOnePart);
    World::Client& b = world.open(kOnePart);
    CHECK(save(a, k1) == 0);
    Reply mine = a.now(claim_of({k1, k2, k3}));
    CHECK(mine.status == -WEFT_EMISS);
    CHECK(mine.value == 1);
    CHECK(mine.handle != 0);
    AnsweredPtr waits = b.ask(claim_of({k1, k2, k3}));
    CHECK(save(a, k2) == 0);
    CHECK(waits->times == 0);
    CHECK(save(a, k3) == 0);
    REQUIRE(waits->times == 1);
    CHECK(waits->reply.status == 0);
    CHECK(waits->reply.value == 3);
    CHECK(waits->reply.handle == 0);
}

TEST_CASE("whoever claims waits for who writes") {
    World world;
    World::Client& a = world.open(kOnePart);
    World::Client& b = world.open(kOnePart);
    Reply held = a.now(reserve_of({k1}));
    AnsweredPtr waits = b.ask(claim_of({k1, k2}));
    CHECK(waits->times == 0);
    CHECK(a.now(word_of(Verb::commit, held.handle)).detail == 1);
    REQUIRE(waits->times == 1);
    CHECK(waits->reply.value == 1);
    CHECK(waits->reply.handle != 0);  // of what comes behind it
}

TEST_CASE("a claim that was fulfilled is gone: whoever held it cannot end the next one") {
    World world;
    World::Client& a = world.open(kOnePart);
    World::Client& b = world.open(kOnePart);
    World::Client& c = world.open(kOnePart);
    Reply first = a.now(claim_of({k1}));
    CHECK(save(a, k1) == 0);
    CHECK(a.now(request_of(Verb::remove, {k1})).items[0].status == 0);
    Reply second = b.now(claim_of({k1}));
    REQUIRE(second.handle != 0);
    CHECK(a.now(claims_released(first.handle)).value == 0);
    AnsweredPtr waits = c.ask(claim_of({k1}));
    CHECK(waits->times == 0);
    CHECK(b.now(claims_released(second.handle)).value == 1);
    CHECK(waits->times == 1);
}

TEST_CASE("a claim keeps off claims only") {
    World world;
    World::Client& a = world.open(kOnePart);
    World::Client& b = world.open(kOnePart);
    a.now(claim_of({k1}));
    CHECK(save(b, k1) == 0);
}

TEST_CASE("a claim that is released, whose process dies or whose time is over goes to one waiter") {
    World world;
    World::Client& a = world.open(kOnePart);
    World::Client& b = world.open(kOnePart);
    World::Client& c = world.open(kOnePart);
    World::Client& d = world.open(kOnePart);
    Reply mine = a.now(claim_of({k1, k2}));
    AnsweredPtr second = b.ask(claim_of({k1, k2}));
    AnsweredPtr third = c.ask(claim_of({k1, k2}));
    AnsweredPtr fourth = d.ask(claim_of({k1, k2}));
    CHECK(b.now(claims_released(mine.handle)).value == 0);  // not its own
    CHECK(second->times == 0);
    CHECK(a.now(claims_released(mine.handle)).value == 1);
    REQUIRE(second->times == 1);
    CHECK(second->reply.status == -WEFT_EMISS);
    CHECK(third->times == 0);
    b.die();
    REQUIRE(third->times == 1);
    CHECK(third->reply.status == -WEFT_EMISS);
    CHECK(fourth->times == 0);
    world.pass(6000);
    REQUIRE(fourth->times == 1);
    CHECK(fourth->reply.status == -WEFT_EMISS);
}

TEST_CASE("claiming again with the claim renews it") {
    World world;
    World::Client& a = world.open(kOnePart);
    World::Client& b = world.open(kOnePart);
    Reply mine = a.now(claim_of({k1}));
    world.pass(4000);
    Request again = claim_of({k1});
    again.number = mine.handle;
    CHECK(a.now(std::move(again)).handle == mine.handle);
    AnsweredPtr waits = b.ask(claim_of({k1}));
    world.pass(4000);
    CHECK(waits->times == 0);
    world.pass(2000);
    CHECK(waits->times == 1);
}

TEST_CASE("waiting for a block that nobody writes or claims is a miss at once") {
    World world;
    World::Client& a = world.open(kOnePart);
    World::Client& b = world.open(kOnePart);
    CHECK(a.now(request_of(Verb::wait, {k1})).items[0].status == -WEFT_EMISS);
    a.now(claim_of({k1}));
    AnsweredPtr waits = b.ask(request_of(Verb::wait, {k1}));
    CHECK(waits->times == 0);
    CHECK(save(a, k1) == 0);
    REQUIRE(waits->times == 1);
    CHECK(waits->reply.items[0].status == 0);
    CHECK(waits->reply.items[0].value == 4096);
}

TEST_CASE(
    "a list whose first block has gone, segment and all, is answered when its last one comes") {
    World world(uint64_t{512} << 20);
    World::Client& a = world.open("parts=1,part_bytes=0,writer=a");
    World::Client& b = world.open("writer=b");
    REQUIRE(put(a, k1, kLargestClass + 1) == 0);  // in a segment of its own
    Reply held = a.now(reserve_of({k2}, 0, 0, 100));
    AnsweredPtr waits = b.ask(request_of(Verb::locate, {k2, k1}, WEFT_LIST | WEFT_WAIT_WRITER));
    REQUIRE(waits->times == 0);
    size_t segments = a.opened.space->slots().segments().size();
    a.now(request_of(Verb::remove, {k1}));
    for (int i = 0; i < 20; i++) world.pass(250);
    REQUIRE(a.opened.space->slots().segments().size() < segments);
    CHECK(a.now(word_of(Verb::commit, held.handle)).status == 0);
    REQUIRE(waits->times == 1);
    CHECK(waits->reply.items[0].status == 0);
}

TEST_CASE("whoever waits longer than its time is told so, once") {
    World world;
    World::Client& a = world.open("part_bytes=4096,write_s=60,writer=a");
    World::Client& b = world.open("writer=b");
    Reply held = a.now(reserve_of({k1}));
    Request request = reserve_of({k1}, 0, WEFT_WAIT_WRITER);
    request.deadline = world.time + fabric::kSecond;
    AnsweredPtr waits = b.ask(std::move(request));
    world.pass(900);
    CHECK(waits->times == 0);
    world.pass(200);
    REQUIRE(waits->times == 1);
    CHECK(waits->reply.items[0].status == -WEFT_ETIMEOUT);
    a.now(word_of(Verb::abort, held.handle));
    world.pass(250);
    CHECK(waits->times == 1);
}

TEST_CASE(
    "a follower gets bytes as they become final and the end of the attempt that it followed") {
    World world;
    World::Client& writer = world.open(kOnePart);
    World::Client& reader = world.open(kOnePart);
    Reply held = writer.now(reserve_of({k1}));
    AnsweredPtr half = reader.ask(follow_of(Verb::locate, k1, 0, 2048));
    CHECK(half->times == 0);
    writer.now(more_of(held.handle, 1000));
    CHECK(half->times == 0);
    writer.now(more_of(held.handle, 2048));
    REQUIRE(half->times == 1);
    const ReplyItem& shown = half->reply.items[0];
    CHECK(shown.slot == held.items[0].slot);
    CHECK((shown.gen & 1) == 1);
    SharedWord& cell = reader.cells->word(reader.cells->take(0));
    Found found;
    CHECK(reader.reader().hold_slot(shown.slot, shown.gen, cell, found));
    writer.now(word_of(Verb::commit, held.handle));
    CHECK(reader.reader().still(shown.slot, shown.gen));
    Reply end = reader.now(follow_of(Verb::wait, k1, 0, 0));
    CHECK(end.items[0].status == 0);
    CHECK(end.items[0].value == 4096);
}

TEST_CASE("a second attempt under the same key is not taken for the one that was followed") {
    World world;
    World::Client& writer = world.open(kOnePart);
    World::Client& reader = world.open(kOnePart);
    Reply first = writer.now(reserve_of({k1}));
    writer.now(more_of(first.handle, 2048));
    ReplyItem shown = reader.now(follow_of(Verb::locate, k1, 0, 2048)).items[0];
    CHECK(reader.reader().still(shown.slot, shown.gen));
    writer.now(word_of(Verb::abort, first.handle));
    CHECK_FALSE(reader.reader().still(shown.slot, shown.gen));
    CHECK(save(writer, k1) == 0);
    Reply end = reader.now(follow_of(Verb::wait, k1, 0, 0));
    CHECK(end.items[0].status == -WEFT_EMISS);
    CHECK(end.items[0].value == WEFT_MISS_PARTIAL);
    CHECK(reader.now(follow_of(Verb::wait, k1, 0, 0)).items[0].status ==
          0);  // anew, from its begin
}

TEST_CASE("who waits to follow a claimed block is shown it as soon as its attempt begins") {
    World world;
    World::Client& writer = world.open(kOnePart);
    World::Client& reader = world.open(kOnePart);
    writer.now(claim_of({k1}));
    Request request = follow_of(Verb::locate, k1, 0, 0);
    request.flags |= WEFT_WAIT_WRITER;
    request.view = true;
    AnsweredPtr waits = reader.ask(std::move(request));
    CHECK(waits->times == 0);
    Reply held = writer.now(reserve_of({k1}));
    REQUIRE(waits->times == 1);
    CHECK(waits->reply.items[0].status == 0);
    CHECK(waits->reply.items[0].slot == held.items[0].slot);
}

TEST_CASE("each follower of a process is told by itself that another writer came") {
    World world;
    World::Client& writer = world.open(kOnePart);
    World::Client& reader = world.open(kOnePart);
    Reply first = writer.now(reserve_of({k1}));
    writer.now(more_of(first.handle, 2048));
    for (uint32_t follower : {7u, 8u})
        REQUIRE(reader.now(follow_of(Verb::locate, k1, 0, 2048, follower)).items[0].status == 0);
    writer.now(word_of(Verb::abort, first.handle));
    Reply second = writer.now(reserve_of({k1}));
    writer.now(more_of(second.handle, 4096));
    for (uint32_t follower : {7u, 8u}) {
        // The rest of what it began to read is of another writer.
        ReplyItem rest = reader.now(follow_of(Verb::locate, k1, 2048, 2048, follower)).items[0];
        CHECK(rest.status == -WEFT_EMISS);
        CHECK(rest.value == WEFT_MISS_PARTIAL);
        CHECK(reader.now(follow_of(Verb::locate, k1, 0, 4096, follower)).items[0].status == 0);
    }
}

TEST_CASE("followers that never came back for the end keep nobody from following") {
    World world;
    World::Client& writer = world.open(kOnePart);
    World::Client& reader = world.open(kOnePart);
    Reply open = writer.now(reserve_of({k1}));
    writer.now(more_of(open.handle, 1024));
    CHECK(reader.now(follow_of(Verb::locate, k1, 0, 1024)).items[0].status == 0);
    for (uint64_t i = 0; i < Writing::kFollowingMax + 100; i++) {
        Reply held = writer.now(reserve_of({Key{9, i}}));
        writer.now(more_of(held.handle, 1024));
        REQUIRE(reader.now(follow_of(Verb::locate, Key{9, i}, 0, 1024)).items[0].status == 0);
        writer.now(word_of(Verb::abort, held.handle));
    }
    // One whose writer still writes is not among those forgotten.
    writer.now(word_of(Verb::abort, open.handle));
    Reply again = writer.now(reserve_of({k1}));
    writer.now(more_of(again.handle, 4096));
    CHECK(reader.now(follow_of(Verb::locate, k1, 1024, 1024)).items[0].status == -WEFT_EMISS);
}

TEST_CASE("as many blocks as 4,096 being written are followed, and one more when one has ended") {
    World world;
    World::Client& writer = world.open(kOnePart);
    World::Client& other = world.open(kOnePart);
    World::Client& reader = world.open(kOnePart);
    auto shown = [&](uint64_t i) {
        Request request = follow_of(Verb::locate, Key{9, i}, 0, 0);
        request.view = true;
        return reader.now(std::move(request));
    };
    // A namespace has 4,096 reservations: what is saved in ranges needs none to stay open.
    for (uint64_t i = 0; i <= Writing::kFollowingMax; i++) {
        Request range = request_of(Verb::reserve, {Key{9, i}}, 0, 1024);
        Reply held = writer.now(std::move(range));
        REQUIRE(held.items[0].status == 0);
        REQUIRE(writer.now(word_of(Verb::commit, held.handle)).status == 0);
    }
    for (uint64_t i = 0; i < Writing::kFollowingMax; i++) REQUIRE(shown(i).items[0].status == 0);
    Reply refused = shown(Writing::kFollowingMax);
    CHECK(refused.items[0].status == -WEFT_EQUOTA);
    CHECK(refused.message.find("4096") != std::string::npos);
    CHECK(other.now(follow_of(Verb::locate, Key{9, Writing::kFollowingMax}, 0, 1024))
              .items[0]
              .status == 0);  // the limit is a process's own
    writer.now(request_of(Verb::abort, {Key{9, 0}}));
    CHECK(shown(Writing::kFollowingMax).items[0].status == 0);
}

TEST_CASE("a follower whose writer gives up is told that it is partial") {
    World world;
    World::Client& writer = world.open(kOnePart);
    World::Client& reader = world.open(kOnePart);
    Reply held = writer.now(reserve_of({k1}));
    AnsweredPtr all = reader.ask(follow_of(Verb::locate, k1, 0, 0));
    writer.die();
    REQUIRE(all->times == 1);
    CHECK(all->reply.items[0].status == -WEFT_EMISS);
    CHECK(all->reply.items[0].value == WEFT_MISS_PARTIAL);
}

TEST_CASE("with everything pinned a save is refused at its limit and never hangs") {
    World world(uint64_t{8} << 20);
    World::Client& a = world.open("part_bytes=65536,write_s=60,pin_s=600");
    uint64_t count = 0;
    for (; count < 1000; count++) {
        Reply reply = a.now(reserve_of({Key{3, count}}));
        if (reply.items[0].status != 0) break;
        REQUIRE(a.now(word_of(Verb::commit, reply.handle)).detail == 1);
        REQUIRE(a.now(request_of(Verb::match, {Key{3, count}}, WEFT_PIN)).handle != 0);
    }
    CHECK(count > 50);
    CHECK(count < 128);
    AnsweredPtr refused = a.ask(reserve_of({k1}));
    CHECK(refused->times == 1);
    CHECK(refused->reply.items[0].status == -WEFT_EQUOTA);
    CHECK(refused->reply.message.find("memory=") != std::string::npos);
    CHECK(a.opened.space->blocks() == count);
    // Another namespace gets nothing of what is pinned either, and does not wait for it.
    World::Client& b = world.open("part_bytes=65536", "t/other");
    AnsweredPtr other = b.ask(reserve_of({k1}));
    world.pass(2000);
    CHECK(other->times == 1);
    CHECK(other->reply.items[0].status == -WEFT_EQUOTA);
}

TEST_CASE("a namespace that needs room gets a segment of the one that holds it all") {
    World world(uint64_t{16} << 20);
    World::Client& a = world.open("part_bytes=65536");
    for (uint64_t i = 0; i < 400; i++) REQUIRE(save(a, {3, i}, 0, 65536) == 0);
    World::Client& b = world.open("part_bytes=131072", "t/other");
    AnsweredPtr room = b.ask(reserve_of({k1}));
    world.pass(250);
    REQUIRE(room->times == 1);
    CHECK(room->reply.items[0].status == 0);
    CHECK(world.memory.punched > 0);
}

TEST_CASE("room that a view keeps does not come: who waits for it ends at its limit") {
    World world(uint64_t{8} << 20);
    World::Client& a = world.open("part_bytes=65536");
    uint64_t count = 0;
    while (count < 200 && a.opened.space->stats_now().evicted == 0) save(a, {3, count++}, 0, 65536);
    for (uint64_t i = 0; i < count; i++) {
        Found found;
        Key key{3, i};
        uint32_t cell = a.cells->take(0);
        a.reader().hold(key, hash_key(key), 0, world.time, a.cells->word(cell), found);
    }
    World::Client& b = world.open("part_bytes=131072", "t/other");
    AnsweredPtr room = b.ask(reserve_of({k1}));
    for (int i = 0; i < 8; i++) world.pass(250);
    CHECK(room->times == 1);
    CHECK(room->reply.items[0].status == -WEFT_EQUOTA);
}
