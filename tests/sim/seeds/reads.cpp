// How engines read: copies, views, look-ups and matches, and how each answer is judged.
#include "core/node/look.h"
#include "tests/sim/seeds/client.h"
#include "tests/sim/seeds/link.h"

namespace weft::seeds {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kPinned = 2000 * kMs;  // pin_s
constexpr uint64_t kInRow = 4;            // blocks of a view

Scheduler& machine() { return host().scheduler; }

uint64_t table_of(const Mapped& mapped) {
    Aside aside;
    return mapped.reader().header().table.load_relaxed();
}

}  // namespace

/** Now and then a look is long: the process is stopped in the middle of it, that is within so many
 * steps. */
void Thread::stumble(uint64_t steps, uint64_t least_ns) {
    Proc& proc = machine().process();
    if (!random_.one_in(3) || proc.pause_at != kNever) return;
    proc.pause_at = proc.steps + random_.between(1, steps);
    proc.pause_ns = random_.scale(least_ns, 250 * least_ns);
}

void Thread::missed(const Get& get, uint32_t reason) {
    if (reason != WEFT_MISS_UNREACHABLE && reason != WEFT_MISS_FAR) model_.miss(get);
}

/** Whether what was read was fenced meanwhile: between this get's begin and its end. */
void Thread::read(const Get& get) {
    uint64_t floor = model_.node_floor(get.name.space);
    if (get.node_floor <= get.name.version && floor != kNever && floor > get.name.version)
        host().event("advance-during-read");
}

/** What took a block away that is viewed still. */
void Thread::left_under_view(Namespace& space, const Get& get, uint32_t slot) {
    Key key{0x1000 + get.name.key, get.name.key};
    if (slot != kNoSlot) return host().event("replaced-under-view");
    if (get.name.version < space.floor()) return host().event("fenced-under-view");
    switch (space.miss_reason(key, get.name.version, machine().now())) {
        case WEFT_MISS_EVICTED:
            return host().event("evicted-under-view");
        case WEFT_MISS_EXPIRED:
            return host().event("expired-under-view");
        case WEFT_MISS_ABSENT:
            return host().event("removed-under-view");
        default:
            return;
    }
}

void Thread::load(Place& place, const Get& get) {
    std::byte* buffer = memory_ + (random_.below(kBuffers) * 128 << 10);
    weft_op op = op_of(WEFT_OP_LOAD, place, get.name.key);
    op.region = region_;
    op.offset = static_cast<uint64_t>(buffer - memory_);
    op.part = static_cast<uint16_t>(random_.below(place.parts));
    // Followers ask the node, and read what it named when its answer is there.
    bool follow = random_.one_in(host().set.follow_one_in);
    if (follow) {
        op.flags |= WEFT_FOLLOW;
        op.ttl_s = number_ + 1;
    } else if (random_.one_in(2)) {
        op.flags |= WEFT_VERIFY;
    }
    if (random_.one_in(4)) op.flags |= WEFT_WAIT_WRITER;
    stumble(40, 400 * kMicrosecond);  // others fill slots meanwhile
    weft_event event = go(op, buffer);
    read(get);
    // A follower is also told of the end of what it read last.
    if (event.status == -WEFT_EMISS && follow && event.detail == WEFT_MISS_PARTIAL) return;
    if (event.status == -WEFT_EMISS) return missed(get, event.detail);
    if (event.status != 0) return other(place, event);
    std::string torn;
    uint32_t put = Model::whose(buffer, event.value, 0, torn);
    if (put == 0) machine().fail("P1: a load gets " + torn);
    if (event.value != place.part_bytes) machine().fail("P1: a load of a part gets less of it");
    model_.hit(get, {put});
}

/** Looks at a block in place, whole. */
void Thread::read_block(const Place& place, const Get& get, const std::byte* address) {
    std::vector<uint32_t> puts;
    for (uint32_t part = 0; part < place.parts; part++) {
        const std::byte* from = address + part * place.part_bytes;
        machine().yield();
        host().access(from, place.part_bytes, false);
        std::string torn;
        puts.push_back(Model::whose(from, place.part_bytes, 0, torn));
        if (puts.back() == 0) machine().fail("P1: a view shows " + torn);
    }
    model_.hit(get, puts);
}

/** Holds a view of `count` blocks for a while and looks at it now and then. */
void Thread::read_in_place(Place& place, const std::vector<Get>& gets, const weft_item* items,
                           size_t count) {
    uint64_t looks = random_.between(1, 3);
    HostServer* before = network().server;
    for (uint64_t i = 0; i < looks; i++) {
        for (size_t block = 0; block < count; block++)
            read_block(place, gets[block], reinterpret_cast<const std::byte*>(items[block].offset));
        if (busy() && reader_ && !random_.one_in(8)) continue;
        // Now and then for longer than a node lives.
        uint64_t most = (random_.one_in(12) ? 4000 : 800) * kMs;
        machine().sleep(random_.scale(random_.one_in(12) ? 100 * kMs : kMicrosecond, most));
    }
    HostServer* server = network().server;
    Namespace* space =
        server == nullptr ? nullptr : server->space(place.number == 0 ? "t/a" : "t/b");
    if (server != before) host().event("view-outlived-node");
    if (space == nullptr || server != before) return;
    Aside aside;
    for (size_t block = 0; block < count; block++) {
        Key key{items[block].key_hi, items[block].key_lo};
        uint32_t slot = space->find(key, gets[block].name.version, machine().now());
        if (slot == kNoSlot ||
            space->slots().address(slot) != reinterpret_cast<const std::byte*>(items[block].offset))
            left_under_view(*space, gets[block], slot);
    }
}

void Thread::view(Place& place, uint64_t key) {
    Get get = model_.begin_get(name_of(place, key));
    weft_op op = op_of(WEFT_OP_VIEW, place, key);
    if (random_.one_in(3)) op.flags |= WEFT_VERIFY;
    if (random_.one_in(3)) op.flags |= WEFT_WAIT_WRITER;
    weft_event event = go(op);
    read(get);
    if (event.status == -WEFT_EMISS) return missed(get, event.detail);
    if (event.status != 0) return other(place, event);
    weft_item item{op.key_hi, op.key_lo, event.value, 0, 0};
    read_in_place(place, {get}, &item, 1);
    if (store_.release(&event.handle, 1) != 0) machine().fail("P1: a view is not open any more");
}

/** One block, or some in a row: whose slots are guessed ahead of the look-up. */
void Thread::view_now(Place& place, uint64_t key) {
    std::vector<Get> gets;
    std::vector<weft_item> items;
    uint64_t count = random_.one_in(2) ? 1 : random_.between(2, kInRow);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t next = (key + i) % host().set.keys;
        gets.push_back(model_.begin_get(name_of(place, next)));
        items.push_back({0x1000 + next, next, 0, 0, 0});
    }
    uint64_t handle = 0;
    stumble(16 * count, 20 * kMicrosecond);
    int32_t there = store_.view(place.opened.space, 0, items.data(),
                                static_cast<uint32_t>(items.size()), &handle);
    read(gets[0]);
    if (there == -WEFT_EFENCED) {
        weft_event event{};
        event.status = there;
        return other(place, event);
    }
    if (there <= 0) return;
    if (there > 1) host().event("viewed-in-a-row");
    read_in_place(place, gets, items.data(), static_cast<size_t>(there));
    if (store_.release(&handle, 1) != 0) machine().fail("P1: a view is not open any more");
}

/** The look-up alone: of all that look it alone says for certain that a block is not there. */
void Thread::look(Place& place, uint64_t key) {
    // The store knows nothing of this look: another thread may close the opening meanwhile.
    Closing closing;
    std::shared_ptr<Mapped> mapped = HostLink::mapped_of(
        machine().process(), place.number == 0 ? "t/a" : "t/b", place.opened.version);
    if (mapped == nullptr) return;
    Get get = model_.begin_get(name_of(place, key));
    if (mapped->fenced() || !served(*mapped, machine().now())) return;
    Key wanted{0x1000 + key, key};
    stumble(16, 20 * kMicrosecond);
    uint64_t before = table_of(*mapped);
    Found found;
    Look look =
        mapped->reader().look(wanted, hash_key(wanted), mapped->version(), machine().now(), found);
    if (table_of(*mapped) != before) host().event("index-grew-during-lookup");
    read(get);
    if (look == Look::ask) host().event("lookup-asks");
    if (look == Look::miss && !mapped->gone.load()) model_.miss(get);
    if (look == Look::hit && std::min(get.floor, model_.floor(place.number)) > get.name.version)
        machine().fail("P2: a look-up finds a block below the floor");
}

/** What is pinned is there for every rank. */
void Thread::match(Place& place) {
    std::vector<weft_item> items;
    std::vector<Get> gets;
    uint64_t excuses = model_.excuses(place.number);
    for (uint64_t key : some_keys(8)) {
        items.push_back({0x1000 + key, key, 0, 0, 0});
        gets.push_back(model_.begin_get(name_of(place, key)));
        gets.back().ahead = kPinned;
    }
    weft_op op = list_of(WEFT_OP_MATCH, place, items);
    op.flags |= WEFT_CHAIN | WEFT_PIN;
    for (const Get& get : gets) model_.pinned(get.name);
    weft_event event = go(op);
    if (event.status != 0) return other(place, event);
    if (event.value < items.size()) missed(gets[event.value], event.detail);
    if (event.handle == 0) return;
    uint64_t until = gets[0].began + kPinned;
    host().event("pinned");
    uint32_t space = place.opened.space;
    for (uint64_t i = 0; i < event.value && i < 2; i++) {
        if (random_.one_in(3)) save(place, gets[i].name.key, WEFT_REPLACE);
        machine().sleep(random_.scale(100 * kMicrosecond, 300 * kMs));
        if (place.opened.space != space) break;  // it was fenced, and opened anew
        Get get = model_.begin_get(gets[i].name);
        get.since = gets[i].began;
        get.excuses = machine().now() + 500 * kMs < until ? excuses : 0;
        get.pinned = true;
        get.until = until;
        load(place, get);
    }
    store_.release(&event.handle, 1);
}

}  // namespace weft::seeds
