// LOAD, VIEW and MATCH: what this process can see in the index is read
// in place; what it cannot is asked of the node, whose answer names the slot.
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
constexpr uint64_t kCopyPiece = uint64_t{1} << 20;  // the deadline is looked at between pieces

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
        if (answered) {
            if (!read_located(operation, item, operation.located[item - operation.located_at]))
                return locate(operation);
        } else if (follow || !read_local(operation, item)) {
            return locate(operation);
        }
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

/** Reads what this process sees in the index; false: the node must be asked. */
bool OpRunner::read_local(Operation& operation, uint32_t item) {
    Mapped& mapped = *operation.mapped;
    uint64_t now = fabric::boot_time();
    if (!served(mapped, now)) return false;
    bool view = operation.op.kind == WEFT_OP_VIEW;
    uint32_t cell =
        view ? mapped.cells().take(thread_hint()) : mapped.cells().take_for_load(thread_hint());
    if (cell == Cells::kNone) {
        if (!view) return false;
        item_done(operation, item, -WEFT_EQUOTA, 0);
        operation.story = kViewsReached;
        return true;
    }
    Key key = key_of(operation, item);
    Found found;
    bool hit = mapped.reader().hold(key, hash_key(key), mapped.version(), now,
                                    mapped.cells().word(cell), found) == Look::hit &&
               mapped.has_segment(found.segment);
    if (!hit) {
        mapped.cells().give(cell);
        return false;
    }
    if (view) {
        take_view(operation, item, cell, found);
        return true;
    }
    uint64_t moved = 0;
    int32_t status = copy_out(operation, item, found, false, moved);
    mapped.cells().give(cell);
    item_done(
        operation, item, status,
        status == -WEFT_ERANGE ? moved : mapped.config().bytes_of(operation.op.part, found.size),
        WEFT_IN_DRAM);
    return true;
}

/** Reads a slot that the node named. False: it was given to another block meanwhile, ask again. */
bool OpRunner::read_located(Operation& operation, uint32_t item, const ReplyItem& where) {
    Mapped& mapped = *operation.mapped;
    if (where.status != 0) {
        if (where.status == -WEFT_EMISS) mapped.count_miss(static_cast<uint32_t>(where.value));
        item_done(operation, item, where.status, where.value);
        return true;
    }
    // Inside the ReadSide, as all of this: pairs with Store::lost, see Mapped::gone.
    if (mapped.gone.load(std::memory_order_acquire)) {
        // Its segments may be unmapped at any time now.
        mapped.count_miss(WEFT_MISS_UNREACHABLE);
        item_done(operation, item, -WEFT_EMISS, WEFT_MISS_UNREACHABLE);
        return true;
    }
    bool view = operation.op.kind == WEFT_OP_VIEW;
    uint32_t cell =
        view ? mapped.cells().take(thread_hint()) : mapped.cells().take_for_load(thread_hint());
    if (cell == Cells::kNone) {
        item_done(operation, item, -WEFT_EQUOTA, 0);
        operation.story = view ? kViewsReached : "64 loads are under way in this process";
        return true;
    }
    Found found;
    bool held = mapped.reader().hold_slot(where.slot, where.gen, mapped.cells().word(cell), found);
    bool tentative = (where.gen & 1) != 0;
    // It may have expired on the way; then the node says so.
    bool expired = held && !tentative && found.expiry != 0 && fabric::boot_time() >= found.expiry;
    if (!held || expired) {
        mapped.cells().give(cell);
        // Published since, or evicted since: what holds now is asked once more.
        operation.located.clear();
        return false;
    }
    if (tentative)
        found.size = mapped.config().any_size() ? where.value : mapped.config().block_bytes();
    if (!mapped.has_segment(found.segment)) {
        mapped.cells().give(cell);
        mapped.count_miss(WEFT_MISS_UNREACHABLE);
        item_done(operation, item, -WEFT_EMISS, WEFT_MISS_UNREACHABLE);
        return true;
    }
    if (view) {
        take_view(operation, item, cell, found);
        return true;
    }
    uint64_t moved = 0;
    int32_t status = copy_out(operation, item, found, tentative, moved);
    mapped.cells().give(cell);
    uint64_t bytes = status == -WEFT_ERANGE ? moved
                     : status == -WEFT_EMISS
                         ? uint64_t{WEFT_MISS_PARTIAL}
                         : mapped.config().bytes_of(operation.op.part, found.size);
    item_done(operation, item, status, bytes, WEFT_IN_DRAM);
    return true;
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
    for (uint64_t at = 0; at < bytes; at += kCopyPiece) {
        if (at > 0 && over(operation)) return -why_over(operation);
        to->write(from + at, at, std::min(kCopyPiece, bytes - at));
    }
    if (tentative && !mapped.reader().still(found.slot, found.gen)) return -WEFT_EMISS;
    if (verify) {
        uint64_t checksum = mapped.reader().checksum(found.slot, op.part, mapped.config().parts);
        if (checksum == 0) return -WEFT_ENOTSUP;
        // Of a pool's page, whose order is another, what was copied is hashed where it was read.
        if (fabric::hash(to->flat != nullptr ? to->flat : from, bytes, 0) != checksum) {
            tell_corrupt(operation, item);
            return -WEFT_ECORRUPT;
        }
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

void OpRunner::take_view(Operation& operation, uint32_t item, uint32_t cell, const Found& found) {
    const weft_op& op = operation.op;
    Mapped& mapped = *operation.mapped;
    const std::byte* address = mapped.address(found.segment, found.index, op.part);
    uint64_t bytes = mapped.config().bytes_of(op.part, found.size);
    if ((op.flags & WEFT_VERIFY) != 0) {
        uint64_t checksum = mapped.reader().checksum(found.slot, op.part, mapped.config().parts);
        bool right = checksum != 0 && fabric::hash(address, bytes, 0) == checksum;
        if (!right) {
            mapped.cells().give(cell);
            if (checksum != 0) tell_corrupt(operation, item);
            item_done(operation, item, checksum == 0 ? -WEFT_ENOTSUP : -WEFT_ECORRUPT, 0);
            return;
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
    // The copying thread, or a thread that only looks: VIEW copies nothing.
    if (operation.op.kind == WEFT_OP_VIEW) {
        ReadSide::Section section(store_.read_side_);
        load_or_view(operation);
    } else {
        queue(operation);
    }
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
