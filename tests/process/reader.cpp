// The readers: views, held views, loads and lists of random keys, every byte judged.
//
// Invariants: a view is judged when it is opened and once more before it is let go, whatever was
// evicted, replaced, removed or fenced in between, and whoever died; a load is judged from memory
// that was painted before.
#include <deque>

#include "worker.h"

namespace load {
namespace {

struct Held {
    weft::View view;
    const std::byte* from;
    size_t size;
    uint64_t number;
    uint64_t version;
    uint64_t stamp;
};

constexpr size_t kHeldMax = 24;

class Reader {
  public:
    explicit Reader(Worker& worker) : worker_(worker), memory_(8 * 262144) {}

    void step() {
        switch (worker_.random(4)) {
            case 0:
                return view();
            case 1:
                return view_list();
            case 2:
                return load();
            default:
                return load_parts();
        }
    }

    void let_go(size_t left) {
        for (; held_.size() > left; held_.pop_front()) {
            const Held& h = held_.front();
            if (stamp_of(h.from, h.size, h.number, h.version, 0) == h.stamp) continue;
            worker_.fail("a held view changed", h.number);
        }
    }

  private:
    void view() {
        const uint64_t number = worker_.random(kKeys), floor = worker_.board().floor.load();
        weft_op op = worker_.any().op(WEFT_OP_VIEW, key_of(number));
        const uint64_t version = worker_.any().info().version;
        weft::View view = worker_.queue().view(op);
        if (!view) return worker_.count(view.status(), "view", view.event().detail);
        const uint64_t stamp =
            worker_.judge(worker_.any(), view.data(), view.size(), number, 0, floor, "view");
        const std::byte* from = view.data();
        const size_t size = view.size();
        held_.push_back({std::move(view), from, size, number, version, stamp});
        let_go(kHeldMax);
    }

    void view_list() {
        const uint64_t first = worker_.random(kKeys), floor = worker_.board().floor.load();
        weft_item items[8] = {};
        for (uint64_t i = 0; i < 8; i++) {
            const weft::Key key = key_of((first + i) % kKeys);
            items[i].key_hi = key.hi;
            items[i].key_lo = key.lo;
        }
        weft::View view = worker_.any().view(items, 8);
        if (view.status() < 0) return worker_.count(view.status(), "weft_view");
        for (uint64_t i = 0; i < view.event().value; i++)
            worker_.judge(worker_.any(), reinterpret_cast<const std::byte*>(items[i].offset),
                          items[i].size, (first + i) % kKeys, 0, floor, "weft_view");
        if (view.event().value < 8) worker_.counts().misses++;
    }

    void load() {
        const uint64_t number = worker_.random(kKeys), floor = worker_.board().floor.load();
        std::memset(memory_.data(), 0xee, 4096);
        weft_op op = worker_.any().load(key_of(number), memory_.data(), memory_.size());
        const weft_event event = worker_.queue().run(op);
        if (event.status >= 0)
            worker_.judge(worker_.any(), memory_.data(), event.value, number, 0, floor, "load");
        else
            worker_.count(event.status, "load", event.detail);
    }

    /** Both parts of a pinned block: each whole, and both of one attempt. */
    void load_parts() {
        const uint64_t number = worker_.random(kKeys), floor = worker_.board().floor.load();
        weft_op match = worker_.parts().op(WEFT_OP_MATCH, key_of(number), WEFT_PIN);
        match.ttl_s = 10;
        const weft_event counted = worker_.queue().run(match);
        if (counted.status < 0) return worker_.count(counted.status, "pin", counted.detail);
        if (counted.value == 0) return worker_.count(-WEFT_EMISS, "pin", counted.detail);
        const weft::Pin pin(worker_.store(), counted);
        uint64_t stamps[2] = {};
        for (const uint32_t part : {0u, 1u}) {
            weft_op op = worker_.parts().load(key_of(number), memory_.data(), kPartBytes);
            op.part = static_cast<uint16_t>(part);
            const weft_event event = worker_.queue().run(op);
            if (event.status < 0) lost(event, number);
            if (event.status < 0) return worker_.count(event.status, "load part", event.detail);
            stamps[part] = worker_.judge(worker_.parts(), memory_.data(), event.value, number, part,
                                         floor, "load part");
        }
        if (stamps[0] != stamps[1] && worker_.board().strict.load() != 0)
            worker_.fail("the parts of a pinned block are of two attempts", number);
    }

    /** A pinned block is lost to a fence or with its node, and to nothing else. */
    void lost(const weft_event& event, uint64_t number) {
        if (worker_.board().strict.load() != 0 && event.status == -WEFT_EMISS)
            worker_.fail("a pinned block is a miss", number);
    }

    Worker& worker_;
    std::vector<std::byte> memory_;
    std::deque<Held> held_;
};

}  // namespace

void read_all(Worker& worker) {
    Reader reader(worker);
    while (!worker.stopped()) reader.step();
    reader.let_go(0);
}

/** Whatever the board says is saved must be found: nothing is evicted in that run. Where a node
 * that gets no processor has let its promise lapse, weft_view counts nothing, and the op asks the
 * node. */
void relay_read(Worker& worker) {
    for (uint64_t next = 0; !worker.stopped();) {
        if (next == worker.board().relayed.load()) continue;
        weft_item item{};
        const weft::Key key = key_of(next);
        item.key_hi = key.hi;
        item.key_lo = key.lo;
        const weft::View look = worker.any().view(&item, 1);
        if (look.event().value == 1) {
            worker.judge(worker.any(), reinterpret_cast<const std::byte*>(item.offset), item.size,
                         next, 0, 0, "relay");
            next++;
            continue;
        }
        const weft::View asked = worker.queue().view(worker.any().op(WEFT_OP_VIEW, key));
        if (asked.status() == -WEFT_EMISS && asked.event().detail != WEFT_MISS_UNREACHABLE)
            worker.fail("a saved block is not found", next);
        worker.count(asked.status(), "relay view", asked.event().detail);
        if (asked) {
            worker.judge(worker.any(), asked.data(), asked.size(), next, 0, 0, "relay");
            next++;
        }
    }
}

}  // namespace load
