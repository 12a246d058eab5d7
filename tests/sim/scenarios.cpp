// What the node does while readers read: each way in which an index entry or a slot changes under a
// lookup.
#include "capi/weft.h"
#include "tests/sim/world.h"

namespace weft::sim {
namespace {

using Body = std::function<void(World&)>;

Scenario scenario(const char* name, uint32_t readers, Body setup) {
    return {name, [readers, setup = std::move(setup)](Explorer& explorer) {
                auto world = std::make_unique<World>(explorer, readers);
                setup(*world);
                return world;
            }};
}

/** Block `number`, with a key whose hash has `bits` as the low bits of its bucket. */
Block block(uint32_t number, uint32_t bits = 0) {
    for (uint64_t lo = uint64_t{number} << 32;; lo++) {
        Key key{0, lo};
        if ((hash_key(key) >> 32 & 3) == bits) return {key, 1, number, 1};
    }
}

const Block kA = block(1);
const Block kB = block(2);
const Block kC = block(3);

/** Another key takes the place of an evicted block, in its bucket and in its slot. */
Scenario evicted(const char* name, const Body& read, const Block& next) {
    return scenario(name, 1, [read, next](World& world) {
        uint32_t slot = world.put(kA);
        world.actors.push_back([&world, read] { read(world); });
        world.actors.push_back([&world, slot, next] {
            world.evict(slot);
            world.put(next);
        });
    });
}

/** A block is put again, and its old slot given to another one: it is there all the time. */
Scenario replaced(const char* name, const std::function<void(World&, Must)>& read) {
    return scenario(name, 1, [read](World& world) {
        uint32_t slot = world.put(kA);
        world.actors.push_back([&world, read] {
            uint64_t later = world.signalled() ? kA.again().stamp() : 0;
            read(world, {true, later});
        });
        world.actors.push_back([&world, slot] {
            world.put(kA.again(), slot);
            world.signal();
            world.space().settle_limbo(kNow);
            world.put(kB);
        });
    });
}

/** A bucket is split while a block of it is looked for that moves to the new one, or stays. */
Scenario split(const char* name, uint32_t wanted_bits) {
    return scenario(name, 1, [wanted_bits](World& world) {
        for (uint32_t i = 0; i < 4; i++) world.put(block(10 + i, i));
        Block wanted = block(20, wanted_bits);
        world.put(wanted);
        world.actors.push_back([&world, wanted] { world.look(wanted, {true, 0}); });
        world.actors.push_back([&world] { world.put(block(30)); });
    });
}

/** The same with an overflow bucket that the split takes away. */
Scenario split_overflow(const char* name, uint32_t wanted_bits, uint32_t others_bits) {
    return scenario(name, 1, [wanted_bits, others_bits](World& world) {
        // Bucket 0 of 2 overflows with its eighth entry.
        for (uint32_t i = 0; i < 7; i++) world.put(block(10 + i, others_bits));
        Block wanted = block(20, wanted_bits);
        world.put(wanted);
        world.put(block(30, 1));
        world.actors.push_back([&world, wanted] { world.look(wanted, {true, 0}); });
        // The tenth: bucket 0 is split.
        world.actors.push_back([&world] { world.put(block(40, 1)); });
    });
}

/** A neighbour goes, and the chain is closed up: an entry of the overflow bucket takes its place,
 * and the bucket is another chain's. */
Scenario closed_up(const char* name, uint32_t wanted_number) {
    return scenario(name, 1, [wanted_number](World& world) {
        std::vector<uint32_t> slots;
        for (uint32_t i = 0; i < 8; i++) slots.push_back(world.put(block(10 + i)));
        Block wanted = block(10 + wanted_number);
        world.actors.push_back([&world, wanted] { world.look(wanted, {true, 0}); });
        world.actors.push_back([&world, slots] {
            world.evict(slots[2]);
            world.put(block(20));
        });
    });
}

/** Neighbours in a bucket come and go. */
Scenario neighbours() {
    return scenario("a neighbour removed, another put in its place", 1, [](World& world) {
        uint32_t slot = world.put(kA);
        world.put(kB);
        world.actors.push_back([&world] {
            if (world.signalled()) world.look(kC, {true, 0});
            world.look(kB, {true, 0});
        });
        world.actors.push_back([&world, slot] {
            world.evict(slot);
            world.put(kC);
            world.signal();
        });
    });
}

/** The floor rises, what is below it is swept, and its slot holds a block of the version above. */
Scenario fenced() {
    return scenario("the floor rises over a block that is viewed", 1, [](World& world) {
        world.put(kA);
        world.actors.push_back([&world] {
            bool later = world.signalled();
            if (world.index().floor() > kA.version) return;
            if (later) world.fail("a get after the fence's event finds the old floor");
            world.view(0, kA, {});
        });
        world.actors.push_back([&world] {
            world.space().raise_floor(2);
            world.signal();
            world.space().sweep(kNow);
            world.put(kA.newer());
        });
    });
}

/** A follower holds an attempt's slot, whose gen is odd; the attempt ends and the next one writes
 * there. */
Scenario followed() {
    return scenario("an attempt that is followed ends", 1, [](World& world) {
        uint32_t slot = *world.space().allocate(kBlockBytes, kNow, SlotState::attempt);
        world.write(slot, kA);
        uint64_t gen = world.space().slots().header(slot).gen.load_relaxed();
        world.actors.push_back([&world, slot, gen] { world.follow(0, slot, gen, kA); });
        world.actors.push_back([&world, slot] {
            world.space().discard(slot);
            world.space().settle_limbo(kNow);
            world.put(kB);
        });
    });
}

/** Two readers, one of which keeps the slot in limbo for a while. */
Scenario two_readers() {
    return scenario("a slot that two readers view", 2, [](World& world) {
        uint32_t slot = world.put(kA);
        for (uint32_t reader = 0; reader < 2; reader++) {
            world.actors.push_back([&world, reader] { world.view(reader, kA, {}); });
        }
        world.actors.push_back([&world, slot] {
            world.evict(slot);
            world.put(kB);
        });
    });
}

}  // namespace

std::vector<Scenario> scenarios() {
    Body view_a = [](World& world) {
        world.view(0, kA, {});
        world.view(0, kA, {});
    };
    Body look_a = [](World& world) { world.look(kA, {}); };
    return {
        evicted("a viewed block's slot given to another key", view_a, kB),
        evicted("a looked-up block's slot given to another key", look_a, kB),
        evicted("a looked-up block's slot given to a newer version", look_a, kA.newer()),
        replaced("a block replaced while it is viewed",
                 [](World& world, Must must) { world.view(0, kA, must); }),
        replaced("a block replaced while it is looked up",
                 [](World& world, Must must) { world.look(kA, must); }),
        split("a bucket split: the entry moves", 1),
        split("a bucket split: the entry stays", 0),
        split_overflow("a bucket with an overflow split: its entry moves", 2, 0),
        split_overflow("a bucket with an overflow split: its entry stays", 0, 0),
        split_overflow("a bucket with an overflow split: all move", 2, 2),
        closed_up("a chain is closed up: the entry moves", 7),
        closed_up("a chain is closed up: the entry stays", 6),
        neighbours(),
        fenced(),
        followed(),
        two_readers(),
    };
}

}  // namespace weft::sim
