// SAVE, RESERVE, COMMIT and ABORT. A whole block of one part is filled into a stock slot and
// published by one call for up to 64 blocks; a part or a range of a block reserves first, so that
// all of it lies in one slot (protocols 4).
#include <algorithm>

#include "core/node/ops.h"
#include "fabric/copy/copy.h"

namespace weft {
namespace {

constexpr uint32_t kPublishAtOnce = 64;
constexpr uint32_t kReserveAtOnce = 64;
constexpr uint64_t kCopyPiece = uint64_t{1} << 20;  // a multiple of the checksum's chunk
constexpr uint64_t kWholeChunks = fabric::kChunkBytes;

}  // namespace

/** While one lives, nothing of what is mapped is unmapped because the node is gone. */
class OpRunner::Filling {
  public:
    Filling(ReadSide& side, const std::shared_ptr<Mapped>& mapped) {
        // See Mapped::gone. Relaxed: before the section's end, which drop_unviewed's caller waits
        // for.
        ReadSide::Section section(side);
        if (mapped->gone.load(std::memory_order_acquire)) return;
        mapped->fills.fetch_add(1, std::memory_order_relaxed);
        mapped_ = mapped;
    }
    /** Release: pairs with the acquire in drop_unviewed: all is written. */
    ~Filling() {
        if (mapped_ != nullptr) mapped_->fills.fetch_sub(1, std::memory_order_release);
    }
    Filling(const Filling&) = delete;
    Filling& operator=(const Filling&) = delete;
    /** False: the node is gone already. */
    explicit operator bool() const { return mapped_ != nullptr; }

  private:
    std::shared_ptr<Mapped> mapped_;  // shared with the op, which may end before
};

/** A part of several, or less than the whole part. */
bool OpRunner::wants_ranges(const Operation& operation) const {
    const NamespaceConfig& config = operation.mapped->config();
    if (config.parts > 1 || operation.op.start != 0) return true;
    if (config.any_size()) return false;
    for (uint32_t i = operation.next; i < operation.count; i++) {
        uint64_t size = size_of(operation, i);
        if (size != 0 && size != config.part_bytes[0]) return true;
    }
    return false;
}

/** Sizes that cannot be: none where one is needed, or beyond the part. */
bool OpRunner::check_sizes(Operation& operation) {
    const weft_op& op = operation.op;
    const NamespaceConfig& config = operation.mapped->config();
    for (uint32_t i = operation.next; i < operation.count; i++) {
        uint64_t size = size_of(operation, i);
        bool reserve = op.kind == WEFT_OP_RESERVE;
        if (size == 0 && (config.any_size() || (!reserve && operation.region->everything))) {
            fail(operation, WEFT_EINVAL,
                 "a size is needed: the namespace's parts have any size, or the region is all "
                 "memory",
                 offsetof(weft_op, size));
            return false;
        }
        uint64_t part_bytes = config.part_bytes[op.part];
        if (!config.any_size() && (op.start > part_bytes || size > part_bytes - op.start)) {
            operation.handle = part_bytes;
            fail(operation, WEFT_ERANGE, "the bytes lie beyond the end of the part");
            return false;
        }
    }
    return true;
}

void OpRunner::save(Operation& operation) {
    Mapped& mapped = *operation.mapped;
    if (mapped.fenced()) {
        return fail(operation, WEFT_EFENCED,
                    "the namespace has advanced beyond this version: open it anew");
    }
    if (operation.located_at == 0 && !check_sizes(operation)) return;
    operation.located_at = 1;  // checked
    if (wants_ranges(operation)) return save_ranges(operation);
    if (stopped(operation)) cancel_rest(operation, operation.next);
    if (operation.next >= operation.count) return finish(operation);
    if (over(operation)) return fail(operation, why_over(operation), "the op's time is over");
    if (save_batch(operation)) return;
    // No stock: ask for some. Where there can be none, blocks are reserved one by one.
    Request& request = fresh_request(operation, Verb::stock);
    request.size = std::min(operation.count - operation.next, kPublishAtOnce);
    uint64_t size = size_of(operation, operation.next);
    request.items.push_back({{}, size != 0 ? size : mapped.config().block_bytes(), kNoSlot, 0});
    ask(operation, &OpRunner::stocked);
}

void OpRunner::stocked(Operation& operation, Reply&& reply) {
    for (const ReplyItem& slot : reply.stock)
        operation.space->give_stock(operation.mapped.get(), slot);
    if (!reply.stock.empty()) return queue(operation);
    int32_t status =
        reply.status != 0 ? reply.status : (reply.items.empty() ? 0 : reply.items[0].status);
    if (status != 0 && status != -WEFT_EQUOTA) return fail(operation, -status, reply.message);
    save_ranges(operation);
}

/** Copies a block's bytes with their checksum. False: the op's time is over. */
bool OpRunner::fill(Operation& operation, std::byte* to, const Place& from, uint64_t size,
                    uint64_t& checksum) const {
    for (uint64_t at = 0; at < size; at += kCopyPiece) {
        if (at > 0 && over(operation)) return false;
        checksum += from.read_and_hash(to + at, at, std::min(kCopyPiece, size - at));
    }
    return true;
}

/** Fills stock slots for the next blocks and publishes them. False: there was no stock. What the
 * slots are worth is by the stock (Space). */
bool OpRunner::save_batch(Operation& operation) {
    Mapped& mapped = *operation.mapped;
    Filling filling(store_.read_side_, operation.mapped);
    if (!filling) return fail(operation, WEFT_EPEER, "the node cannot be reached"), true;
    const NamespaceConfig& config = mapped.config();
    bool replace = (operation.op.flags & WEFT_REPLACE) != 0;
    Request& request = request_for(operation, Verb::publish, operation.next, 0);
    uint64_t now = fabric::boot_time();
    uint64_t class_bytes = 0;
    uint32_t item = operation.next;
    bool ended = false;
    for (; item < operation.count && request.items.size() < kPublishAtOnce && !ended; item++) {
        Key key = key_of(operation, item);
        uint64_t size =
            size_of(operation, item) != 0 ? size_of(operation, item) : config.block_bytes();
        Found found;
        bool there =
            !replace && !mapped.gone.load() && mapped.reader().serves(now) &&
            mapped.reader().look(key, hash_key(key), mapped.version(), now, found) == Look::hit;
        // One request is of one size class, and its items follow each other in the list.
        if (there && !request.items.empty()) break;
        if (there) {
            item_done(operation, item, -WEFT_EEXISTS, size);
            operation.next = item + 1;
            continue;
        }
        if (class_bytes != 0 && slot_bytes_for(size) != class_bytes) break;
        class_bytes = slot_bytes_for(size);
        std::optional<Place> from = place_of(operation, item, size);
        if (!from) {
            if (!request.items.empty()) break;
            item_done(operation, item, -WEFT_ERANGE, size);
            operation.next = item + 1;
            return queue(operation), true;
        }
        ReplyItem slot;
        if (!operation.space->take_stock(operation.mapped.get(), class_bytes, slot)) break;
        std::byte* to = mapped.write_address(static_cast<uint32_t>(slot.place >> 32),
                                             static_cast<uint32_t>(slot.place), 0);
        if (to == nullptr) {
            // Unmapped while the node was away; an answer that names the slot brings it back.
            operation.space->give_stock(operation.mapped.get(), slot);
            if (!request.items.empty()) break;
            return save_ranges(operation), true;
        }
        uint64_t checksum = 0;
        ended = !fill(operation, to, *from, size, checksum);
        if (ended) operation.space->give_stock(operation.mapped.get(), slot);
        if (ended) break;
        request.items.push_back({key, size, slot.slot, checksum});
        operation.pieces.push_back(slot);
    }
    if (request.items.empty() && operation.next >= operation.count) return finish(operation), true;
    if (request.items.empty() && ended)
        return fail(operation, why_over(operation), "the op's time is over"), true;
    if (request.items.empty()) return false;
    request.size = std::min(operation.count, kPublishAtOnce);
    ask(operation, &OpRunner::published);
    return true;
}

void OpRunner::published(Operation& operation, Reply&& reply) {
    Mapped* mapped = operation.mapped.get();
    if (reply.status < 0 && reply.items.empty()) {
        // The node looked at none of them: they are still the process's own.
        bool refused = reply.status == -WEFT_EDENIED;
        for (const ReplyItem& slot : operation.pieces)
            if (refused) operation.space->give_stock(mapped, slot);
        return fail(operation, -reply.status, reply.message);
    }
    bool joins = !reply.items.empty() && reply.items[0].status == -WEFT_EHELD &&
                 reply.items[0].value == kJoins;
    if (joins && !is_list(operation) && operation.pieces.size() == 1) {
        operation.space->give_stock(operation.mapped.get(), operation.pieces[0]);
        operation.pieces.clear();
        return save_ranges(operation);
    }
    for (uint32_t i = 0; i < reply.items.size() && i < operation.pieces.size(); i++) {
        const ReplyItem& item = reply.items[i];
        uint64_t size = size_of(operation, operation.next + i);
        if (size == 0) size = operation.mapped->config().block_bytes();
        // What was not published is still the process's own.
        if (item.status != 0) {
            operation.space->give_stock(mapped, operation.pieces[i]);
        } else {
            operation.space->forget_slot(mapped, operation.pieces[i].slot);
        }
        uint64_t bytes = item.status == -WEFT_EMISS ? item.value : size;
        item_done(operation, operation.next + i, item.status, bytes);
        if (!is_list(operation) && item.status == 0) {
            operation.value = size;
            operation.detail = 1;
        }
    }
    for (const ReplyItem& slot : reply.stock)
        operation.space->give_stock(operation.mapped.get(), slot);
    operation.next += static_cast<uint32_t>(operation.pieces.size());
    operation.pieces.clear();
    if (operation.failed) operation.story = reply.message;
    if (operation.next < operation.count && !stopped(operation)) return queue(operation);
    if (operation.next < operation.count) cancel_rest(operation, operation.next);
    finish(operation);
}

/** Opens a range of the part of the next blocks, to be filled from the op's memory. */
void OpRunner::save_ranges(Operation& operation) {
    const NamespaceConfig& config = operation.mapped->config();
    auto fits = [&](uint32_t item) {
        uint64_t bytes = size_of(operation, item) != 0
                             ? size_of(operation, item)
                             : config.part_bytes[operation.op.part] - operation.op.start;
        if (place_of(operation, item, bytes)) return uint64_t{0};
        return std::max<uint64_t>(bytes, 1);
    };
    // What lies beyond the region is not even asked for: dropping it later would drop the others.
    for (; operation.next < operation.count && !stopped(operation); operation.next++) {
        uint64_t beyond = fits(operation.next);
        if (beyond == 0) break;
        item_done(operation, operation.next, -WEFT_ERANGE, beyond);
    }
    if (stopped(operation)) cancel_rest(operation, operation.next);
    if (operation.next >= operation.count) return finish(operation);
    if (over(operation)) return fail(operation, why_over(operation), "the op's time is over");
    uint32_t count = 1;
    while (count < kReserveAtOnce && operation.next + count < operation.count &&
           fits(operation.next + count) == 0)
        count++;
    request_for(operation, Verb::reserve, operation.next, count);
    ask(operation, &OpRunner::ranges_reserved);
}

void OpRunner::ranges_reserved(Operation& operation, Reply&& reply) {
    if (reply.status < 0 && reply.items.empty())
        return fail(operation, -reply.status, reply.message);
    operation.pieces.swap(reply.items);
    operation.reservation = reply.handle;
    if (reply.handle != 0) {
        // Pairs with drop_unviewed's load.
        operation.mapped->reservations.fetch_add(1);
        operation.space->know_reservation(reply.handle);
        return queue(operation);
    }
    for (uint32_t i = 0; i < operation.pieces.size(); i++) {
        item_done(operation, operation.next + i, operation.pieces[i].status,
                  operation.pieces[i].value);
    }
    operation.next += static_cast<uint32_t>(operation.pieces.size());
    operation.pieces.clear();
    if (operation.failed && !reply.message.empty()) operation.story = reply.message;
    // By way of the copying thread: a long list would go as deep as it is long.
    if (operation.next < operation.count) return queue(operation);
    finish(operation);
}

void OpRunner::range_item(Operation& operation, uint32_t item, const ReplyItem& piece,
                          Request& commit) {
    const weft_op& op = operation.op;
    Mapped& mapped = *operation.mapped;
    uint64_t part_bytes = piece.value;
    uint64_t bytes =
        size_of(operation, item) != 0 ? size_of(operation, item) : part_bytes - op.start;
    std::optional<Place> from = place_of(operation, item, bytes);
    std::byte* to = mapped.write_address(static_cast<uint32_t>(piece.place >> 32),
                                         static_cast<uint32_t>(piece.place), op.part);
    if (!from || to == nullptr) {
        commit.verb = Verb::abort;
        item_done(operation, item, !from ? -WEFT_ERANGE : -WEFT_ENOMEM, bytes);
        operation.story = "the block's segment cannot be mapped";
        return;
    }
    // A range that is not of whole chunks has no checksum of its own.
    bool whole = op.start % kWholeChunks == 0 &&
                 (bytes % kWholeChunks == 0 || op.start + bytes == part_bytes);
    uint64_t checksum = 0;
    for (uint64_t at = 0; at < bytes; at += kCopyPiece) {
        if (at > 0 && over(operation)) {
            commit.verb = Verb::abort;
            return item_done(operation, item, -why_over(operation), 0);
        }
        uint64_t size = std::min(kCopyPiece, bytes - at);
        if (whole) {
            checksum += from->read_and_hash(to + op.start + at, at, size);
        } else {
            from->read(to + op.start + at, at, size);
        }
    }
    commit.items.push_back({key_of(operation, item), bytes, kNoSlot, whole ? checksum : 0});
}

void OpRunner::fill_ranges(Operation& operation) {
    Request& commit = request_for(operation, Verb::commit, 0, 0);
    commit.number = operation.reservation;
    commit.flags &= ~static_cast<uint32_t>(WEFT_MORE);
    for (uint32_t i = 0; i < operation.pieces.size() && commit.verb == Verb::commit; i++) {
        if (operation.pieces[i].status == 0)
            range_item(operation, operation.next + i, operation.pieces[i], commit);
    }
    if (commit.verb == Verb::abort) commit.items.clear();
    ask(operation, &OpRunner::ranges_committed);
}

void OpRunner::ranges_committed(Operation& operation, Reply&& reply) {
    forget(*operation.space, *operation.mapped, operation.reservation);
    operation.reservation = 0;
    uint32_t joined = 0;
    for (uint32_t i = 0; i < operation.pieces.size(); i++) {
        const ReplyItem& piece = operation.pieces[i];
        int32_t status = piece.status;
        uint64_t bytes = piece.value;
        if (status == 0) {
            const ReplyItem* end = joined < reply.items.size() ? &reply.items[joined] : nullptr;
            joined++;
            if (operation.failed && end == nullptr)
                continue;  // aborted: the failed item has been noted
            status = end != nullptr ? end->status : reply.status;
            if (!is_list(operation) && status == 0) {
                operation.value =
                    size_of(operation, 0) != 0 ? size_of(operation, 0) : bytes - operation.op.start;
                operation.detail = end != nullptr ? static_cast<uint32_t>(end->value) : 0;
            }
        }
        if (status == -WEFT_EMISS) bytes = WEFT_MISS_PARTIAL;
        item_done(operation, operation.next + i, status, bytes);
    }
    operation.next += static_cast<uint32_t>(operation.pieces.size());
    operation.pieces.clear();
    if (operation.failed) operation.story = reply.message;
    if (operation.next < operation.count) return save_ranges(operation);
    finish(operation);
}

/** RESERVE: the parts are open for writing in place. */
void OpRunner::reserved(Operation& operation, Reply&& reply) {
    if (reply.status < 0 && reply.items.empty())
        return fail(operation, -reply.status, reply.message);
    const weft_op& op = operation.op;
    for (const ReplyItem& piece : reply.items) {
        bool mapped =
            operation.mapped->write_address(static_cast<uint32_t>(piece.place >> 32),
                                            static_cast<uint32_t>(piece.place), op.part) != nullptr;
        if (piece.status != 0 || mapped) continue;
        store_.abort(operation.mapped, reply.handle);
        return fail(operation, WEFT_ENOMEM, "the block's segment cannot be mapped");
    }
    if (reply.handle != 0) {
        // Pairs with drop_unviewed's load.
        operation.mapped->reservations.fetch_add(1);
        operation.space->know_reservation(reply.handle);
        operation.handle = reply.handle;
    }
    for (uint32_t i = 0; i < reply.items.size(); i++) {
        const ReplyItem& piece = reply.items[i];
        uint32_t item = operation.next + i;
        int32_t status = piece.status;
        std::byte* address = nullptr;
        if (status == 0) {
            address = operation.mapped->write_address(static_cast<uint32_t>(piece.place >> 32),
                                                      static_cast<uint32_t>(piece.place), op.part);
        }
        uint64_t handle = operation.handle;
        item_done(operation, item, status, piece.value);
        operation.handle = handle;
        if (status != 0) continue;
        if (is_list(operation)) {
            operation.items[item].offset = reinterpret_cast<uint64_t>(address);
        } else {
            operation.value = reinterpret_cast<uint64_t>(address);
            operation.detail = static_cast<uint32_t>(piece.value);
        }
    }
    if (operation.failed) operation.story = reply.message;
    finish(operation);
}

/** COMMIT or ABORT of a reservation. */
void OpRunner::committed(Operation& operation, Reply&& reply) {
    uint64_t reservation = operation.op.offset;
    if ((operation.op.flags & WEFT_MORE) == 0)
        forget(*operation.space, *operation.mapped, reservation);
    operation.value = reply.value;
    operation.detail = reply.detail;
    operation.status = reply.status;
    if (reply.status == -WEFT_EMISS) operation.detail = WEFT_MISS_PARTIAL;
    operation.failed = reply.status != 0;
    operation.story = reply.message;
    finish(operation);
}

/** ABORT by key, REMOVE, TOUCH with an expiry: an answer an item. */
void OpRunner::settled(Operation& operation, Reply&& reply) {
    if (reply.status < 0 && reply.items.empty())
        return fail(operation, -reply.status, reply.message);
    uint32_t first = operation.next;
    for (uint32_t i = 0; i < reply.items.size(); i++) {
        if (stopped(operation)) {
            cancel_rest(operation, first + i);
            break;
        }
        item_done(operation, first + i, reply.items[i].status, reply.items[i].value);
    }
    finish(operation);
}

void OpRunner::touch_op(Operation& operation) {
    const weft_op& op = operation.op;
    Mapped& mapped = *operation.mapped;
    if (mapped.fenced()) {
        return fail(operation, WEFT_EFENCED,
                    "the namespace has advanced beyond this version: open it anew");
    }
    uint64_t now = fabric::boot_time();
    bool local = op.ttl_s == 0 && !mapped.gone.load() && mapped.reader().serves(now);
    for (; local && operation.next < operation.count; operation.next++) {
        Key key = key_of(operation, operation.next);
        Found found;
        local = mapped.reader().look(key, hash_key(key), mapped.version(), now, found) == Look::hit;
        if (!local) break;
        operation.uses.push_back({found.slot, found.parent_known});
        item_done(operation, operation.next, 0, mapped.config().bytes_of(0, found.size));
    }
    tell_uses(operation);
    if (operation.next == operation.count) return finish(operation);
    request_for(operation, Verb::touch, operation.next, operation.count - operation.next);
    ask(operation, &OpRunner::settled);
}

void OpRunner::waited(Operation& operation, Reply&& reply) {
    if ((operation.op.flags & WEFT_CLAIM) == 0) {
        if (reply.status < 0 && reply.items.empty())
            return fail(operation, -reply.status, reply.message);
        uint32_t first = operation.next;
        for (uint32_t i = 0; i < reply.items.size(); i++) {
            item_done(operation, first + i, reply.items[i].status, reply.items[i].value);
            if (reply.items[i].status == 0) operation.value = reply.items[i].value;
        }
        return finish(operation);
    }
    operation.lead = operation.next + static_cast<uint32_t>(reply.value);
    operation.status = reply.status;
    operation.detail = reply.detail;
    operation.handle = reply.handle;
    operation.story = reply.message;
    operation.failed = reply.status != 0;
    if (reply.handle != 0) store_.keep_node_handle(reply.handle);
    finish(operation);
}

void OpRunner::advanced(Operation& operation, Reply&& reply) {
    if (reply.status < 0) return fail(operation, -reply.status, reply.message);
    operation.value = reply.value;
    finish(operation);
}

}  // namespace weft
