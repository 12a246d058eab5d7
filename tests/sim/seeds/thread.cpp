// What engines do, one op after the other, and how ops begin and end. What they read is in
// reads.cpp, what they write in writes.cpp.
#include "tests/sim/seeds/client.h"

namespace weft::seeds {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kFew = 8;             // keys that readers look up while others come
constexpr uint64_t kSlack = 1000 * kMs;  // beyond an op's timeout, for its thread to be woken

Scheduler& machine() { return host().scheduler; }

/** An op in a trace: "SAVE of key 3 at version 0: ". */
std::string told(const weft_op& op, uint64_t version) {
    static constexpr const char* kWords[] = {"",        "LOAD",   "SAVE",   "MATCH",  "VIEW",
                                             "RESERVE", "COMMIT", "ABORT",  "REMOVE", "",
                                             "WAIT",    "TOUCH",  "ADVANCE"};
    bool list = (op.flags & WEFT_LIST) != 0;
    bool named =
        op.kind != WEFT_OP_COMMIT && op.kind != WEFT_OP_ABORT && op.kind != WEFT_OP_ADVANCE;
    std::string text = op.kind < std::size(kWords) ? kWords[op.kind] : std::to_string(op.kind);
    if (list) text += " of " + std::to_string(op.key_hi) + " keys";
    if (named && !list) text += " of key " + std::to_string(op.key_lo);
    if (op.kind == WEFT_OP_ADVANCE) text += " to " + std::to_string(op.offset);
    return text + " at version " + std::to_string(version) + ": ";
}

/** A process that was stopped in the middle of it is told that it took too long, and asks again. */
Status close(Store& store, uint32_t space) {
    Status closed = store.close_namespace(space);
    for (int again = 0; again < 3 && !closed && closed.failure().code == WEFT_ETIMEOUT; again++)
        closed = store.close_namespace(space);
    return closed;
}

}  // namespace

Thread::Thread(Client& client, uint32_t number)
    : client_(client),
      number_(number),
      store_(*client.store),
      model_(client.model),
      random_(host().scheduler.random()),
      reader_(random_.one_in(busy() ? 2 : 4)) {}

void Thread::work() {
    for (uint32_t space = 0; space < 2; space++) {
        Place place;
        place.number = space;
        place.parts = space == 0 ? host().set.parts : 1;
        place.part_bytes = space == 0 ? host().set.part_bytes : kSecondPartBytes;
        place.ttl_s = space == 0 ? host().set.ttl_s : 0;
        if (open(place)) places_.push_back(place);
    }
    size_t bytes = size_t{kBuffers} * 128 << 10;
    memory_ = new std::byte[bytes];
    for (uint32_t i = 0; i < kBuffers; i++)
        host().lend(memory_ + (size_t{i} * 128 << 10), 128 << 10);
    region_ = *store_.adopt_region(reinterpret_cast<uint64_t>(memory_), bytes);
    all_ = *store_.adopt_region(0, 0);
    queue_ = *store_.open_queue(8, random_.one_in(2) ? 0 : 1 << 20, 0);
    bool waits = reader_ && busy();  // for something to read
    for (int tries = 0; waits && !model_.published() && tries < 1000; tries++) machine().sleep(kMs);
    uint32_t operations = host().set.operations * (waits ? 2 : 1);
    for (uint32_t i = 0; i < operations && !places_.empty(); i++) {
        if (random_.one_in(host().set.rest_one_in))
            machine().sleep(random_.scale(kMicrosecond, 20 * kMs));
        bool other = random_.one_in(3);
        if (host().set.theme == Theme::turns) other = (i >= operations / 2) != random_.one_in(16);
        act(places_[other ? places_.size() - 1 : 0]);
    }
    finish();
}

void Thread::act(Place& place) {
    uint64_t key = random_.below(host().set.keys);
    // A node that comes anew is fenced against what the one before it served.
    uint32_t nodes = network().nodes;
    if (std::exchange(nodes_, nodes) < nodes && random_.one_in(3)) return advance(place);
    if (reader_ && !random_.one_in(8)) return read_only(place, key);
    if (write_more(place, key)) return;
    switch (random_.below(40)) {
        case 0:
            if (!random_.one_in(host().set.advance_one_in)) return look(place, key);
            return advance(place);
        case 1:
        case 2:
            return remove(place, key);
        case 3:
            return touch(place, key);
        case 4:
        case 5:
            return claim(place, key);
        case 6:
        case 7:
            return cancel(place, key);
        case 8:
        case 9:
        case 10:
            return match(place);
        case 11:
        case 12:
        case 13:
        case 14:
            return look(place, key);
        case 15:
        case 16:
        case 17:
        case 18:
            return view_now(place, key);
        case 19:
        case 20:
        case 21:
            return view(place, key);
        case 22:
        case 23:
        case 24:
        case 25:
        case 26:
        case 27:
            return save_in_place(place, key);
        case 28:
        case 29:
            return save_list(place);
        case 30:
        case 31:
        case 32:
        case 33:
        case 34:
            return save(place, key);
        default:
            return load(place, model_.begin_get(name_of(place, key)));
    }
}

/** Where much is written. False: not now. */
bool Thread::write_more(Place& place, uint64_t key) {
    if (host().set.theme == Theme::grows && !random_.one_in(4)) {
        save_list(place);
        return true;
    }
    if (!busy() || !random_.one_in(2)) return false;
    save(place, key);
    return true;
}

/** What needs no answer of the node: so it goes on with a node that has ended, until it notices. */
void Thread::read_only(Place& place, uint64_t key) {
    if (host().set.theme == Theme::grows) key %= kFew;
    machine().sleep(random_.scale(kMicrosecond, busy() ? kMs / 4 : 5 * kMs));
    if (random_.one_in(2)) return look(place, key);
    return view_now(place, key);
}

bool Thread::open(Place& place) {
    std::string name = place.number == 0 ? "t/a" : "t/b";
    bool denied = client_.token == "first" && place.number == 1;
    for (int tries = 0; tries < 100; tries++) {
        std::string options = options_of(place.number, client_.writer % 1000);
        Status opened = store_.open_namespace(name, options, place.opened);
        if (opened && denied) machine().fail("P4: a token opens a namespace that it does not name");
        if (opened) return true;
        if (opened.failure().code == WEFT_EDENIED) return false;
        machine().trace("open " + name + ": " + opened.failure().message);
        machine().sleep(random_.between(10, 200) * kMs);
    }
    return false;
}

void Thread::reopen(Place& place) {
    host().event("namespace-opened-anew");
    if (!abandoned_.empty()) {
        store_.release(abandoned_.data(), static_cast<uint32_t>(abandoned_.size()));
        abandoned_.clear();
        open_.clear();
    }
    Status closed = [&] {
        Closing closing;
        return close(store_, place.opened.space);
    }();
    if (!closed) machine().fail("P8: a namespace does not close: " + closed.failure().message);
    if (!open(place)) machine().trace("gives up");
}

void Thread::finish() {
    store_.release(abandoned_.data(), static_cast<uint32_t>(abandoned_.size()));
    while (store_.close_queue(queue_) > 0) {
        weft_event event;
        queue_->reap(&event, 1, 0);
    }
    store_.destroy_queue(queue_);
    machine().process().closing++;
    for (const Place& place : places_) {
        Status closed = close(store_, place.opened.space);
        if (!closed && closed.failure().code != WEFT_ECLOSED)
            machine().fail("P8: a namespace does not close: " + closed.failure().message);
    }
    store_.drop_region(region_);
    store_.drop_region(all_);
}

weft_op Thread::op_of(uint32_t kind, const Place& place, uint64_t key) const {
    weft_op op{};
    op.kind = static_cast<uint16_t>(kind);
    op.space = place.opened.space;
    op.key_hi = 0x1000 + key;
    op.key_lo = key;
    if (random_.one_in(10)) op.timeout_ms = static_cast<uint32_t>(random_.scale(1, 500));
    return op;
}

weft_op Thread::list_of(uint32_t kind, const Place& place, std::vector<weft_item>& items) const {
    weft_op op = op_of(kind, place, 0);
    op.flags = WEFT_LIST | WEFT_EACH;
    op.key_hi = items.size();
    op.key_lo = all_;
    op.offset = reinterpret_cast<uint64_t>(items.data());
    return op;
}

/** In a row, as the blocks of a chain are. */
std::vector<uint64_t> Thread::some_keys(uint64_t most) {
    std::vector<uint64_t> keys;
    bool few = host().set.theme == Theme::grows && random_.one_in(3);
    uint64_t first = random_.below(few ? kFew : host().set.keys);
    uint64_t count = std::min<uint64_t>(random_.between(1, most), host().set.keys);
    for (uint64_t i = 0; i < count; i++) keys.push_back((first + i) % host().set.keys);
    return keys;
}

void Thread::submit(weft_op& op) {
    op.tag = next_tag_++;
    if (store_.submit(*queue_, &op, 1) != 1) machine().fail("P8: a queue takes no op");
}

/** An op's time begins now; and anew whenever the process was stopped in it. */
void Thread::begin() {
    began_ = machine().now();
    pauses_ = machine().process().pauses;
}

weft_event Thread::reap(const weft_op& op) {
    uint64_t limit = (op.timeout_ms != 0 ? op.timeout_ms : kTimeoutMs) * kMs + kSlack;
    weft_event event{};
    for (bool got = false; !got;) {
        got = queue_->reap(&event, 1, static_cast<int32_t>(limit / kMs)) == 1;
        if (pauses_ != machine().process().pauses) {
            begin();
        } else if (!got || machine().now() > began_ + limit) {
            machine().fail("P8: an op of kind " + std::to_string(op.kind) +
                           " does not end within its time");
        }
    }
    if (event.tag >= next_tag_) machine().fail("P8: an event of no op");
    return event;
}

weft_event Thread::go(weft_op op, std::byte* buffer) {
    if (buffer != nullptr) host().begin_op(buffer);
    begin();
    submit(op);
    weft_event event = reap(op);
    if (event.tag != op.tag) machine().fail("P8: two events of one op");
    if (buffer != nullptr) host().end_op(buffer);
    if (machine().tracing)
        machine().trace(told(op, places_[0].opened.version) + weft_code_name(event.status) +
                        ", detail " + std::to_string(event.detail));
    return event;
}

void Thread::other(Place& place, const weft_event& event) {
    switch (-event.status) {
        case WEFT_ECORRUPT:
            return machine().fail("P1: a checksum does not match");
        case WEFT_EINTERNAL:
            if (host().set.disk_fails_one_in != 0) return;
            return machine().fail("P8: an internal error");
        case WEFT_EFENCED:
            if (!model_.may_be_fenced(name_of(place, 0)))
                return machine().fail("P2: fenced, and nobody has advanced");
            return reopen(place);
        case WEFT_EQUOTA:
            return host().event("memory-full");
        case WEFT_EPEER:
            host().event("node-unreachable");
            return machine().sleep(random_.scale(kMs, 500 * kMs));
        case WEFT_ETIMEOUT:
            return host().event("op-timed-out");
        default:
            return;
    }
}

void Thread::cancel(Place& place, uint64_t key) {
    Get get = model_.begin_get(name_of(place, key));
    std::byte* buffer = memory_;
    weft_op load = op_of(WEFT_OP_LOAD, place, key);
    load.region = region_;
    load.flags = WEFT_WAIT_WRITER;
    host().begin_op(buffer);
    begin();
    submit(load);
    weft_op cancel{};
    cancel.kind = WEFT_OP_CANCEL;
    cancel.offset = load.tag;
    submit(cancel);
    for (int i = 0; i < 2; i++) {
        weft_event event = reap(load);
        if (event.tag != load.tag) continue;
        host().end_op(buffer);
        if (event.status == -WEFT_ECANCELED) host().event("cancelled");
        std::string torn;
        if (event.status == 0) model_.hit(get, {Model::whose(buffer, event.value, 0, torn)});
    }
}

}  // namespace weft::seeds
