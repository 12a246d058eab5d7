// How engines save: whole blocks, lists, in place; and what takes blocks away.
#include "tests/sim/seeds/client.h"

namespace weft::seeds {
namespace {

constexpr uint64_t kMs = 1'000'000;

Scheduler& machine() { return host().scheduler; }

/** A failure that says so for certain: the bytes are seen by nobody, ever. */
Outcome outcome_of(int32_t status) {
    switch (-status) {
        case 0:
            return Outcome::done;
        case WEFT_EEXISTS:
        case WEFT_EHELD:
        case WEFT_EQUOTA:
        case WEFT_EDENIED:
        case WEFT_ENOMEM:
            return Outcome::failed;
        default:
            return Outcome::unknown;
    }
}

}  // namespace

void Thread::save(Place& place, uint64_t key, uint32_t flags) {
    Name name = name_of(place, key);
    if (open_.contains(name)) return;
    name.part = place.parts > 1 ? client_.rank : 0;
    std::byte* buffer = memory_ + (random_.below(kBuffers) * 128 << 10);
    weft_op op = op_of(WEFT_OP_SAVE, place, key);
    op.region = region_;
    op.offset = static_cast<uint64_t>(buffer - memory_);
    op.part = static_cast<uint16_t>(name.part);
    op.flags |= flags;
    if (random_.one_in(host().set.replace_one_in)) op.flags |= WEFT_REPLACE;
    if (random_.one_in(4)) op.flags |= WEFT_WAIT_WRITER;
    if (random_.one_in(10)) op.ttl_s = 1;
    uint32_t put = model_.begin_put(name, client_.writer, op.ttl_s != 0 ? op.ttl_s : place.ttl_s);
    Model::fill(buffer, place.part_bytes, 0, put);
    weft_event event = go(op, buffer);
    model_.end_put(put, outcome_of(event.status), event.status == 0 && event.detail == 1);
    if (event.status == -WEFT_EHELD) host().event("held-by-another-writer");
    if (event.status != 0) other(place, event);
}

void Thread::save_list(Place& place) {
    if (place.parts > 1) return save(place, random_.below(host().set.keys));
    std::vector<weft_item> items;
    std::vector<uint32_t> puts;
    for (uint64_t key : some_keys(kBuffers)) {
        if (open_.contains(name_of(place, key))) break;
        uint32_t put = model_.begin_put(name_of(place, key), client_.writer, place.ttl_s);
        std::byte* buffer = memory_ + (puts.size() * 128 << 10);
        Model::fill(buffer, place.part_bytes, 0, put);
        items.push_back({0x1000 + key, key, puts.size() * 128 << 10, 0, -1000});
        puts.push_back(put);
        host().begin_op(buffer);
    }
    if (items.empty()) return;
    weft_op op = list_of(WEFT_OP_SAVE, place, items);
    op.region = region_;
    op.flags |= random_.one_in(2) ? WEFT_CHAIN : 0;
    weft_event event = go(op);
    for (size_t i = 0; i < puts.size(); i++) {
        host().end_op(memory_ + (i * 128 << 10));
        model_.end_put(puts[i], outcome_of(items[i].status), items[i].status == 0);
    }
    host().event("list-saved");
    if (event.status != 0) other(place, event);
}

void Thread::save_in_place(Place& place, uint64_t key) {
    Name name = name_of(place, key);
    if (open_.contains(name)) return;
    name.part = place.parts > 1 ? client_.rank : 0;
    weft_op op = op_of(WEFT_OP_RESERVE, place, key);
    op.part = static_cast<uint16_t>(name.part);
    if (random_.one_in(host().set.replace_one_in)) op.flags |= WEFT_REPLACE;
    if (random_.one_in(3)) op.flags |= WEFT_WAIT_WRITER;
    uint32_t put = model_.begin_put(name, client_.writer, place.ttl_s);
    weft_event event = go(op);
    if (event.status != 0) {
        model_.end_put(put, Outcome::failed, false);
        return other(place, event);
    }
    auto* to = reinterpret_cast<std::byte*>(event.value);
    uint64_t began = machine().now();
    bool slow = random_.one_in(busy() ? 20 : 2);
    machine().process().copying++;
    for (uint64_t at = 0; at < place.part_bytes; at += 1024) {
        host().access(to + at, 1024, true);
        Model::fill(to + at, 1024, at, put);
        machine().yield();
        if (slow && random_.one_in(place.part_bytes / 1024))
            machine().sleep(random_.scale(20 * kMs, 2500 * kMs));
    }
    machine().process().copying--;
    if (machine().now() > began + 1000 * kMs) host().event("writer-paused-past-timeout");
    end_in_place(place, name_of(place, key), put, event.handle);
}

void Thread::end_in_place(Place& place, const Name& name, uint32_t put, uint64_t reservation) {
    uint64_t how = random_.below(10);
    if (how == 0 && (!busy() || random_.one_in(8))) {
        host().event("reservation-left-open");
        abandoned_.push_back(reservation);
        open_.insert(name);
        return;
    }
    if (how == 1) {
        store_.release(&reservation, 1);
        return model_.end_put(put, Outcome::failed, false);
    }
    bool commit = how > 2;
    weft_op op{};
    op.kind = commit ? WEFT_OP_COMMIT : WEFT_OP_ABORT;
    op.space = place.opened.space;
    op.offset = reservation;
    model_.commit_put(put);
    weft_event event = go(op);
    bool done = commit && event.status == 0;
    if (commit && event.status == -WEFT_ETIMEOUT) host().event("attempt-timed-out");
    if (commit && event.status == -WEFT_ECLOSED) host().event("reservation-ended-with-node");
    Outcome outcome = done                ? Outcome::done
                      : commit            ? outcome_of(event.status)
                      : event.status == 0 ? Outcome::failed
                                          : Outcome::unknown;
    model_.end_put(put, outcome, done && event.detail == 1);
    if (event.status != 0) other(place, event);
}

/** Single flight: whoever gets the claim computes, and saves, or gives up. */
void Thread::claim(Place& place, uint64_t key) {
    weft_op op = op_of(WEFT_OP_WAIT, place, key);
    op.flags = WEFT_CLAIM;
    op.ttl_s = 1;
    weft_event event = go(op);
    if (event.status != -WEFT_EMISS || event.handle == 0) return other(place, event);
    host().event("claimed");
    machine().sleep(random_.scale(kMicrosecond, 100 * kMs));
    if (!random_.one_in(3)) save(place, key);
    if (random_.one_in(2)) store_.release(&event.handle, 1);
}

void Thread::remove(Place& place, uint64_t key) {
    Name name = name_of(place, key);
    uint64_t began = machine().now();
    model_.begin_remove(name);
    weft_event event = go(op_of(WEFT_OP_REMOVE, place, key));
    bool answered = event.status == 0 || event.status == -WEFT_EMISS;
    model_.end_remove(name, began,
                      event.status == 0 ? Outcome::done
                      : answered        ? Outcome::failed
                                        : Outcome::unknown);
    if (event.status == 0) return host().event("removed");
    other(place, event);
}

void Thread::touch(Place& place, uint64_t key) {
    weft_op op = op_of(WEFT_OP_TOUCH, place, key);
    if (random_.one_in(2)) {
        op.ttl_s = static_cast<uint32_t>(random_.between(1, 3));
        model_.touched(name_of(place, key));
    }
    weft_event event = go(op);
    if (event.status != 0) other(place, event);
}

void Thread::advance(Place& place) {
    uint64_t version = place.opened.version + 1;
    model_.begin_advance(place.number, version);
    weft_op op{};
    op.kind = WEFT_OP_ADVANCE;
    op.space = place.opened.space;
    op.offset = version;
    weft_event event = go(op);
    if (event.status != 0) return other(place, event);
    if (event.value < version) machine().fail("P2: advance tells of a lower floor");
    model_.end_advance(place.number, version);
    host().event("advanced");
}

}  // namespace weft::seeds
