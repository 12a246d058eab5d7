// How blocks come to be (protocols 4), asked of a cache without a machine: attempts, parts, whose
// word frees a slot, and the end of it all by time or death.
#include "core/write/writing.h"

#include "tests/unit/world.h"

using namespace weft;

namespace {

constexpr const char* kOnePart = "part_bytes=4096,write_s=5";
constexpr const char* kTwoParts = "parts=2,part_bytes=4096,write_s=5";
constexpr Key kKey{1, 1};

std::string two_parts(const char* writer) { return std::string(kTwoParts) + ",writer=" + writer; }
std::string one_part(const char* writer) { return std::string(kOnePart) + ",writer=" + writer; }

Request abort_by_key(Key key) { return request_of(Verb::abort, {key}); }

/** A range of a part, as SAVE reserves it. */
Request range_of(Key key, uint64_t start, uint64_t size, uint32_t part = 0) {
    Request request = request_of(Verb::reserve, {key}, 0, size);
    request.start = start;
    request.part = part;
    return request;
}

}  // namespace

TEST_CASE("ranges join where they meet and know what they cover") {
    Ranges ranges;
    CHECK(ranges.prefix() == 0);
    ranges.add(10, 20);
    ranges.add(30, 40);
    CHECK_FALSE(ranges.covers(10, 40));
    CHECK(ranges.overlaps(19, 31));
    CHECK_FALSE(ranges.overlaps(20, 30));
    CHECK(ranges.prefix() == 0);
    ranges.add(20, 30);
    CHECK(ranges.covers(10, 40));
    ranges.add(0, 12);
    CHECK(ranges.prefix() == 40);
    CHECK(ranges.covers(5, 5));
    ranges.add(7, 7);
    CHECK(ranges.covers(0, 40));
    CHECK_FALSE(ranges.covers(0, 41));
}

TEST_CASE("the first attempt on a key is the only one until it ends") {
    World world;
    World::Client& a = world.open(one_part("a"));
    World::Client& b = world.open(one_part("b"));
    Reply first = a.now(reserve_of({kKey}));
    CHECK(first.items[0].status == 0);
    CHECK(b.now(reserve_of({kKey})).items[0].status == -WEFT_EHELD);
    CHECK(save(b, kKey) == -WEFT_EHELD);
    CHECK_FALSE(b.sees(kKey));
    Reply end = a.now(word_of(Verb::commit, first.handle));
    CHECK(end.status == 0);
    CHECK(end.detail == 1);
    CHECK(b.sees(kKey));
    CHECK(save(b, kKey) == -WEFT_EEXISTS);
    CHECK(b.now(reserve_of({kKey})).items[0].status == -WEFT_EEXISTS);
}

TEST_CASE("parts of one writer's processes join, whoever waits meanwhile") {
    World world;
    World::Client& rank0 = world.open(two_parts("engine"));
    World::Client& rank1 = world.open(two_parts("engine"));
    World::Client& other = world.open(two_parts("other"));
    Reply part0 = rank0.now(reserve_of({kKey}, 0));
    AnsweredPtr waits = other.ask(reserve_of({kKey}, 0, WEFT_WAIT_WRITER));
    CHECK(waits->times == 0);
    Reply part1 = rank1.now(reserve_of({kKey}, 1));  // not behind the one who waits
    CHECK(part1.items[0].status == 0);
    CHECK(part1.items[0].slot == part0.items[0].slot);
    CHECK(rank0.now(word_of(Verb::commit, part0.handle)).detail == 0);
    CHECK_FALSE(rank0.sees(kKey));
    CHECK(rank1.now(word_of(Verb::commit, part1.handle)).detail == 1);
    CHECK(rank0.sees(kKey));
    CHECK(waits->times == 1);
    CHECK(waits->reply.items[0].status == -WEFT_EEXISTS);
}

TEST_CASE("parts of two writers never join") {
    World world;
    World::Client& one = world.open(two_parts("one"));
    World::Client& two = world.open(two_parts("two"));
    Reply part0 = one.now(reserve_of({kKey}, 0));
    CHECK(two.now(reserve_of({kKey}, 1)).items[0].status == -WEFT_EHELD);
    AnsweredPtr waits = two.ask(reserve_of({kKey}, 1, WEFT_WAIT_WRITER));
    CHECK(one.now(word_of(Verb::commit, part0.handle)).detail == 0);
    CHECK(waits->times == 0);
    world.pass(6000);  // one's part 1 never came
    CHECK(waits->times == 1);
    CHECK(waits->reply.items[0].status == 0);
    CHECK(waits->reply.items[0].slot != part0.items[0].slot);
    CHECK(two.now(word_of(Verb::commit, waits->reply.handle)).detail == 0);
    CHECK_FALSE(two.sees(kKey));  // part 0 of one is not its part 0
}

TEST_CASE("when a waiter gets a fresh attempt, its writer's other parts join it") {
    World world;
    World::Client& one = world.open(two_parts("one"));
    World::Client& rank0 = world.open(two_parts("two"));
    World::Client& rank1 = world.open(two_parts("two"));
    World::Client& third = world.open(two_parts("three"));
    Reply held = one.now(reserve_of({kKey}, 0));
    AnsweredPtr first = rank0.ask(reserve_of({kKey}, 0, WEFT_WAIT_WRITER));
    AnsweredPtr between = third.ask(reserve_of({kKey}, 1, WEFT_WAIT_WRITER));
    AnsweredPtr second = rank1.ask(reserve_of({kKey}, 1, WEFT_WAIT_WRITER));
    one.now(word_of(Verb::abort, held.handle));
    REQUIRE(first->times == 1);
    REQUIRE(second->times == 1);
    CHECK(between->times == 0);
    CHECK(first->reply.items[0].slot == second->reply.items[0].slot);
    rank0.now(word_of(Verb::commit, first->reply.handle));
    CHECK(rank1.now(word_of(Verb::commit, second->reply.handle)).detail == 1);
    CHECK(between->reply.items[0].status == -WEFT_EEXISTS);
}

TEST_CASE("exactly one waiter, the first, gets a fresh attempt in a fresh slot") {
    World world;
    World::Client& a = world.open(one_part("a"));
    World::Client& b = world.open(one_part("b"));
    World::Client& c = world.open(one_part("c"));
    Reply held = a.now(reserve_of({kKey}));
    AnsweredPtr first = b.ask(reserve_of({kKey}, 0, WEFT_WAIT_WRITER));
    AnsweredPtr second = c.ask(reserve_of({kKey}, 0, WEFT_WAIT_WRITER));
    world.pass(6000);
    REQUIRE(first->times == 1);
    CHECK(first->reply.items[0].status == 0);
    CHECK(first->reply.items[0].slot != held.items[0].slot);
    CHECK(second->times == 0);
    b.die();
    REQUIRE(second->times == 1);
    CHECK(second->reply.items[0].status == 0);
    CHECK(first->times == 1);
}

TEST_CASE("a slot whose attempt timed out waits for the word of every process that holds a part") {
    World world;
    World::Client& rank0 = world.open(two_parts("engine"));
    World::Client& rank1 = world.open(two_parts("engine"));
    Reply part0 = rank0.now(reserve_of({kKey}, 0));
    Reply part1 = rank1.now(reserve_of({kKey}, 1));
    uint32_t slot = part0.items[0].slot;
    SlotInfo& info = rank0.opened.space->slots().info(slot);
    world.pass(6000);
    CHECK(info.state == static_cast<uint8_t>(SlotState::attempt));
    // The key is free at once, in another slot.
    Reply again = rank0.now(reserve_of({kKey}, 0));
    CHECK(again.items[0].status == 0);
    CHECK(again.items[0].slot != slot);
    CHECK(rank0.now(word_of(Verb::commit, part0.handle)).status == -WEFT_ETIMEOUT);
    CHECK(info.state == static_cast<uint8_t>(SlotState::attempt));
    CHECK(rank1.now(word_of(Verb::abort, part1.handle)).status == 0);
    world.pass(250);
    CHECK(info.state == static_cast<uint8_t>(SlotState::free));
}

TEST_CASE("a dead process's word is its death") {
    World world;
    World::Client& writer = world.open(one_part("a"));
    World::Client& other = world.open(one_part("b"));
    Reply held = writer.now(reserve_of({kKey}));
    world.pass(6000);
    SlotInfo& info = other.opened.space->slots().info(held.items[0].slot);
    CHECK(info.state == static_cast<uint8_t>(SlotState::attempt));
    writer.die();
    world.pass(250);
    CHECK(info.state == static_cast<uint8_t>(SlotState::free));
}

TEST_CASE("an abort by key frees the key and is nobody's word for a slot") {
    World world;
    World::Client& a = world.open(one_part("a"));
    Reply held = a.now(reserve_of({kKey}));
    SlotInfo& info = a.opened.space->slots().info(held.items[0].slot);
    CHECK(a.now(abort_by_key(kKey)).items[0].status == 0);
    world.pass(250);
    CHECK(info.state == static_cast<uint8_t>(SlotState::attempt));
    CHECK(a.now(word_of(Verb::commit, held.handle)).status == -WEFT_ECANCELED);
    world.pass(250);
    CHECK(info.state == static_cast<uint8_t>(SlotState::free));
    CHECK(a.now(abort_by_key(kKey)).items[0].status == -WEFT_EMISS);
}

TEST_CASE("an abort of what another writer writes ends nothing") {
    World world;
    World::Client& a = world.open(one_part("a"));
    World::Client& b = world.open(one_part("b"));
    Reply held = a.now(reserve_of({kKey}));
    CHECK(b.now(abort_by_key(kKey)).items[0].status == -WEFT_EMISS);
    CHECK(b.now(word_of(Verb::abort, held.handle)).status == -WEFT_EINVAL);
    CHECK(b.now(word_of(Verb::commit, held.handle)).status == -WEFT_EINVAL);
    CHECK(a.now(word_of(Verb::commit, held.handle)).detail == 1);
}

TEST_CASE("a process that never gives its word comes to a limit, and out of it again") {
    World world;
    World::Client& a = world.open(one_part("a"));
    std::vector<uint64_t> handles;
    for (uint64_t i = 0; i < Writing::kQuarantineMax; i++)
        handles.push_back(a.now(reserve_of({Key{2, i}})).handle);
    world.pass(6000);
    Reply refused = a.now(reserve_of({kKey}));
    CHECK(refused.items[0].status == -WEFT_EQUOTA);
    CHECK(refused.message.find("64") != std::string::npos);
    a.now(word_of(Verb::abort, handles[0]));
    CHECK(a.now(reserve_of({kKey})).items[0].status == 0);
}

TEST_CASE("a range that is being written is nobody else's, also when its neighbour is done") {
    World world;
    World::Client& a = world.open(one_part("w"));
    World::Client& b = world.open(one_part("w"));
    Reply first = a.now(range_of(kKey, 0, 2048));
    Reply second = b.now(range_of(kKey, 2048, 2048));
    REQUIRE(first.items[0].status == 0);
    REQUIRE(second.items[0].status == 0);
    CHECK(a.now(word_of(Verb::commit, first.handle)).status == 0);
    CHECK(a.now(range_of(kKey, 2048, 2048)).items[0].status == -WEFT_EHELD);
    CHECK(a.now(range_of(kKey, 3000, 10)).items[0].status == -WEFT_EHELD);
    Reply end = b.now(word_of(Verb::commit, second.handle));
    CHECK(end.status == 0);
    CHECK(end.detail == 1);
}

TEST_CASE("ranges of a part come in any order, and none comes twice") {
    World world;
    World::Client& a = world.open(one_part("a"));
    Reply high = a.now(range_of(kKey, 2048, 2048));
    CHECK(a.now(range_of(kKey, 1024, 2048)).items[0].status == -WEFT_EHELD);
    CHECK(a.now(word_of(Verb::commit, high.handle)).detail == 0);
    CHECK(a.now(range_of(kKey, 2048, 2048)).items[0].status == -WEFT_EEXISTS);
    CHECK(a.now(range_of(kKey, 4000, 200)).items[0].status == -WEFT_ERANGE);
    CHECK(a.now(reserve_of({kKey})).items[0].status == -WEFT_EEXISTS);
    Reply low = a.now(range_of(kKey, 0, 2048));
    CHECK(low.items[0].slot == high.items[0].slot);
    CHECK(a.now(word_of(Verb::commit, low.handle)).detail == 1);
    CHECK(a.sees(kKey));
}

TEST_CASE("what one process has open for writing in place, another one does not save into") {
    World world;
    World::Client& p = world.open(one_part("engine"));
    World::Client& q = world.open(one_part("engine"));
    Reply held = p.now(reserve_of({kKey}));
    CHECK(q.now(range_of(kKey, 0, 100)).items[0].status == -WEFT_EHELD);
    CHECK(q.now(reserve_of({kKey})).items[0].status == -WEFT_EHELD);
    CHECK(p.now(reserve_of({kKey})).items[0].status == -WEFT_EHELD);
    CHECK(p.now(range_of(kKey, 0, 100)).items[0].status == 0);
    CHECK(p.now(word_of(Verb::commit, held.handle)).items[0].status == 0);
}

TEST_CASE("a block is not published while a copy into it is under way") {
    World world;
    World::Client& a = world.open(kOnePart);
    Reply held = a.now(reserve_of({kKey}));
    Reply copy = a.now(range_of(kKey, 0, 1000));
    REQUIRE(copy.items[0].status == 0);
    CHECK(a.now(word_of(Verb::commit, held.handle)).detail == 0);
    CHECK_FALSE(a.sees(kKey));
    CHECK(a.now(word_of(Verb::commit, copy.handle)).detail == 1);
    CHECK(a.sees(kKey));
}

TEST_CASE("a list's checksums reach their blocks, whichever of them had to wait") {
    World world;
    World::Client& a = world.open(one_part("a"));
    World::Client& b = world.open(one_part("b"));
    Reply held = b.now(reserve_of({Key{9, 0}}));
    Request list = request_of(Verb::reserve, {Key{9, 0}, Key{9, 1}}, WEFT_WAIT_WRITER, 0);
    AnsweredPtr pieces = a.ask(std::move(list));
    CHECK(pieces->times == 0);
    b.now(word_of(Verb::abort, held.handle));
    REQUIRE(pieces->times == 1);
    Request commit = word_of(Verb::commit, pieces->reply.handle);
    commit.items.push_back({Key{9, 0}, 4096, kNoSlot, 500});
    commit.items.push_back({Key{9, 1}, 4096, kNoSlot, 501});
    CHECK(a.now(std::move(commit)).value == 2);
    for (uint64_t i = 0; i < 2; i++) {
        uint32_t slot = a.opened.space->find({9, i}, a.opened.version, world.time);
        REQUIRE(slot == pieces->reply.items[i].slot);
        CHECK(a.opened.space->slots().checksum(slot, 0).load_relaxed() == 500 + i);
    }
}

TEST_CASE("the parts that a dead writer saved and never completed are dropped with it") {
    World world;
    World::Client& rank0 = world.open(two_parts("engine"));
    World::Client& other = world.open(two_parts("other"));
    Reply part0 = rank0.now(range_of(kKey, 0, 0, 0));
    rank0.now(word_of(Verb::commit, part0.handle));
    AnsweredPtr waits = other.ask(reserve_of({kKey}, 0, WEFT_WAIT_WRITER));
    CHECK(waits->times == 0);
    rank0.die();
    REQUIRE(waits->times == 1);
    CHECK(waits->reply.items[0].status == 0);
}

TEST_CASE("replace keeps the old block for readers until the new one is whole") {
    World world;
    World::Client& a = world.open(kOnePart);
    CHECK(save(a, kKey) == 0);
    uint32_t old = a.opened.space->find(kKey, 0, world.time);
    Reply held = a.now(reserve_of({kKey}, 0, WEFT_REPLACE));
    REQUIRE(held.items[0].status == 0);
    CHECK(a.opened.space->find(kKey, 0, world.time) == old);
    CHECK(a.now(word_of(Verb::commit, held.handle)).detail == 1);
    CHECK(a.opened.space->find(kKey, 0, world.time) == held.items[0].slot);
    CHECK(a.opened.space->blocks() == 1);
    CHECK(save(a, kKey, WEFT_REPLACE) == 0);
    CHECK(a.opened.space->blocks() == 1);
    CHECK(a.opened.space->stats_now().replaced == 2);
}

TEST_CASE("a fence ends attempts, and what comes too late does not publish") {
    World world;
    World::Client& a = world.open(one_part("a"));
    World::Client& b = world.open(one_part("b"));
    Reply held = a.now(reserve_of({kKey}));
    AnsweredPtr waits = b.ask(reserve_of({kKey}, 0, WEFT_WAIT_WRITER));
    Request advance = word_of(Verb::advance, 3);
    CHECK(b.now(std::move(advance)).value == 3);
    REQUIRE(waits->times == 1);
    CHECK(waits->reply.items[0].status == -WEFT_EFENCED);
    CHECK(a.now(word_of(Verb::commit, held.handle)).status == -WEFT_EFENCED);
    CHECK(save(a, {5, 5}) == -WEFT_EFENCED);
    CHECK_FALSE(a.sees(kKey));
}

TEST_CASE("a reconnect ends what the process no longer knows and what it waited for") {
    World world;
    World::Client& a = world.open(one_part("a"));
    World::Client& b = world.open(one_part("b"));
    Reply known = a.now(reserve_of({Key{1, 0}}));
    Reply lost = a.now(reserve_of({Key{1, 1}}));
    Reply others = b.now(reserve_of({Key{1, 2}}));
    AnsweredPtr waits = a.ask(reserve_of({Key{1, 2}}, 0, WEFT_WAIT_WRITER));
    world.cache.keep_only(a.session, a.opened.opening, {known.handle}, {}, world.time);
    world.deliver();
    REQUIRE(waits->times == 1);
    CHECK(waits->reply.status == -WEFT_ECLOSED);
    b.now(word_of(Verb::abort, others.handle));
    CHECK(waits->times == 1);
    CHECK(b.now(reserve_of({Key{1, 2}})).items[0].status == 0);  // nobody was granted it
    CHECK(b.now(reserve_of({Key{1, 1}})).items[0].status == 0);
    CHECK(a.now(word_of(Verb::commit, known.handle)).detail == 1);
    CHECK(a.now(word_of(Verb::commit, lost.handle)).status == -WEFT_EINVAL);
}

TEST_CASE("a stock is at most 64 slots, and a 32nd of the memory") {
    for (uint64_t memory : {uint64_t{64} << 20, uint64_t{4} << 20}) {
        World world(memory);
        World::Client& a = world.open(kOnePart);
        Request stock = request_of(Verb::stock, {Key{}}, 0, 4096);
        stock.size = 1000;
        uint64_t most = std::min<uint64_t>(64, memory / 32 / slot_bytes_for(4096));
        CHECK(a.now(Request(stock)).stock.size() == most);
        CHECK(a.now(std::move(stock)).stock.empty());
    }
}

TEST_CASE("a list is given the stock that it needs, whatever single saves have left") {
    World world(uint64_t{64} << 20);
    World::Client& a = world.open(kOnePart);
    Request stock = request_of(Verb::stock, {Key{}}, 0, 4096);
    stock.size = 1;
    Request publish = request_of(Verb::publish, {kKey}, 0, 4096);
    publish.items[0].slot = a.now(std::move(stock)).stock.at(0).slot;
    publish.size = 1;
    Reply single = a.now(Request(publish));
    REQUIRE(single.stock.size() == 1);
    publish.items[0].key = {7, 7};
    publish.items[0].slot = single.stock[0].slot;
    publish.size = 32;
    Reply list = a.now(Request(publish));
    REQUIRE(list.stock.size() == 32);
    publish.items[0].key = {7, 8};
    publish.items[0].slot = list.stock[0].slot;
    CHECK(a.now(Request(publish)).stock.size() == 1);  // it keeps as many, and no more
}

TEST_CASE("at a reconnect the node takes back the stock that the process does not know") {
    World world;
    World::Client& a = world.open(kOnePart);
    Request stock = request_of(Verb::stock, {Key{}}, 0, 4096);
    stock.size = 4;
    std::vector<ReplyItem> slots = a.now(std::move(stock)).stock;
    REQUIRE(slots.size() >= 2);
    Slots& all = world.cache.namespace_of(a.session, a.opened.opening)->slots();
    uint32_t used = all.segment_of(slots[0].slot).used;
    world.cache.keep_only(a.session, a.opened.opening, {}, {slots[0].slot}, world.time);
    world.pass(250);
    CHECK(all.segment_of(slots[0].slot).used == used - (slots.size() - 1));
    Request publish = request_of(Verb::publish, {kKey}, 0, 4096);
    publish.items[0].slot = slots[1].slot;  // its answer was lost: it may be another block's now
    CHECK(a.now(publish).items[0].status == -WEFT_EINVAL);
    publish.items[0].slot = slots[0].slot;
    CHECK(a.now(publish).items[0].status == 0);
}

TEST_CASE("a slot named in a save that found the key taken is named in the answer") {
    World world;
    World::Client& a = world.open(kOnePart);
    CHECK(save(a, kKey) == 0);
    Request stock = request_of(Verb::stock, {Key{}}, 0, 4096);
    stock.size = 1;
    ReplyItem slot = a.now(std::move(stock)).stock.at(0);
    Request publish = request_of(Verb::publish, {kKey}, 0, 4096);
    publish.items[0].slot = slot.slot;
    Reply refused = a.now(publish);
    CHECK(refused.items[0].status == -WEFT_EEXISTS);
    CHECK(refused.items[0].slot == slot.slot);
    publish.items[0].key = {7, 7};
    CHECK(a.now(publish).items[0].status == 0);
    publish.items[0].key = {7, 8};
    CHECK(a.now(publish).items[0].status == -WEFT_EINVAL);  // it is published: no longer stock
}

TEST_CASE("a save of less than its writer has reserved is told to join, one of all of it to wait") {
    World world;
    World::Client& a = world.open("part_bytes=0");
    Reply held = a.now(reserve_of({kKey}, 0, 0, 2000));
    auto publish = [&](uint64_t size) {
        Request stock = request_of(Verb::stock, {Key{}}, 0, size);
        stock.size = 1;
        Request request = request_of(Verb::publish, {kKey}, 0, size);
        request.items[0].slot = a.now(std::move(stock)).stock.at(0).slot;
        return a.now(std::move(request)).items[0];
    };
    CHECK(publish(1000).status == -WEFT_EHELD);
    CHECK(publish(1000).value == kJoins);
    CHECK(publish(2000).status == -WEFT_EHELD);
    CHECK(publish(2000).value == 0);
    Reply low = a.now(range_of(kKey, 0, 1000));
    Reply high = a.now(range_of(kKey, 1000, 1000));
    CHECK(a.now(word_of(Verb::commit, low.handle)).detail == 0);
    CHECK(a.now(word_of(Verb::commit, high.handle)).detail == 0);
    CHECK_FALSE(a.sees(kKey));  // whoever holds the reservation may still write
    CHECK(a.now(word_of(Verb::commit, held.handle)).detail == 1);
    CHECK(a.sees(kKey));
}
