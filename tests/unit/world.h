// A node's cache without a machine: fake memory, processes that answer at once (or not), a clock
// that the test moves. What a test asks is answered when it looks.
//
// Invariants: time moves only by `pass`; every request's answers are counted, so that a second one
// would be seen.
#pragma once
#include <doctest/doctest.h>

#include <cstring>
#include <deque>
#include <memory>

#include "core/cache.h"
#include "core/index/cells.h"
#include "fabric/clock/clock.h"
#include "tests/unit/fake_memory.h"

namespace weft {

class FakeProcess final : public Process {
  public:
    bool push_segment(uint64_t, const Segment&, bool) override { return confirms; }
    bool drop_segment(uint64_t, uint32_t) override {
        drops++;
        return confirms;
    }
    bool confirms = true;
    uint32_t drops = 0;
};

class FakeKeeper final : public StateKeeper {
  public:
    Status save(const std::string& text) override {
        if (fails) return Failure{WEFT_EINTERNAL, "the disk is full"};
        kept = text;
        return Nothing{};
    }
    std::string kept;
    bool fails = false;
};

/** A request's answer, once it is there. */
struct Answered {
    uint32_t times = 0;
    Reply reply;
};
using AnsweredPtr = std::shared_ptr<Answered>;  // shared with the cache until it answers

class World {
  public:
    /** One opening of one process. */
    struct Client {
        World* world = nullptr;
        std::unique_ptr<FakeProcess> process = std::make_unique<FakeProcess>();
        std::unique_ptr<ReaderPage> page;
        std::unique_ptr<Cells> cells;
        uint32_t session = 0;
        Opened opened;
        std::map<uint64_t, std::vector<ReplyItem>> stock;  // by slot size

        AnsweredPtr ask(Request request);
        Reply now(Request request) {
            AnsweredPtr answered = ask(std::move(request));
            REQUIRE(answered->times == 1);
            return answered->reply;
        }
        void close() {
            REQUIRE(world->cache.close_opening(session, opened.opening, world->time).ok());
        }
        void die() { world->cache.end_session(session, world->time), world->deliver(); }
        std::byte* address(const ReplyItem& item) {
            return opened.space->slots().address(item.slot);
        }
        IndexReader reader() {
            return IndexReader(opened.space->slots().index().mapping.address());
        }
        bool sees(Key key) {
            Found found;
            return reader().look(key, hash_key(key), opened.version, world->time, found) ==
                   Look::hit;
        }
    };

    explicit World(uint64_t memory_bytes = uint64_t{64} << 20, StateKeeper* keeper = nullptr)
        : cache(options_of(memory_bytes), memory, keeper) {}
    ~World() {
        for (auto& client : clients) cache.end_session(client->session, time);
    }

    Client& open(const std::string& options, const std::string& name = "t/m",
                 Grants grants = {{"*", kAllRights}}) {
        clients.push_back(std::make_unique<Client>());
        Client& client = *clients.back();
        client.world = this;
        client.page = std::make_unique<ReaderPage>();
        memset(static_cast<void*>(client.page.get()), 0, sizeof(ReaderPage));
        client.cells = std::make_unique<Cells>(client.page.get());
        client.session = *cache.begin_session(*client.process, std::move(grants), 0);
        Result<Opened> opened =
            cache.open_namespace(client.session, name, options, client.page.get(), 0, time);
        REQUIRE_MESSAGE(opened.ok(), (opened.ok() ? "" : opened.failure().message));
        client.opened = *opened;
        return client;
    }
    void pass(uint64_t milliseconds) {
        time += milliseconds * fabric::kMillisecond;
        cache.tick(time);
        deliver();
    }
    void deliver() {
        for (Cache::Answer& answer : cache.take_replies()) answer.done(std::move(answer.reply));
    }

    static CacheOptions options_of(uint64_t memory_bytes) {
        CacheOptions options;
        options.memory = memory_bytes;
        options.incarnation = 0x1234567;
        return options;
    }

    FakeMemory memory;
    uint64_t time = 1000 * fabric::kSecond;
    Cache cache;
    std::deque<std::unique_ptr<Client>> clients;
};

inline AnsweredPtr World::Client::ask(Request request) {
    auto answered = std::make_shared<Answered>();
    if (request.deadline == 0) request.deadline = world->time + 10 * fabric::kSecond;
    world->cache.run(
        session, opened.opening, std::move(request),
        [answered](Reply&& reply) {
            answered->times++;
            answered->reply = std::move(reply);
        },
        world->time);
    world->deliver();
    return answered;
}

inline Request request_of(Verb verb, std::initializer_list<Key> keys, uint32_t flags = 0,
                          uint64_t size = 0) {
    Request request;
    request.verb = verb;
    request.flags = flags;
    for (const Key& key : keys) request.items.push_back({key, size, kNoSlot, 0});
    return request;
}
inline Request reserve_of(std::initializer_list<Key> keys, uint32_t part = 0, uint32_t flags = 0,
                          uint64_t size = 0) {
    Request request = request_of(Verb::reserve, keys, flags, size);
    request.user = true;
    request.part = part;
    return request;
}
inline Request word_of(Verb verb, uint64_t reservation) {
    Request request;
    request.verb = verb;
    request.number = reservation;
    return request;
}
/** Saves a whole block of one part through the stock, as a client does; returns the item's status.
 */
inline int32_t save(World::Client& client, Key key, uint32_t flags = 0, uint64_t size = 4096,
                    uint32_t ttl_s = 0) {
    std::vector<ReplyItem>& stock = client.stock[slot_bytes_for(size)];
    if (stock.empty()) {
        Request wanted = request_of(Verb::stock, {Key{}}, 0, size);
        wanted.size = 1;
        Reply given = client.now(std::move(wanted));
        if (given.stock.empty()) return given.items.empty() ? given.status : given.items[0].status;
        stock = given.stock;
    }
    Request publish = request_of(Verb::publish, {key}, flags, size);
    publish.items[0].slot = stock.back().slot;
    publish.ttl_s = ttl_s;
    Reply reply = client.now(std::move(publish));
    if (reply.items.empty()) return reply.status;
    if (reply.items[0].status == 0) stock.pop_back();
    stock.insert(stock.end(), reply.stock.begin(), reply.stock.end());
    return reply.items[0].status;
}
/** The same through a reservation, which leaves nothing in stock. */
inline int32_t put(World::Client& client, Key key, uint64_t size = 0) {
    Reply held = client.now(reserve_of({key}, 0, 0, size));
    if (held.items[0].status != 0) return held.items[0].status;
    return client.now(word_of(Verb::commit, held.handle)).status;
}

}  // namespace weft
