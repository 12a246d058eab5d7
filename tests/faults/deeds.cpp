// What a store is asked for. Each deed undoes what it holds, also where it fails half-way.
#include <unistd.h>

#include <cstring>

#include "world.h"

namespace faults {
namespace {

int32_t opens_a_private_store(World&) {
    weft_store* store = nullptr;
    const int32_t code = weft_open("memory=8MiB", &store, nullptr);
    return code < 0 ? code : weft_close(store);
}

int32_t opens_a_node(World& world) {
    weft_store* store = nullptr;
    const std::string options = "memory=8MiB,log_level=error,listen=unix:" + world.folder() +
                                "/n,state=" + world.folder() + "/nstate";
    const int32_t code = weft_open(options.c_str(), &store, nullptr);
    return code < 0 ? code : weft_close(store);
}

int32_t connects(World& world) {
    if (!world.client()) return 0;
    weft_store* store = nullptr;
    const int32_t code =
        weft_open(("timeout_ms=3000,connect=" + world.address()).c_str(), &store, nullptr);
    return code < 0 ? code : weft_close(store);
}

/** A namespace of its own, and what `use` does with it; it is dropped at the end. */
template <typename Use>
int32_t in_new_namespace(World& world, const char* options, Use use) {
    weft_namespace space{};
    space.struct_size = sizeof space;
    const std::string name = "t/n" + std::to_string(world.next());
    int32_t code = weft_namespace_open(world.store(), name.c_str(), options, &space, nullptr);
    if (code < 0) return code;
    code = use(space);
    char answer[256];
    const int32_t dropped =
        weft_query(world.store(), space.space, "drop", answer, sizeof answer, nullptr);
    const int32_t closed = weft_namespace_close(world.store(), space.space);
    return code < 0 ? code : dropped < 0 ? dropped : closed;
}

int32_t creates_and_drops_a_namespace(World& world) {
    return in_new_namespace(world, "part_bytes=4096", [](const weft_namespace&) { return 0; });
}

int32_t saves_into_a_new_namespace(World& world) {
    return in_new_namespace(world, "part_bytes=65536", [&](const weft_namespace& space) {
        weft_op op = world.any(WEFT_OP_SAVE, world.next());
        op.space = space.space;
        op.region = world.region();
        op.offset = reinterpret_cast<uintptr_t>(world.memory());
        op.size = 65536;
        return world.run(op).status;
    });
}

int32_t advances_a_namespace(World& world) {
    return in_new_namespace(world, "part_bytes=4096", [&](const weft_namespace& space) {
        weft_op op = world.any(WEFT_OP_ADVANCE, 0);
        op.key_hi = op.key_lo = 0;
        op.space = space.space;
        op.offset = 1;
        return world.run(op).status;
    });
}

int32_t maps_a_region(World& world) {
    uint32_t region = 0;
    uint64_t address = 0;
    const int32_t code =
        weft_region_map(world.store(), 1 << 20, nullptr, &region, &address, nullptr);
    if (code < 0) return code;
    std::memset(reinterpret_cast<void*>(address), 1, 1 << 20);
    return weft_region_drop(world.store(), region);
}

int32_t opens_a_pool(World& world) {
    uint32_t region = 0;
    const auto base = reinterpret_cast<uint64_t>(world.memory());
    const int32_t code =
        weft_pool_open(world.store(), "pages=8,bytes=1024", &base, 1, -1, &region, nullptr);
    return code < 0 ? code : weft_region_drop(world.store(), region);
}

int32_t opens_a_queue(World& world) {
    weft_queue* queue = nullptr;
    const int32_t code = weft_queue_open(world.store(), "depth=16", &queue, nullptr);
    if (code < 0) return code;
    const int32_t fd = weft_queue_fd(queue);
    const int32_t closed = weft_queue_close(queue);
    return fd < 0 ? fd : closed;
}

int32_t saves_and_loads(World& world) {
    const uint64_t key = world.next();
    const int32_t code = world.save(key, 4096);
    return code < 0 ? code : world.load(key, 4096, WEFT_VERIFY);
}

int32_t saves_blocks_of_all_sizes(World& world) {
    for (const uint32_t size : {256u, 3000u, 20000u, 70000u, 300000u, 900000u})
        if (const int32_t code = world.save(world.next(), size); code < 0) return code;
    return 0;
}

int32_t replaces_and_removes(World& world) {
    const uint64_t key = world.next();
    int32_t code = world.save(key, 4096);
    if (code == 0) code = world.save(key, 4096, WEFT_REPLACE);
    if (code == 0) code = world.load(key, 4096);
    if (code == 0) code = world.run(world.any(WEFT_OP_REMOVE, key)).status;
    return code;
}

int32_t saves_a_list(World& world) {
    std::vector<weft_item> items(100);
    for (weft_item& item : items) {
        const uint64_t key = world.next();
        const weft_op of = world.any(WEFT_OP_SAVE, key);
        uint8_t* at = world.memory() + (&item - items.data()) * 1024;
        world.fill(at, key, 1024);
        item = {of.key_hi, of.key_lo, reinterpret_cast<uintptr_t>(at), 1024, 0};
    }
    weft_op op = world.any(WEFT_OP_SAVE, 0, WEFT_LIST | WEFT_CHAIN);
    op.key_hi = items.size();
    op.key_lo = op.region = world.region();
    op.offset = reinterpret_cast<uintptr_t>(items.data());
    const weft_event saved = world.run(op);
    op.flags |= WEFT_REUSE_MAYBE;
    op.kind = WEFT_OP_LOAD;
    const weft_event loaded = world.run(op);
    if (saved.status == 0 && loaded.status == 0 && loaded.value != items.size())
        throw Wrong{"a saved list is not there"};
    return saved.status < 0 ? saved.status : loaded.status;
}

int32_t writes_in_place(World& world) {
    const uint64_t key = world.next();
    weft_op op = world.any(WEFT_OP_RESERVE, key);
    op.size = 5000;
    const weft_event made = world.run(op);
    if (made.status < 0) return made.status;
    world.fill(reinterpret_cast<uint8_t*>(made.value), key, 5000);
    weft_op commit = world.any(WEFT_OP_COMMIT, 0);
    commit.key_hi = commit.key_lo = 0;
    commit.offset = made.handle;
    const weft_event ended = world.run(commit);
    if (ended.status < 0) weft_release(world.store(), &made.handle, 1);
    return ended.status < 0 ? ended.status : world.load(key, 5000);
}

int32_t writes_parts(World& world) {
    const uint64_t key = world.next();
    int32_t code = 0;
    for (uint16_t part = 0; part < 2 && code >= 0; part++) {
        weft_op op = world.parts(WEFT_OP_SAVE, key);
        op.part = part;
        op.region = world.region();
        op.offset = reinterpret_cast<uintptr_t>(world.memory());
        op.size = 4096;
        code = world.run(op).status;
    }
    if (code < 0) world.run(world.parts(WEFT_OP_ABORT, key));
    return code;
}

int32_t views(World& world) {
    const uint64_t key = world.next();
    if (const int32_t code = world.save(key, 4096); code < 0) return code;
    const weft_event event = world.run(world.any(WEFT_OP_VIEW, key));
    if (event.status < 0) return event.status;
    world.compare(reinterpret_cast<const uint8_t*>(event.value), key, 4096);
    const weft_op of = world.any(WEFT_OP_VIEW, key);
    weft_item item{of.key_hi, of.key_lo, 0, 0, 0};
    uint64_t handle = 0;
    const int32_t looked = weft_view(world.store(), of.space, 0, &item, 1, &handle);
    if (looked == 1) world.compare(reinterpret_cast<const uint8_t*>(item.offset), key, 4096);
    if (looked == 1) weft_release(world.store(), &handle, 1);
    const int32_t released = weft_release(world.store(), &event.handle, 1);
    return looked < 0 ? looked : released < 0 ? released : 0;
}

int32_t pins_and_touches(World& world) {
    const uint64_t key = world.next();
    if (const int32_t code = world.save(key, 4096); code < 0) return code;
    weft_op pin = world.any(WEFT_OP_MATCH, key, WEFT_PIN);
    pin.ttl_s = 1;  // a pin whose handle or release was lost ends by its time
    const weft_event pinned = world.run(pin);
    if (pinned.status < 0) return pinned.status;
    weft_op touch = world.any(WEFT_OP_TOUCH, key);
    touch.ttl_s = 1;
    const weft_event touched = world.run(touch);
    if (pinned.handle != 0) weft_release(world.store(), &pinned.handle, 1);
    return touched.status;
}

int32_t claims(World& world) {
    const uint64_t key = world.next();
    const weft_event claimed = world.run(world.any(WEFT_OP_WAIT, key, WEFT_CLAIM));
    if (claimed.status != -WEFT_EMISS) return claimed.status;
    if (claimed.handle == 0) return claimed.status;
    const int32_t code = world.save(key, 4096);
    weft_release(world.store(), &claimed.handle, 1);
    return code;
}

int32_t waits_for_nobody(World& world) {
    const weft_event waited = world.run(world.any(WEFT_OP_WAIT, world.next()));
    return waited.status == -WEFT_EMISS ? 0 : waited.status;
}

int32_t asks(World& world) {
    std::vector<char> answer(1 << 16);
    const uint32_t space = world.any(0, 0).space;
    for (const char* words : {"stats", "namespaces", "about"}) {
        const int32_t code = weft_query(world.store(), 0, words, answer.data(),
                                        static_cast<uint32_t>(answer.size()), nullptr);
        if (code < 0) return code;
    }
    for (const char* words :
         {"layout", "stats", "blocks limit=10", "explain key=00000000000000000000000000000001"}) {
        const int32_t code = weft_query(world.store(), space, words, answer.data(),
                                        static_cast<uint32_t>(answer.size()), nullptr);
        if (code < 0) return code;
    }
    return 0;
}

int32_t flushes(World& world) {
    char answer[256];
    const int32_t code =
        weft_query(world.store(), world.any(0, 0).space, "flush", answer, sizeof answer, nullptr);
    return code < 0 ? code : 0;
}

/** The node's clock, which ends what is over and sweeps. */
int32_t lets_time_pass(World& world) {
    weft_op op = world.any(WEFT_OP_RESERVE, world.next());
    op.size = 4096;
    const weft_event made = world.run(op);
    usleep(300000);
    if (made.status == 0) weft_release(world.store(), &made.handle, 1);
    return made.status;
}

}  // namespace

const std::vector<Deed> kDeeds = {
    {"opens a private store", opens_a_private_store},
    {"opens a node", opens_a_node},
    {"connects", connects},
    {"creates and drops a namespace", creates_and_drops_a_namespace},
    {"saves into a new namespace", saves_into_a_new_namespace},
    {"advances a namespace", advances_a_namespace},
    {"maps a region", maps_a_region},
    {"opens a pool", opens_a_pool},
    {"opens a queue", opens_a_queue},
    {"saves and loads", saves_and_loads},
    {"saves blocks of all sizes", saves_blocks_of_all_sizes},
    {"replaces and removes", replaces_and_removes},
    {"saves a list", saves_a_list},
    {"writes in place", writes_in_place},
    {"writes parts", writes_parts},
    {"views", views},
    {"pins and touches", pins_and_touches},
    {"claims", claims},
    {"waits for nobody", waits_for_nobody},
    {"asks", asks},
    {"flushes", flushes},
    {"lets time pass", lets_time_pass},
};

}  // namespace faults
