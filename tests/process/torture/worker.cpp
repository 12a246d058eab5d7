// A reader or a writer in C++ of a torture run: worker ROLE SOCKET BOARD SLOT SEED, until the board
// says stop. worker.py, worker-go and worker-rust do the same steps by their own SDKs.
//
// Invariants: every byte that a get brings is judged (../content.h), a view once more before it is
// let go; what is wrong is said and ends the process with status 3. Codes that a fault may cause
// are counted, any other is odd and said. Each attempt has a stamp of its own.
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <deque>
#include <random>
#include <string>

#include "../content.h"
#include "slots.h"

namespace torture {
namespace {

constexpr uint64_t kKeys = 400;
constexpr size_t kPartBytes = 16384, kMost = 262144, kHeld = 24;
constexpr const char* kAny = "part_bytes=0,write_s=1";
constexpr const char* kParts = "parts=2,part_bytes=16384,write_s=1,pin_s=30";

/** A part of a block, and what its reader may hold Weft to. */
struct Asked {
    uint64_t number, version, floor;
    uint32_t part = 0;
    size_t size = 0;
};

class Worker {
  public:
    Worker(Board& board, uint32_t slot, uint64_t seed, const std::string& socket)
        : board_(board),
          slot_(board.slots[slot]),
          id_(slot),
          random_(seed),
          store_(patiently([&] { return weft::Store("connect=" + socket + ",timeout_ms=5000"); })),
          queue_(store_),
          any_(patiently([&] { return weft::Namespace(store_, "torture/any", kAny); })),
          parts_(patiently([&] { return weft::Namespace(store_, "torture/parts", kParts); })),
          memory_(8 * kMost) {
        slot_.copying.store(0);
        slot_.starts++;
    }

    void run(bool reads) {
        while (board_.stop.load() == 0) {
            reads ? read() : write();
            slot_.beat++;
            usleep(static_cast<useconds_t>(below(board_.pause_us.load() + 1)));
        }
        let_go(0);
    }

  private:
    struct Held {
        weft::View view;
        Asked of;
        uint64_t stamp;
    };

    uint64_t below(uint64_t bound) { return random_() % bound; }
    uint64_t stamp() { return (uint64_t{id_} + 1) << 48 | ++slot_.stamps; }

    /** A fault may have taken the node: what needs it is tried again until there is one. */
    template <typename Make>
    auto patiently(Make make) -> decltype(make()) {
        for (;;) {
            slot_.beat++;
            try {
                return make();
            } catch (const weft::Error& error) {
                if (board_.stop.load() != 0) std::_Exit(0);
                const int32_t code = error.code();
                if (code != WEFT_EPEER && code != WEFT_ETIMEOUT && code != WEFT_EFENCED &&
                    code != WEFT_ENOMEM && code != WEFT_ECLOSED)
                    odd(code, error.what());
                usleep(20000);
            }
        }
    }

    void odd(int32_t code, const char* what) {
        if (slot_.odd++ < 20)
            std::fprintf(stderr, "cpp %u: ODD: %s: %s\n", id_, what, weft_code_name(code));
    }

    /** Counts how an op ended; after a fence the namespaces are opened at the new version. */
    void count(const weft_event& event, const char* what) {
        const int32_t code = -event.status;
        const bool ends = std::strcmp(what, "end") == 0;
        if (code <= 0) return;
        if (code == WEFT_EMISS && event.detail != WEFT_MISS_UNREACHABLE)
            slot_.misses++;
        else if (code == WEFT_EMISS || code == WEFT_EPEER || code == WEFT_ETIMEOUT)
            slot_.unreachable++;
        else if (code == WEFT_EFENCED)
            slot_.fenced++, reopen();
        else if (code == WEFT_EEXISTS || code == WEFT_EHELD || code == WEFT_EQUOTA ||
                 code == WEFT_ENOMEM || (ends && (code == WEFT_EINVAL || code == WEFT_ECLOSED)))
            slot_.refused++;
        else
            odd(code, (std::string(what) + " " + store_.story(event)).c_str());
    }

    void reopen() {
        let_go(0);  // a namespace with views stays open
        any_ = patiently([&] { return weft::Namespace(store_, "torture/any"); });
        parts_ = patiently([&] { return weft::Namespace(store_, "torture/parts"); });
    }

    [[noreturn]] void wrong(const char* what, const Asked& of, const std::string& seen) {
        slot_.wrong++;
        std::fprintf(stderr, "cpp %u: WRONG: %s: key %llu part %u version %llu floor %llu: %s\n",
                     id_, what, static_cast<unsigned long long>(of.number), of.part,
                     static_cast<unsigned long long>(of.version),
                     static_cast<unsigned long long>(of.floor), seen.c_str());
        std::_Exit(3);
    }

    Asked asked(const weft::Namespace& space) {
        const uint64_t floor = board_.floor.load(), number = below(kKeys);
        return {number, space.info().version, floor, 0,
                &space == &parts_ ? kPartBytes : load::size_of(number)};
    }

    /** The stamp of the part at `from`, all of whose bytes are right. */
    uint64_t judge(const std::byte* from, size_t size, const Asked& of, const char* what) {
        slot_.hits++;
        if (of.version < of.floor) wrong(what, of, "older than the floor");
        if (size != of.size) wrong(what, of, std::to_string(size) + " bytes");
        const uint64_t found = load::stamp_of(from, size, of.number, of.version, of.part);
        uint64_t first = 0;
        std::memcpy(&first, from, 8);
        if (found == 0) wrong(what, of, "stamp " + std::to_string(first));
        return found;
    }

    void read() {
        switch (below(4)) {
            case 0:
                return view();
            case 1:
                return look();
            case 2:
                return load();
            default:
                return load_pinned();
        }
    }

    void view() {
        const Asked of = asked(any_);
        weft::View view = queue_.view(any_.op(WEFT_OP_VIEW, load::key_of(of.number)));
        if (!view) return count(view.event(), "view");
        const uint64_t stamp = judge(view.data(), view.size(), of, "view");
        held_.push_back({std::move(view), of, stamp});
        let_go(kHeld);
    }

    void let_go(size_t left) {
        for (; held_.size() > left; held_.pop_front()) {
            Held& one = held_.front();
            one.of.floor = 0;  // a view stands, whatever is fenced meanwhile
            if (judge(one.view.data(), one.view.size(), one.of, "held view") != one.stamp)
                wrong("held view", one.of, "another attempt's bytes");
        }
    }

    void look() {
        Asked of = asked(any_);
        const uint64_t first = of.number;
        weft_item items[8] = {};
        for (uint64_t i = 0; i < 8; i++) {
            const weft::Key key = load::key_of((first + i) % kKeys);
            items[i].key_hi = key.hi;
            items[i].key_lo = key.lo;
        }
        const weft::View view = any_.view(items, 8);
        count(view.event(), "weft_view");
        for (uint64_t i = 0; view.status() >= 0 && i < view.event().value; i++) {
            of.number = (first + i) % kKeys;
            of.size = load::size_of(of.number);
            judge(reinterpret_cast<const std::byte*>(items[i].offset), items[i].size, of,
                  "weft_view");
        }
    }

    void load() {
        const Asked of = asked(any_);
        std::memset(memory_.data(), 0xee, of.size);
        const weft_event event =
            queue_.run(any_.load(load::key_of(of.number), memory_.data(), memory_.size()));
        if (event.status < 0) return count(event, "load");
        judge(memory_.data(), event.value, of, "load");
    }

    /** Both parts of a pinned block: there, each whole, and both of one attempt. */
    void load_pinned() {
        Asked of = asked(parts_);
        const uint64_t node = board_.node.load();
        const auto since = std::chrono::steady_clock::now();
        const weft_event counted =
            queue_.run(parts_.op(WEFT_OP_MATCH, load::key_of(of.number), WEFT_PIN));
        if (counted.status < 0) return count(counted, "pin");
        if (counted.value == 0) return void(slot_.misses++);
        const weft::Pin pin(store_, counted);
        uint64_t stamps[2] = {};
        for (of.part = 0; of.part < 2; of.part++) {
            weft_op op = parts_.load(load::key_of(of.number), memory_.data(), kPartBytes);
            op.part = static_cast<uint16_t>(of.part);
            const weft_event event = queue_.run(op);
            const bool held = board_.node.load() == node && node % 2 == 0 &&
                              std::chrono::steady_clock::now() - since < std::chrono::seconds(20);
            if (event.status == -WEFT_EMISS && held) wrong("pinned", of, store_.story(event));
            if (event.status < 0) return count(event, "load pinned");
            stamps[of.part] = judge(memory_.data(), event.value, of, "load pinned");
            if (of.part == 1 && stamps[0] != stamps[1] && held)
                wrong("pinned", of, "parts of two attempts");
        }
    }

    void write() {
        switch (below(8)) {
            case 0:
                return save_list();
            case 1:
            case 2:
                return reserve();
            case 3:
                return count(queue_.run(any_.op(WEFT_OP_REMOVE, load::key_of(below(kKeys)))),
                             "remove");
            case 4:
            case 5:
                return save_parts();
            default:
                return save();
        }
    }

    weft_event copied(const weft_op& op) {
        slot_.copying.store(2);
        const weft_event event = queue_.run(op);
        slot_.copying.store(0);
        return event;
    }

    void save() {
        const Asked of = asked(any_);
        load::fill(memory_.data(), of.number, of.version, 0, stamp(), 0, of.size);
        weft_op op = any_.save(load::key_of(of.number), memory_.data(), of.size,
                               below(8) == 0 ? WEFT_REPLACE : 0);
        if (below(8) == 0) op.ttl_s = 1;
        const weft_event event = copied(op);
        if (event.status >= 0) slot_.saves++;
        count(event, "save");
    }

    void save_list() {
        const Asked of = asked(any_);
        weft_item items[8] = {};
        for (uint64_t i = 0; i < 8; i++) {
            const uint64_t number = (of.number + i) % kKeys;
            std::byte* at = memory_.data() + i * kMost;
            load::fill(at, number, of.version, 0, stamp(), 0, load::size_of(number));
            items[i] = {load::key_of(number).hi, load::key_of(number).lo,
                        reinterpret_cast<uintptr_t>(at),
                        static_cast<uint32_t>(load::size_of(number)), 0};
        }
        const weft_event event = copied(any_.list(WEFT_OP_SAVE, items, 8));
        slot_.saves += event.value;
        count(event, "save list");
    }

    /** In four steps with a pause between them. */
    void reserve() {
        const Asked of = asked(any_);
        const uint64_t mark = stamp();
        weft_op op =
            any_.op(WEFT_OP_RESERVE, load::key_of(of.number), below(4) == 0 ? WEFT_WAIT_WRITER : 0);
        op.size = static_cast<uint32_t>(of.size);
        weft::Reservation made = queue_.reserve(op);
        if (!made) return count(made.event(), "reserve");
        slot_.copying.store(1);
        for (size_t quarter = 0; quarter < 4; quarter++) {
            load::fill(made.data() + quarter * of.size / 4, of.number, of.version, 0, mark,
                       quarter * of.size / 4, of.size / 4);
            usleep(static_cast<useconds_t>(below(2000)));
        }
        slot_.copying.store(0);
        const weft_event event = below(8) == 0 ? made.abort() : made.commit();
        if (event.status >= 0) slot_.saves++;
        count(event, "end");
    }

    /** Part 1 whole, part 0 in two ranges; now and then it is given up in between. */
    void save_parts() {
        const Asked of = asked(parts_);
        const uint64_t mark = stamp();
        struct Piece {
            uint16_t part;
            uint32_t start, size;
        };
        static constexpr Piece kPieces[] = {
            {1, 0, kPartBytes}, {0, kPartBytes / 2, kPartBytes / 2}, {0, 0, kPartBytes / 2}};
        for (const Piece& piece : kPieces) {
            load::fill(memory_.data(), of.number, of.version, piece.part, mark, piece.start,
                       piece.size);
            weft_op op = parts_.save(load::key_of(of.number), memory_.data(), piece.size);
            op.part = piece.part;
            op.start = piece.start;
            const weft_event event = copied(op);
            count(event, "save part");
            if (event.status < 0 || below(16) == 0) return drop_parts(of.number);
            if (event.detail == 1) return void(slot_.saves++);
        }
        // The node that had the other pieces is gone: alone these must not stay for the next put.
        drop_parts(of.number);
    }

    /** Until the node has heard it: what this writer saves of the block next would join what is
     * left of it. */
    void drop_parts(uint64_t number) {
        for (;;) {
            const weft_event event = queue_.run(parts_.op(WEFT_OP_ABORT, load::key_of(number)));
            count(event, "end");
            slot_.beat++;
            if (event.status != -WEFT_EPEER && event.status != -WEFT_ETIMEOUT) return;
            if (board_.stop.load() != 0) return;
            usleep(1000);
        }
    }

    Board& board_;
    Slot& slot_;
    uint32_t id_;
    std::mt19937_64 random_;
    weft::Store store_;
    weft::Queue queue_;
    weft::Namespace any_;
    weft::Namespace parts_;
    std::vector<std::byte> memory_;
    std::deque<Held> held_;
};

}  // namespace
}  // namespace torture

int main(int argc, char** argv) {
    if (argc != 6) {
        std::fprintf(stderr, "worker ROLE SOCKET BOARD SLOT SEED\n");
        return 2;
    }
    torture::Worker worker(torture::Board::open(argv[3]), static_cast<uint32_t>(std::atoi(argv[4])),
                           std::strtoull(argv[5], nullptr, 10), argv[2]);
    worker.run(std::string(argv[1]) == "reader");
    return 0;
}
