// A store's calls beside each other: whose thread waits for whom. Copies and calls are held up in
// the middle by the memory that they touch (held_memory.h), so nothing here depends on speed.
#include "core/node/store.h"

#include <doctest/doctest.h>

#include <cstring>
#include <future>

#include "tests/unit/folder.h"
#include "tests/unit/held_memory.h"

using namespace weft;

namespace {

constexpr uint32_t kBlock = 4096;
constexpr fabric::LogLevel kQuiet = fabric::LogLevel::error;
constexpr auto kPatience = std::chrono::seconds(20);

std::unique_ptr<Store> open_store(uint32_t timeout_ms) {
    StoreOptions options;
    options.node.cache.memory = 64 << 20;
    options.timeout_ms = timeout_ms;
    Result<std::unique_ptr<Store>> store = Store::open(options, fabric::Log(-1, kQuiet));
    REQUIRE(store.ok());
    return std::move(*store);
}

uint32_t open_space(Store& store, const std::string& name) {
    weft_namespace opened{};
    Status status = store.open_namespace(name, "part_bytes=" + std::to_string(kBlock), opened);
    REQUIRE(status.ok());
    return opened.space;
}

weft_op op_of(uint32_t kind, uint32_t space, uint64_t key) {
    weft_op op{};
    op.kind = static_cast<uint16_t>(kind);
    op.space = space;
    op.key_hi = 1;
    op.key_lo = key;
    return op;
}

weft_event run_one(Store& store, Queue& queue, const weft_op& op) {
    weft_event event{};
    REQUIRE(store.submit(queue, &op, 1) == 1);
    REQUIRE(queue.reap(&event, 1, 60000) == 1);
    return event;
}

/** A store with one block, a queue whose copies are all the copying thread's, and memory. */
class World {
  public:
    explicit World(uint32_t timeout_ms)
        : store(open_store(timeout_ms)), space(open_space(*store, "t/main")) {
        queue = *store->open_queue(64, 0, 1);
        region = *store->adopt_region(reinterpret_cast<uint64_t>(held.data()), HeldMemory::kBytes);
        memset(held.data(), 7, kBlock);
        CHECK(run(moving(WEFT_OP_SAVE)).status == 0);
        memset(held.data(), 0, kBlock);
    }
    ~World() {
        held.release();
        weft_event event;
        while (store->close_queue(queue) > 0) queue->reap(&event, 1, 1000);
        store->destroy_queue(queue);
        CHECK(store->drop_region(region) == 0);
        CHECK(store->close_namespace(space).ok());
        CHECK(store->check_close().ok());
    }
    /** LOAD or SAVE of the block, to or from held memory. */
    weft_op moving(uint32_t kind) const {
        weft_op op = op_of(kind, space, 1);
        op.region = region;
        op.size = kBlock;
        op.timeout_ms = 60000;  // whatever the store's is
        return op;
    }
    void submit(const weft_op& op) const { REQUIRE(store->submit(*queue, &op, 1) == 1); }
    weft_event reap() {
        weft_event event{};
        REQUIRE(queue->reap(&event, 1, 60000) == 1);
        return event;
    }
    weft_event run(const weft_op& op) const { return run_one(*store, *queue, op); }

    HeldMemory held;
    std::unique_ptr<Store> store;
    uint32_t space;
    uint32_t region;
    Queue* queue;
};

/** A client of a node in this process, one block with a checksum and one being written in place. */
class Behind {
  public:
    Behind() {
        StoreOptions options;
        options.node.cache.memory = 64 << 20;
        options.node.listen = folder.path + "/s";
        Result<std::unique_ptr<Store>> opened = Store::open(options, fabric::Log(-1, kQuiet));
        REQUIRE(opened.ok());
        node = std::move(*opened);
        options = StoreOptions();
        options.connect = folder.path + "/s";
        opened = Store::open(options, fabric::Log(-1, kQuiet));
        REQUIRE(opened.ok());
        store = std::move(*opened);
        space = open_space(*store, "t/main");
        all = *store->adopt_region(0, 0);
        queue = *store->open_queue(8, 1 << 20, 1);
        idle = *store->open_queue(8, 1 << 20, 1);
        std::vector<std::byte> bytes(kBlock, std::byte{5});
        weft_op saving = op_of(WEFT_OP_SAVE, space, 1);
        saving.region = all;
        saving.size = kBlock;
        saving.offset = reinterpret_cast<uint64_t>(bytes.data());
        REQUIRE(run_one(*store, *queue, saving).status == 0);
        reserved = run_one(*store, *queue, op_of(WEFT_OP_RESERVE, space, 2));
        REQUIRE(reserved.status == 0);
    }
    ~Behind() {
        for (Queue* one : {queue, idle}) {
            CHECK(store->close_queue(one) == 0);
            store->destroy_queue(one);
        }
        CHECK(store->drop_region(all) == 0);
        CHECK(store->close_namespace(space).ok());
    }
    Folder folder;
    std::unique_ptr<Store> node, store;
    uint32_t space = 0, all = 0;
    Queue* queue = nullptr;
    Queue* idle = nullptr;
    weft_event reserved{};
};

/** A World whose held memory has a view waiting in it, beside which there are a namespace and a
 * region that nobody uses. */
class Looking {
  public:
    explicit Looking(uint32_t timeout_ms)
        : world(timeout_ms), store(*world.store), other(open_space(store, "t/other")) {
        uint64_t address = 0;
        region = *store.map_region(kBlock, address);
        auto* items = reinterpret_cast<weft_item*>(world.held.data());
        items[0] = {1, 1, 0, 0, 0};
        world.held.hold();
        looking_ = std::thread(
            [this, items] { CHECK(store.view(world.space, 0, items, 1, &view_) == 1); });
        REQUIRE(world.held.reached());
    }
    /** Lets the view come to its end, and ends it. */
    void end() {
        world.held.release();
        looking_.join();
        CHECK(store.release(&view_, 1) == 0);
    }
    World world;
    Store& store;
    uint32_t other;
    uint32_t region = 0;

  private:
    uint64_t view_ = 0;
    std::thread looking_;
};

/** Runs a body on a thread of its own. False: it is still waiting for what is held. */
template <typename F>
bool goes_on(HeldMemory& held, F body) {
    std::future<void> done = std::async(std::launch::async, body);
    bool over = done.wait_for(kPatience) == std::future_status::ready;
    if (!over) held.release();
    done.get();
    return over;
}

}  // namespace

TEST_CASE("while a load is copied, regions, namespaces and queues of others come and go") {
    World world(60000);
    Store& store = *world.store;
    uint32_t other = open_space(store, "t/other");
    uint64_t address = 0;
    uint32_t mapped = *store.map_region(kBlock, address);
    world.held.hold();
    world.submit(world.moving(WEFT_OP_LOAD));
    REQUIRE(world.held.reached());
    CHECK(goes_on(world.held, [&] {
        CHECK(store.drop_region(mapped) == 0);
        CHECK(store.close_namespace(other).ok());
        CHECK(store.close_namespace(open_space(store, "t/third")).ok());
        Queue* queue = *store.open_queue(8, 0, 1);
        CHECK(store.close_queue(queue) == 0);
        store.destroy_queue(queue);
        // What the load names is in use, and stays what it is.
        CHECK(store.drop_region(world.region) == -WEFT_EBUSY);
        CHECK(store.close_namespace(world.space).failure().code == WEFT_EBUSY);
    }));
    world.held.release();
    CHECK(world.reap().status == 0);
    CHECK(world.held.data()[kBlock - 1] == std::byte{7});
}

TEST_CASE("a drop and a close give up at the timeout when a call goes on that may have found it") {
    Looking looking(500);
    World& world = looking.world;
    Store& store = looking.store;
    uint32_t other = looking.other, mapped = looking.region;
    CHECK(goes_on(world.held, [&] {
        CHECK(store.drop_region(mapped) == -WEFT_ETIMEOUT);
        CHECK(store.close_namespace(other).failure().code == WEFT_ETIMEOUT);
        CHECK(store.check_close().failure().code == WEFT_EBUSY);  // both are still open
    }));
    looking.end();
    CHECK(store.drop_region(mapped) == 0);
    CHECK(store.drop_region(mapped) == -WEFT_ECLOSED);
    CHECK(store.close_namespace(other).ok());
    CHECK(store.close_namespace(other).failure().code == WEFT_ECLOSED);
}

TEST_CASE("what is being dropped or closed is nobody else's to take, and its place is not free") {
    Looking looking(60000);
    World& world = looking.world;
    Store& store = looking.store;
    uint32_t other = looking.other, mapped = looking.region;
    std::thread dropping([&] {
        int32_t dropped = 0;
        // The ops below may be using it just now.
        while ((dropped = store.drop_region(mapped)) == -WEFT_EBUSY) usleep(1000);
        CHECK(dropped == 0);
    });
    std::thread closing([&] { CHECK(store.close_namespace(other).ok()); });
    // Until both are out of reach.
    weft_op naming = world.moving(WEFT_OP_LOAD);
    naming.region = mapped;
    naming.key_lo = 2;  // which is not there
    for (int waited = 0; waited < 10000 && world.run(naming).status != -WEFT_EINVAL; waited++)
        usleep(1000);
    for (int waited = 0; waited < 10000 && store.match(other, nullptr, 0) != -WEFT_EINVAL; waited++)
        usleep(1000);
    CHECK(goes_on(world.held, [&] {
        CHECK(store.drop_region(mapped) == -WEFT_EBUSY);
        CHECK(store.close_namespace(other).failure().code == WEFT_EBUSY);
        uint32_t third = *store.adopt_region(4096, 4096);
        CHECK(third % Store::kRegionsMax != mapped % Store::kRegionsMax);
        uint32_t space = open_space(store, "t/third");
        CHECK(space % Store::kSpacesMax != other % Store::kSpacesMax);
        world.held.release();
        dropping.join();
        closing.join();
        CHECK(store.drop_region(third) == 0);
        CHECK(store.close_namespace(space).ok());
    }));
    looking.end();
}

TEST_CASE("what an opening that nobody has became is told once, to whoever ends the opening") {
    World world(500);
    // Numbers of openings, which are not looked into.
    auto number = [](uintptr_t of) {
        return std::shared_ptr<Mapped>(std::shared_ptr<Mapped>(), reinterpret_cast<Mapped*>(of));
    };
    std::shared_ptr<Mapped> first = number(1), second = number(2), third = number(3);
    CHECK(world.store->became(first) == nullptr);
    CHECK(world.store->reopened(first, second));
    CHECK(world.store->reopened(second, third));  // the node came and went again
    CHECK(world.store->became(second) == nullptr);
    CHECK(world.store->became(first) == third);
    CHECK(world.store->became(first) == nullptr);
}

TEST_CASE("who submits copies no block of which it learns that it is longer than inline_bytes") {
    World world(60000);
    Store& store = *world.store;
    weft_namespace opened{};
    REQUIRE(store.open_namespace("t/any", "", opened).ok());
    Queue* queue = *store.open_queue(8, kBlock - 1, 1);
    weft_op op = world.moving(WEFT_OP_SAVE);
    op.space = opened.space;
    REQUIRE(run_one(store, *queue, op).status == 0);
    op.kind = WEFT_OP_LOAD;
    op.size = 0;  // whatever it has
    world.held.hold();
    CHECK(goes_on(world.held, [&] { CHECK(store.submit(*queue, &op, 1) == 1); }));
    CHECK(world.held.reached());
    world.held.release();
    weft_event event{};
    REQUIRE(queue->reap(&event, 1, 60000) == 1);
    CHECK(event.status == 0);
    CHECK(event.value == kBlock);
    CHECK(store.close_queue(queue) == 0);
    store.destroy_queue(queue);
    CHECK(store.close_namespace(opened.space).ok());
}

TEST_CASE("whoever reaps an idle queue hashes no block of another queue's view") {
    Behind world;
    Store& store = *world.store;
    HeldMemory held;
    auto* items = reinterpret_cast<weft_item*>(held.data());
    // A view of both, which waits for the second; who carries it on touches the list's memory.
    items[0] = {1, 2, 0, 0, 0};
    items[1] = {1, 1, 0, 0, 0};
    weft_op viewing = op_of(WEFT_OP_VIEW, world.space, 2);
    viewing.flags = WEFT_LIST | WEFT_VERIFY | WEFT_WAIT_WRITER;
    viewing.key_hi = 2;
    viewing.key_lo = world.all;
    viewing.offset = reinterpret_cast<uint64_t>(items);
    viewing.timeout_ms = 60000;
    REQUIRE(store.submit(*world.queue, &viewing, 1) == 1);
    usleep(50000);  // the node has been asked
    held.hold();
    weft_event event{};
    std::thread committing([&] {
        usleep(100000);  // the other thread leads the lane by now
        weft_op commit = op_of(WEFT_OP_COMMIT, world.space, 0);
        commit.key_hi = 0;
        commit.offset = world.reserved.handle;
        CHECK(store.submit(*world.queue, &commit, 1) == 1);
    });
    CHECK(goes_on(held, [&] { CHECK(world.idle->reap(&event, 1, 1000) == 0); }));
    committing.join();
    CHECK(held.reached());  // by the copying thread
    held.release();
    int ends = 0;
    uint64_t view = 0;
    while (ends < 2 && world.queue->reap(&event, 1, 60000) == 1) {
        ends++;
        if (event.detail == 0 && event.handle != 0) view = event.handle;
    }
    CHECK(ends == 2);
    CHECK(items[0].status == -WEFT_ENOTSUP);  // written in place: it has no checksum yet
    CHECK(items[1].status == WEFT_IN_DRAM);
    CHECK(store.release(&view, 1) == 0);
}
