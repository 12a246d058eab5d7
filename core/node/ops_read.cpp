// LOAD, VIEW and MATCH: what this process can see in the index is read in place; what it cannot is
// asked of the node, whose answer names the slot.
//
// Invariant: a block's bytes are read under its hazard, in pieces, and outside of the ReadSide: who
// takes memory away waits for no copy, and leaves what a hazard holds.
#include <algorithm>
#include <cstdio>

#include "core/node/look.h"
#include "core/node/ops.h"
#include "fabric/copy/copy.h"

namespace weft {
namespace {

static_assert(kReaderCells - kReaderCellsLoad == 4032);
constexpr const char* kViewsReached = "4032 views of a namespace are the limit of a process";
constexpr uint32_t kLocateAtOnce = 1024;
constexpr uint32_t kLooksAtOnce = 4096;             // views that any thread may make, some 0.5 ms
constexpr uint64_t kCopyPiece = uint64_t{1} << 20;  // the deadline is looked at between pieces
static_assert(kCopyPiece % fabric::kChunkBytes == 0);

}  // namespace

void OpRunner::load_or_view(Operation& operation) {
    const weft_op& op = operation.op;
    bool follow = (op.flags & WEFT_FOLLOW) != 0;
    if (operation.mapped->fenced()) {
        return fail(operation, WEFT_EFENCED,
                    "the namespace has advanced beyond this version: open it anew");
    }
    while (operation.next < operation.count) {
        uint32_t item = operation.next;
        if (stopped(operation)) {
            cancel_rest(operation, item);
            break;
        }
        if (over(operation)) {
            return fail(operation, why_over(operation), "the op's time is over");
        }
        bool answered = item - operation.located_at < operation.located.size();
        Read read = Read::ask;
        if (answered) {
            read = read_located(operation, item, operation.located[item - operation.located_at]);
        } else if (!follow) {
            read = read_local(operation, item);
        }
        if (read == Read::ask) return locate(operation);
        if (read == Read::later) return queue(operation);
        operation.next++;
    }
    tell_uses(operation);
    if (!operation.corrupt.empty()) return drop_corrupt(operation);
    finish(operation);
}

/** The event of a block that did not match comes when the block is gone: nobody reads it after
 * that. */
void OpRunner::drop_corrupt(Operation& operation) {
    Request& request = fresh_request(operation, Verb::remove);
    for (uint32_t item : operation.corrupt) {
        request.items.push_back({key_of(operation, item), 0, kNoSlot, 0});
    }
    ask(operation, &OpRunner::corrupt_dropped);
}

void OpRunner::corrupt_dropped(Operation& operation, Reply&&) { finish(operation); }

/** A list is one request: its blocks are used deepest first, root last. */
void OpRunner::tell_uses(Operation& operation) {
    if (operation.uses.empty()) return;
    tell_chain(*operation.mapped, operation.uses.data(),
               static_cast<uint32_t>(operation.uses.size()), operation.op.flags >> 12 & 3);
    operation.uses.clear();
}

/** Whether it copies and hashes nothing, and is short: any thread may carry it on. */
bool OpRunner::looks_only(const Operation& operation) {
    return operation.op.kind == WEFT_OP_VIEW && (operation.op.flags & WEFT_VERIFY) == 0 &&
           operation.count - operation.next <= kLooksAtOnce;
}

uint32_t OpRunner::take_cell(const Operation& operation) {
    Cells& cells = operation.mapped->cells();
    bool view = operation.op.kind == WEFT_OP_VIEW;
    return view ? cells.take(thread_hint()) : cells.take_for_load(thread_hint());
}

/** Reads what this process sees in the index. */
OpRunner::Read OpRunner::read_local(Operation& operation, uint32_t item) {
    Mapped& mapped = *operation.mapped;
    Key key = key_of(operation, item);
    uint32_t cell = Cells::kNone;
    Found found;
    bool hit = false;
    {
        // From the look at `gone` to the hazard, behind which the bytes stay: see Mapped::gone.
        ReadSide::Section section(store_.read_side_);
        uint64_t now = fabric::boot_time();
        if (!served(mapped, now)) return Read::ask;
        cell = take_cell(operation);
        hit = cell != Cells::kNone &&
              mapped.reader().hold(key, hash_key(key), mapped.version(), now,
                                   mapped.cells().word(cell), found) == Look::hit &&
              mapped.has_segment(found.segment);
    }
    if (cell == Cells::kNone) {
        if (operation.op.kind != WEFT_OP_VIEW) return Read::ask;
        item_done(operation, item, -WEFT_EQUOTA, 0);
        operation.story = kViewsReached;
        return Read::done;
    }
    if (!hit) {
        mapped.cells().give(cell);
        return Read::ask;
    }
    return read_held(operation, item, cell, found, false);
}

/** Reads a slot that the node named. Ask: it was given to another block meanwhile. */
OpRunner::Read OpRunner::read_located(Operation& operation, uint32_t item, const ReplyItem& where) {
    Mapped& mapped = *operation.mapped;
    if (where.status != 0) {
        if (where.status == -WEFT_EMISS) mapped.count_miss(static_cast<uint32_t>(where.value));
        item_done(operation, item, where.status, where.value);
        return Read::done;
    }
    auto unreachable = [&] {
        mapped.count_miss(WEFT_MISS_UNREACHABLE);
        item_done(operation, item, -WEFT_EMISS, WEFT_MISS_UNREACHABLE);
        return Read::done;
    };
    uint32_t cell = Cells::kNone;
    Found found;
    bool held = false;
    {
        // As in read_local. Gone: its segments may be unmapped at any time now.
        ReadSide::Section section(store_.read_side_);
        if (mapped.gone.load(std::memory_order_acquire)) return unreachable();
        cell = take_cell(operation);
        held = cell != Cells::kNone &&
               mapped.reader().hold_slot(where.slot, where.gen, mapped.cells().word(cell), found);
    }
    if (cell == Cells::kNone) {
        bool view = operation.op.kind == WEFT_OP_VIEW;
        item_done(operation, item, -WEFT_EQUOTA, 0);
        operation.story = view ? kViewsReached : "64 loads are under way in this process";
        return Read::done;
    }
    bool tentative = (where.gen & 1) != 0;
    // It may have expired on the way; then the node says so.
    bool expired = held && !tentative && found.expiry != 0 && fabric::boot_time() >= found.expiry;
    if (!held || expired) {
        mapped.cells().give(cell);
        // Published since, or evicted since: what holds now is asked once more.
        operation.located.clear();
        return Read::ask;
    }
    if (tentative)
        found.size = mapped.config().any_size() ? where.value : mapped.config().block_bytes();
    if (!mapped.has_segment(found.segment)) {
        mapped.cells().give(cell);
        return unreachable();
    }
    return read_held(operation, item, cell, found, tentative);
}

/** Copies or views a block that the cell holds; the cell is given back or in the view. */
OpRunner::Read OpRunner::read_held(Operation& operation, uint32_t item, uint32_t cell,
                                   const Found& found, bool tentative) {
    Mapped& mapped = *operation.mapped;
    uint64_t own = bytes_to_read(operation, item, found);
    if (own > operation.own_bytes) {
        mapped.cells().give(cell);
        return Read::later;
    }
    operation.own_bytes -= own;
    if (operation.op.kind == WEFT_OP_VIEW) {
        take_view(operation, item, cell, found);
        return Read::done;
    }
    uint64_t moved = 0;
    int32_t status = copy_out(operation, item, found, tentative, moved);
    mapped.cells().give(cell);
    uint64_t bytes = status == -WEFT_ERANGE ? moved
                     : status == -WEFT_EMISS
                         ? uint64_t{WEFT_MISS_PARTIAL}
                         : mapped.config().bytes_of(operation.op.part, found.size);
    item_done(operation, item, status, bytes, WEFT_IN_DRAM);
    return Read::done;
}

/** What the thread that reads a block has to copy or to hash. */
uint64_t OpRunner::bytes_to_read(const Operation& operation, uint32_t item,
                                 const Found& found) const {
    const weft_op& op = operation.op;
    if (op.kind == WEFT_OP_VIEW && (op.flags & WEFT_VERIFY) == 0) return 0;
    uint64_t rest = operation.mapped->config().bytes_of(op.part, found.size);
    rest -= std::min<uint64_t>(op.start, rest);
    uint64_t wanted = size_of(operation, item);
    return wanted == 0 ? rest : std::min(wanted, rest);
}

void OpRunner::tell_corrupt(Operation& operation, uint32_t item) const {
    operation.corrupt.push_back(item);
    char words[120];
    Key key = key_of(operation, item);
    snprintf(words, sizeof words, "key %016llx%016llx, part %u: the checksum does not match",
             static_cast<unsigned long long>(key.hi), static_cast<unsigned long long>(key.lo),
             operation.op.part);
    operation.story = words;
}

/** Copies the bytes of a held slot into the op's memory. moved: bytes; with ERANGE the bytes it
 * would take. */
int32_t OpRunner::copy_out(Operation& operation, uint32_t item, const Found& found, bool tentative,
                           uint64_t& moved) {
    const weft_op& op = operation.op;
    Mapped& mapped = *operation.mapped;
    uint64_t part_bytes = mapped.config().bytes_of(op.part, found.size);
    uint64_t wanted = size_of(operation, item);
    moved = part_bytes;
    if (op.start > part_bytes) return -WEFT_ERANGE;
    uint64_t bytes =
        wanted == 0 ? part_bytes - op.start : std::min<uint64_t>(wanted, part_bytes - op.start);
    if (wanted == 0 && operation.region->everything) return -WEFT_EINVAL;
    std::optional<Place> to = place_of(operation, item, bytes);
    moved = bytes;
    if (!to) return -WEFT_ERANGE;
    const std::byte* from = mapped.address(found.segment, found.index, op.part) + op.start;
    bool verify = (op.flags & WEFT_VERIFY) != 0;
    if (verify && bytes != part_bytes) return -WEFT_EINVAL;
    uint64_t checksum =
        verify ? mapped.reader().checksum(found.slot, op.part, mapped.config().parts) : 0;
    if (verify && checksum == 0) return -WEFT_ENOTSUP;
    // Of a pool's page, whose order is another, what was copied is hashed where it was read.
    const std::byte* copied = to->flat != nullptr ? to->flat : from;
    uint64_t sum = 0;
    for (uint64_t at = 0; at < bytes; at += kCopyPiece) {
        if (at > 0 && over(operation)) return -why_over(operation);
        uint64_t size = std::min(kCopyPiece, bytes - at);
        to->write(from + at, at, size);
        if (verify) sum += fabric::hash(copied + at, size, at / fabric::kChunkBytes);
    }
    if (tentative && !mapped.reader().still(found.slot, found.gen)) return -WEFT_EMISS;
    if (sum != checksum) {
        tell_corrupt(operation, item);
        return -WEFT_ECORRUPT;
    }
    if (!is_list(operation)) {
        operation.value = bytes;
        operation.handle = part_bytes;
        operation.detail = WEFT_IN_DRAM;
    }
    mapped.count_hits(1, bytes);
    if (op.part == 0 && op.start == 0 && !tentative)
        operation.uses.push_back({found.slot, found.parent_known});
    return 0;
}

/** Of a whole part that is held: 0, or why it is not given out. */
int32_t OpRunner::check_sum(Operation& operation, uint32_t item, const Found& found,
                            const std::byte* bytes, uint64_t size) const {
    const Mapped& mapped = *operation.mapped;
    uint64_t checksum =
        mapped.reader().checksum(found.slot, operation.op.part, mapped.config().parts);
    if (checksum == 0) return -WEFT_ENOTSUP;
    uint64_t sum = 0;
    for (uint64_t at = 0; at < size; at += kCopyPiece) {
        if (at > 0 && over(operation)) return -why_over(operation);
        sum += fabric::hash(bytes + at, std::min(kCopyPiece, size - at), at / fabric::kChunkBytes);
    }
    if (sum == checksum) return 0;
    tell_corrupt(operation, item);
    return -WEFT_ECORRUPT;
}

void OpRunner::take_view(Operation& operation, uint32_t item, uint32_t cell, const Found& found) {
    const weft_op& op = operation.op;
    Mapped& mapped = *operation.mapped;
    const std::byte* address = mapped.address(found.segment, found.index, op.part);
    uint64_t bytes = mapped.config().bytes_of(op.part, found.size);
    if ((op.flags & WEFT_VERIFY) != 0) {
        int32_t status = check_sum(operation, item, found, address, bytes);
        if (status != 0) {
            mapped.cells().give(cell);
            return item_done(operation, item, status, 0);
        }
    }
    mapped.cells().chain(operation.last_cell, cell);
    if (operation.first_cell == Cells::kNone) operation.first_cell = cell;
    operation.last_cell = cell;
    operation.viewed++;
    item_done(operation, item, 0, bytes, WEFT_IN_DRAM);
    if (is_list(operation)) {
        operation.items[item].offset = reinterpret_cast<uint64_t>(address);
    } else {
        operation.value = reinterpret_cast<uint64_t>(address);
        operation.detail = static_cast<uint32_t>(bytes);
    }
    mapped.count_hits(1, bytes);
    if (op.part == 0 && (found.gen & 1) == 0)
        operation.uses.push_back({found.slot, found.parent_known});
}

void OpRunner::locate(Operation& operation) {
    uint32_t count = std::min(operation.count - operation.next, kLocateAtOnce);
    Request& request = request_for(operation, Verb::locate, operation.next, count);
    request.view = operation.op.kind == WEFT_OP_VIEW;
    ask(operation, &OpRunner::located);
}

void OpRunner::located(Operation& operation, Reply&& reply) {
    if (reply.status < 0 && reply.items.size() == 0)
        return fail(operation, -reply.status, reply.message);
    operation.located.swap(reply.items);
    operation.located_at = operation.next;
    // This thread may be one that reaps another queue: what copies or hashes is the copying
    // thread's.
    if (looks_only(operation)) return load_or_view(operation);
    queue(operation);
}

void OpRunner::match(Operation& operation) {
    Mapped& mapped = *operation.mapped;
    const IndexReader& reader = mapped.reader();
    bool each = (operation.op.flags & WEFT_EACH) != 0;
    bool local = (operation.op.flags & (WEFT_PIN | WEFT_FOLLOW)) == 0;
    uint64_t now = fabric::boot_time();
    if (mapped.fenced()) {
        return fail(operation, WEFT_EFENCED,
                    "the namespace has advanced beyond this version: open it anew");
    }
    if (local && served(mapped, now)) {
        uint32_t first = operation.next;
        look_ahead(reader, operation.items + first, operation.count - first,
                   [&](uint32_t i, uint64_t hash, uint32_t guess) {
                       Found found;
                       Key key = key_of(operation, first + i);
                       if (reader.look(key, hash, mapped.version(), now, found, guess) != Look::hit)
                           return false;
                       if (each)
                           item_done(operation, first + i, 0,
                                     mapped.config().bytes_of(operation.op.part, found.size),
                                     WEFT_IN_DRAM);
                       operation.next++;
                       return true;
                   });
        operation.lead = operation.next;
    }
    if (operation.next == operation.count) {
        operation.value = operation.lead;
        return finish(operation);
    }
    request_for(operation, Verb::match, operation.next, operation.count - operation.next);
    ask(operation, &OpRunner::matched);
}

void OpRunner::matched(Operation& operation, Reply&& reply) {
    if (reply.status < 0) return fail(operation, -reply.status, reply.message);
    if ((operation.op.flags & WEFT_EACH) != 0) {
        for (uint32_t i = 0; i < reply.items.size(); i++) {
            weft_item& item = operation.items[operation.next + i];
            item.status = reply.items[i].status != 0 ? reply.items[i].status : WEFT_IN_DRAM;
            item.size = static_cast<uint32_t>(reply.items[i].value);
        }
    }
    operation.lead += static_cast<uint32_t>(reply.value);
    operation.value = operation.lead;
    operation.detail = operation.lead == operation.count ? 0 : reply.detail;
    if (operation.detail != 0) operation.mapped->count_miss(operation.detail);
    operation.handle = reply.handle;
    if (reply.handle != 0) store_.keep_node_handle(reply.handle);
    finish(operation);
}

}  // namespace weft
