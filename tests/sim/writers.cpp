// How a block comes to be while readers look: a slot that was a viewed block's is given to a
// writer, who fills it, commits, is late, or dies; with the node's own attempts (core/write).
#include "capi/weft.h"
#include "fabric/clock/clock.h"
#include "tests/sim/world.h"

namespace weft::sim {
namespace {

constexpr uint64_t kLate = kNow + 60 * fabric::kSecond;

/** The node and a writer tell each other of reservations by words, as messages would. */
class Writers : public World {
  public:
    Writers(Explorer& explorer, uint32_t readers)
        : World(explorer, readers),
          writing_(space(), next_id_, crowd_, [](uint64_t, uint64_t) { return false; }) {
        opening_.id = 1;
        opening_.version = 1;
        opening_.writer = "writer";
        writing_.add_opening(opening_);
        granted_ = word();
        committed_ = word();
        dead_ = word();
    }

    // The node's side.
    void grant(const Block& block) {
        auto pending = std::make_shared<Pending>();
        pending->request.verb = Verb::reserve;
        pending->request.user = true;
        pending->request.items.push_back({block.key, kBlockBytes, kNoSlot, 0});
        writing_.begin(pending, opening_, kNow);
        if (pending->reply.items[0].status != 0) return fail("no reservation is given");
        reservation_ = pending->reply.handle;
        granted_->store_release(pending->reply.items[0].slot + 1);
    }
    /** What came from the writer: its word, or its death. True: the block is published. */
    bool hear(uint64_t now) {
        if (reservation_ == 0) return false;
        if (committed_->load_acquire() != 0) {
            Request word;
            word.verb = Verb::commit;
            word.number = reservation_;
            Reply reply;
            writing_.commit(opening_, word, reply, now);
            reservation_ = 0;
            space().settle_limbo(now);
            return reply.status == 0;
        }
        if (dead_->load_acquire() != 0) {
            writing_.end_opening(opening_, now);
            reservation_ = 0;
            space().settle_limbo(now);
        }
        return false;
    }
    void expire() { writing_.expire(kLate); }

    // The writer's.
    void write_granted(const Block& block, bool may_die) {
        uint64_t slot = granted_->load_acquire();
        if (slot == 0) return;
        if (may_die && chance(2) == 1) return dead_->store_release(1);
        write(static_cast<uint32_t>(slot - 1), block);
        if (may_die && chance(2) == 1) return dead_->store_release(1);
        committed_->store_release(1);
    }

  private:
    uint64_t next_id_ = 1;
    Crowd crowd_{0};
    Writing writing_;
    Opening opening_;
    uint64_t reservation_ = 0;
    SharedWord* granted_;
    SharedWord* committed_;
    SharedWord* dead_;
};

Block block(uint32_t number) { return {{0, uint64_t{number} << 32 | number}, 1, number, 1}; }
const Block kA = block(1);
const Block kB = block(2);
const Block kC = block(3);

using Body = std::function<void(Writers&)>;

Scenario scenario(const char* name, uint32_t readers, Body setup) {
    return {name, [readers, setup = std::move(setup)](Explorer& explorer) {
                auto world = std::make_unique<Writers>(explorer, readers);
                setup(*world);
                return world;
            }};
}

/** A viewed block is evicted, and a writer fills its slot with another one. switches: with two
 * readers all orders are too many. */
Scenario filled(const char* name, uint32_t readers, bool may_die, uint32_t switches) {
    return scenario(name, readers, [readers, may_die, switches](Writers& world) {
        world.switches = switches;
        uint32_t slot = world.put(kA);
        for (uint32_t reader = 0; reader < readers; reader++) {
            world.actors.push_back([&world, reader] {
                bool there = world.signalled();
                world.view_bytes(reader, reader == 0 ? kA : kB, reader != 0 && there);
            });
        }
        world.actors.push_back([&world, may_die] { world.write_granted(kB, may_die); });
        world.actors.push_back([&world, slot] {
            world.evict(slot);
            world.grant(kB);
            if (world.hear(kNow)) world.signal();
        });
    });
}

/** The writer is late: its key is free, its slot is not, until it says so or is dead. */
Scenario late(const char* name, uint32_t readers, uint32_t switches) {
    return scenario(name, readers, [readers, switches](Writers& world) {
        world.switches = switches;
        world.grant(kA);
        for (uint32_t reader = 0; reader < readers; reader++) {
            world.actors.push_back(
                [&world, reader] { world.view_bytes(reader, reader == 0 ? kA : kC, false); });
        }
        world.actors.push_back([&world] { world.write_granted(kA, true); });
        world.actors.push_back([&world] {
            world.hear(kNow);
            world.expire();
            world.space().settle_limbo(kNow);
            world.put(kB);
            world.hear(kLate);
            world.put(kC);
        });
    });
}

}  // namespace

std::vector<Scenario> writers_scenarios(bool deep) {
    std::vector<Scenario> all = {
        filled("a writer fills the slot of a block that is viewed", 1, false, UINT32_MAX),
        filled("a writer that may die fills the slot of a block that is viewed", 1, true,
               UINT32_MAX),
        filled("a writer that may die fills the slot of a block that two view", 2, true,
               deep ? 2 : 1),
        late("a writer is late or dies while a reader looks", 1, UINT32_MAX),
    };
    if (deep) all.push_back(late("a writer is late or dies while two readers look", 2, 1));
    return all;
}

}  // namespace weft::sim
