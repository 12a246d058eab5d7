// The shared hash table as its writer keeps it and as a reader finds it.
#include "core/index/table.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <unordered_map>

#include "core/index/reader.h"
#include "tests/unit/fake_memory.h"

using namespace weft;

namespace {

/** An index of `slots` slot headers, with a table over them. */
class Index {
  public:
    explicit Index(uint64_t slots) {
        uint64_t buckets = slots / 4 + 64;
        uint64_t table_bytes = (buckets * sizeof(Bucket) + 4095) & ~uint64_t{4095};
        file = std::move(
            *memory.create_index(kIndexPage + 2 * table_bytes + slots * sizeof(SlotHeader)));
        IndexHeader& header = *reinterpret_cast<IndexHeader*>(file.mapping.address());
        header.buckets.store_relaxed(kIndexPage);
        header.overflow.store_relaxed(kIndexPage + table_bytes);
        header.slots.store_relaxed(kIndexPage + 2 * table_bytes);
        header.slots_max.store_relaxed(slots);
        header.buckets_max.store_relaxed(buckets);
        header.serve_until.store_relaxed(UINT64_MAX);
        headers =
            reinterpret_cast<SlotHeader*>(file.mapping.address() + kIndexPage + 2 * table_bytes);
        table = Table(file.mapping.address(), [this](uint64_t, uint64_t) { return !full; });
        table.hash_of = [this](uint32_t slot) {
            return hash_key(
                {headers[slot].key_hi.load_relaxed(), headers[slot].key_lo.load_relaxed()});
        };
        REQUIRE(table.start());
    }
    bool insert(uint32_t slot, Key key) {
        headers[slot].key_hi.store_relaxed(key.hi);
        headers[slot].key_lo.store_relaxed(key.lo);
        headers[slot].gen.store_relaxed(headers[slot].gen.load_relaxed() + 2);
        return table.insert(hash_key(key), slot);
    }
    uint32_t find(Key key) const {
        return table.find(hash_key(key), [&](uint32_t slot) {
            return headers[slot].key_lo.load_relaxed() == key.lo &&
                   headers[slot].key_hi.load_relaxed() == key.hi;
        });
    }
    /** As another process would look. */
    uint32_t look(Key key) const {
        Found found;
        Look result = IndexReader(file.mapping.address()).look(key, hash_key(key), 0, 1, found);
        REQUIRE(result != Look::ask);
        return result == Look::hit ? found.slot : kNoSlot;
    }

    FakeMemory memory;
    fabric::SharedFile file;
    SlotHeader* headers = nullptr;
    Table table;
    bool full = false;
};

Key key_of(uint64_t number) { return {number * 0x9e3779b97f4a7c15, number}; }

}  // namespace

TEST_CASE("a header that was never laid out is no block, not even key 0 at version 0") {
    Index index(16);
    REQUIRE(index.table.insert(hash_key({0, 0}), 3));
    CHECK(index.look({0, 0}) == kNoSlot);
    REQUIRE(index.insert(4, {0, 0}));
    CHECK(index.look({0, 0}) == 4);
}

TEST_CASE("churn leaves a table as small as its entries need") {
    constexpr uint32_t kCount = 10'000;
    Index index(kCount + 16);
    for (uint32_t slot = 0; slot < kCount; slot++) REQUIRE(index.insert(slot, key_of(slot)));
    uint64_t number = kCount;
    for (int round = 0; round < 30; round++) {
        for (uint32_t slot = 0; slot < kCount; slot++) {
            index.table.remove(hash_key(key_of(number - kCount)), slot);
            REQUIRE(index.insert(slot, key_of(number++)));
        }
    }
    // 16.2 bytes an entry are expected at the most (slots.cpp promises 20).
    CHECK(index.table.bytes() < kCount * 18);
    uint32_t wrong = 0;
    for (uint32_t slot = 0; slot < kCount; slot++)
        wrong += index.look(key_of(number - kCount + slot)) != slot ? 1 : 0;
    CHECK(wrong == 0);
}

TEST_CASE("a table of 100,000 keys finds each and no other, for writer and reader") {
    constexpr uint32_t kCount = 100'000;
    Index index(kCount + 16);
    for (uint32_t slot = 0; slot < kCount; slot++) REQUIRE(index.insert(slot, key_of(slot)));
    CHECK(index.table.entries() == kCount);
    uint32_t wrong = 0;
    for (uint32_t slot = 0; slot < kCount; slot++) {
        wrong += index.find(key_of(slot)) != slot || index.look(key_of(slot)) != slot ? 1 : 0;
        wrong += index.look(key_of(slot + kCount)) != kNoSlot ? 1 : 0;
    }
    CHECK(wrong == 0);
}

TEST_CASE("keys that only count up are found as well as digests are") {
    Index index(20'000);
    for (uint32_t slot = 0; slot < 20'000; slot++) REQUIRE(index.insert(slot, {0, slot}));
    uint32_t wrong = 0;
    for (uint32_t slot = 0; slot < 20'000; slot++) wrong += index.look({0, slot}) != slot ? 1 : 0;
    CHECK(wrong == 0);
    CHECK(index.table.bytes() <= 24 * 20'000);
}

TEST_CASE("whatever is inserted, replaced and removed, the table holds exactly what is left") {
    Index index(8'192);
    std::mt19937_64 random(7);
    std::unordered_map<uint64_t, uint32_t> expected;  // number -> slot
    std::vector<uint32_t> free;
    for (uint32_t slot = 0; slot < 8'192; slot++) free.push_back(slot);
    for (int step = 0; step < 200'000; step++) {
        uint64_t number = random() % 12'000;
        auto found = expected.find(number);
        if (found == expected.end() && !free.empty()) {
            REQUIRE(index.insert(free.back(), key_of(number)));
            expected[number] = free.back();
            free.pop_back();
        } else if (found != expected.end() && random() % 4 == 0 && !free.empty()) {
            uint32_t next = free.back();
            index.headers[next].key_hi.store_relaxed(key_of(number).hi);
            index.headers[next].key_lo.store_relaxed(key_of(number).lo);
            index.headers[next].gen.store_relaxed(2);
            index.table.replace(hash_key(key_of(number)), found->second, next);
            free.back() = found->second;
            found->second = next;
        } else if (found != expected.end()) {
            index.table.remove(hash_key(key_of(number)), found->second);
            free.push_back(found->second);
            expected.erase(found);
        }
    }
    CHECK(index.table.entries() == expected.size());
    uint32_t wrong = 0;
    for (uint64_t number = 0; number < 12'000; number++) {
        auto found = expected.find(number);
        uint32_t slot = found == expected.end() ? kNoSlot : found->second;
        wrong += index.find(key_of(number)) != slot || index.look(key_of(number)) != slot ? 1 : 0;
    }
    CHECK(wrong == 0);
}

TEST_CASE("without memory for a bucket an insert says so and changes nothing") {
    Index index(100'000);
    uint32_t slot = 0;
    for (; slot < 1'000; slot++) REQUIRE(index.insert(slot, key_of(slot)));
    index.full = true;
    while (index.insert(slot, key_of(slot))) slot++;
    CHECK(index.look(key_of(slot)) == kNoSlot);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < slot; i++) wrong += index.look(key_of(i)) != i ? 1 : 0;
    CHECK(wrong == 0);
    index.full = false;
    CHECK(index.insert(slot, key_of(slot)));
    CHECK(index.look(key_of(slot)) == slot);
}

TEST_CASE("a table that its node left in the middle of a change sends readers to ask") {
    Index index(64);
    REQUIRE(index.insert(0, key_of(1)));
    IndexReader reader(index.file.mapping.address());
    auto* buckets = reinterpret_cast<Bucket*>(index.file.mapping.address() + kIndexPage);
    auto& header = *reinterpret_cast<IndexHeader*>(index.file.mapping.address());
    Found found;
    CHECK(reader.look(key_of(2), hash_key(key_of(2)), 0, 1, found) == Look::miss);
    for (SharedWord* word : {&buckets->link, &header.table}) {
        word->store_relaxed(word->load_relaxed() + 1);
        // In a process of its own, which a look-up that never ends does not survive.
        pid_t looks = fork();
        REQUIRE(looks >= 0);
        if (looks == 0) {
            alarm(10);
            SharedWord cell;
            bool asks = reader.look(key_of(2), hash_key(key_of(2)), 0, 1, found) == Look::ask &&
                        reader.hold(key_of(2), hash_key(key_of(2)), 0, 1, cell, found) == Look::ask;
            _exit(asks ? 0 : 1);
        }
        int ended = 0;
        REQUIRE(waitpid(looks, &ended, 0) == looks);
        CHECK(ended == 0);
        word->store_relaxed(word->load_relaxed() - 1);
    }
    CHECK(reader.look(key_of(2), hash_key(key_of(2)), 0, 1, found) == Look::miss);
}
