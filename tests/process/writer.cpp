// The writers: saves, lists, replacements, removals, expiries, reservations written slowly, blocks
// of two parts.
//
// Invariants: each attempt has a stamp of its own, so that no two attempts have equal bytes.
#include <signal.h>
#include <unistd.h>

#include "worker.h"

namespace load {
namespace {

class Writer {
  public:
    explicit Writer(Worker& worker) : worker_(worker), memory_(8 * 262144) {}

    void step() {
        switch (worker_.random(8)) {
            case 0:
                return save_list();
            case 1:
                return reserve();
            case 2:
                return remove();
            case 3:
            case 4:
                return save_parts();
            default:
                return save();
        }
    }

  private:
    void save() {
        const uint64_t number = worker_.random(kKeys);
        const size_t size = size_of(number);
        fill(memory_.data(), number, worker_.any().info().version, 0, worker_.stamp(), 0, size);
        weft_op op = worker_.any().save(key_of(number), memory_.data(), size,
                                        worker_.random(8) == 0 ? WEFT_REPLACE : 0);
        if (worker_.random(8) == 0) op.ttl_s = 1;
        if (worker_.run(op, "save").status >= 0) worker_.counts().saves++;
    }

    void save_list() {
        const uint64_t first = worker_.random(kKeys), version = worker_.any().info().version;
        weft_item items[8] = {};
        for (uint64_t i = 0; i < 8; i++) {
            const uint64_t number = (first + i) % kKeys;
            std::byte* at = memory_.data() + i * 262144;
            fill(at, number, version, 0, worker_.stamp(), 0, size_of(number));
            items[i] = {key_of(number).hi, key_of(number).lo, reinterpret_cast<uintptr_t>(at),
                        static_cast<uint32_t>(size_of(number)), 0};
        }
        if (worker_.run(worker_.any().list(WEFT_OP_SAVE, items, 8), "save list").status >= 0)
            worker_.counts().saves += 8;
    }

    void remove() {
        worker_.run(worker_.any().op(WEFT_OP_REMOVE, key_of(worker_.random(kKeys))), "remove");
    }

    /** In four steps with a pause between them: most likely it is here that a fault finds a writer.
     */
    void reserve() {
        const uint64_t number = worker_.random(kKeys), version = worker_.any().info().version,
                       stamp = worker_.stamp();
        const size_t size = size_of(number);
        weft_op op = worker_.any().op(WEFT_OP_RESERVE, key_of(number),
                                      worker_.random(4) == 0 ? WEFT_WAIT_WRITER : 0);
        op.size = static_cast<uint32_t>(size);
        weft::Reservation reservation = worker_.queue().reserve(op);
        if (!reservation)
            return worker_.count(reservation.status(), "reserve", reservation.event().detail);
        for (size_t quarter = 0; quarter < 4; quarter++) {
            fill(reservation.data() + quarter * size / 4, number, version, 0, stamp,
                 quarter * size / 4, size / 4);
            usleep(static_cast<useconds_t>(worker_.random(2000)));
        }
        const weft_event event =
            worker_.random(8) == 0 ? reservation.abort() : reservation.commit();
        if (event.status >= 0) worker_.counts().saves++;
        worker_.count(event.status, "end", event.detail);
    }

    /** Part 1 whole, part 0 in two ranges; now and then it is given up in between. Where the last
     * piece published nothing the block's time was over in between (the process was stopped): what
     * is left of it is given up, or this writer's next put of the key would go on with it. */
    void save_parts() {
        const uint64_t number = worker_.random(kKeys), version = worker_.parts().info().version,
                       stamp = worker_.stamp();
        struct Piece {
            uint16_t part;
            uint32_t start, size;
        };
        static constexpr Piece kPieces[] = {
            {1, 0, kPartBytes}, {0, kPartBytes / 2, kPartBytes / 2}, {0, 0, kPartBytes / 2}};
        bool published = false;
        for (const Piece& piece : kPieces) {
            fill(memory_.data(), number, version, piece.part, stamp, piece.start, piece.size);
            weft_op op = worker_.parts().save(key_of(number), memory_.data(), piece.size);
            op.part = piece.part;
            op.start = piece.start;
            const weft_event event = worker_.run(op, "save part");
            if (event.status < 0 || worker_.random(16) == 0) return give_up(number);
            published = event.detail == 1;
        }
        if (!published) return give_up(number);
        worker_.counts().saves++;
    }

    void give_up(uint64_t number) {
        const weft_event event =
            worker_.queue().run(worker_.parts().op(WEFT_OP_ABORT, key_of(number)));
        worker_.count(event.status, "end", event.detail);
    }

    Worker& worker_;
    std::vector<std::byte> memory_;
};

}  // namespace

void write_all(Worker& worker) {
    Writer writer(worker);
    while (!worker.stopped()) writer.step();
}

/** Saves key after key and says so after each event; from then on every process must find it. */
void relay_write(Worker& worker) {
    std::vector<std::byte> memory(262144);
    for (uint64_t number = 0; number < 3000 && !worker.stopped(); number++) {
        const size_t size = size_of(number);
        fill(memory.data(), number, worker.any().info().version, 0, worker.stamp(), 0, size);
        const weft_op op = worker.any().save(key_of(number), memory.data(), size);
        if (worker.run(op, "relay save").status < 0) std::exit(2);
        worker.counts().saves++;
        worker.board().relayed.store(number + 1);
    }
    while (!worker.stopped()) usleep(10000);
}

/** Single flight: in each round one process computes a chain of four blocks; the board counts how
 * many did. Where it wants a death, the first one that computes is killed half-way. */
void fly(Worker& worker) {
    std::vector<std::byte> memory(4 * 4096);
    Board& board = worker.board();
    for (uint64_t round = 0; round < kRounds && !worker.stopped(); round++) {
        weft_item items[4] = {};
        for (uint64_t i = 0; i < 4; i++) {
            const weft::Key key = key_of(1000000 + (round * 4 + i) * 4 + 1);
            items[i] = {key.hi, key.lo, reinterpret_cast<uintptr_t>(memory.data() + i * 4096), 4096,
                        0};
        }
        weft_item keys[4];
        for (int i = 0; i < 4; i++) keys[i] = {items[i].key_hi, items[i].key_lo, 0, 0, 0};
        weft_op wait = worker.any().list(WEFT_OP_WAIT, keys, 4, WEFT_CHAIN | WEFT_CLAIM);
        wait.timeout_ms = 20000;
        const weft_event event = worker.queue().run(wait);
        if (event.status == -WEFT_EMISS) {
            weft::Claim claim(worker.store(), event);
            const uint64_t stamp = worker.stamp();
            for (uint64_t i = event.value; i < 4; i++) {
                const uint64_t number = 1000000 + (round * 4 + i) * 4 + 1;
                fill(memory.data() + i * 4096, number, worker.any().info().version, 0, stamp + i, 0,
                     4096);
                usleep(3000);
                uint64_t wanted = 1;
                if (i == 2 && board.deaths_wanted[round].compare_exchange_strong(wanted, 2))
                    kill(getpid(), SIGKILL);
                worker.run(worker.any().save(key_of(number), memory.data() + i * 4096, 4096),
                           "flight save");
                board.computed[round]++;
            }
        } else if (event.status < 0) {
            worker.count(event.status, "claim", event.detail);
        }
        const weft_event got =
            worker.queue().run(worker.any().list(WEFT_OP_LOAD, items, 4, WEFT_CHAIN));
        if (got.status < 0) worker.count(got.status, "flight load", got.detail);
        for (uint64_t i = 0; i < got.value; i++)
            worker.judge(worker.any(), memory.data() + i * 4096, 4096,
                         1000000 + (round * 4 + i) * 4 + 1, 0, 0, "flight");
    }
}

}  // namespace load
