// The frame of every op: taking it, handing it to the copying thread, ending it.
#include "core/node/ops.h"

#include <array>
#include <cstddef>
#include <cstdio>

#include "core/node/stage.h"

namespace weft {
namespace {

/** What is said of a failure that nobody had more words for: which block, and why. */
std::string_view plain_words(const weft_op& op, int32_t code, std::array<char, 200>& room) {
    const char* why = code == WEFT_EEXISTS ? "it, or these bytes of it, are there"
                      : code == WEFT_EHELD ? "it is being written (WEFT_WAIT_WRITER waits for that)"
                                           : weft_code_name(code);
    if ((op.flags & WEFT_LIST) != 0) {
        snprintf(room.data(), room.size(), "of a list of %llu blocks, the first that failed: %s",
                 static_cast<unsigned long long>(op.key_hi), why);
    } else {
        snprintf(room.data(), room.size(), "key %016llx%016llx, part %u: %s",
                 static_cast<unsigned long long>(op.key_hi),
                 static_cast<unsigned long long>(op.key_lo), op.part, why);
    }
    return room.data();
}

}  // namespace

int32_t Store::submit(Queue& queue, const weft_op* ops, uint32_t count) {
    OpRunner runner(*this);
    for (uint32_t i = 0; i < count; i++) {
        Operation* operation = queue.take(ops[i]);
        if (operation == nullptr)
            return i > 0 ? static_cast<int32_t>(i)
                         : (queue.closing() ? -WEFT_ECLOSED : -WEFT_EAGAIN);
        // The queue's lock handed the operation over: its state is this thread's own. Release:
        // pairs with the acquire loads of those who look at all operations (ops_end.cpp).
        operation->state.store(
            with_stage(operation->state.load(std::memory_order_relaxed), Stage::running),
            std::memory_order_release);
        runner.begin(*operation);
    }
    return static_cast<int32_t>(count);
}

void OpRunner::begin(Operation& operation) {
    const weft_op& op = operation.op;
    // Relaxed: the owner's, until let_go's store of state hands it on.
    operation.tag.store(op.tag, std::memory_order_relaxed);
    operation.next = operation.lead = operation.viewed = 0;
    operation.failed = false;
    operation.status = 0;
    operation.detail = 0;
    operation.value = operation.handle = operation.reservation = 0;
    operation.first_cell = operation.last_cell = Cells::kNone;
    operation.located_at = 0;
    operation.items = nullptr;
    operation.count = 0;
    uint32_t timeout_ms = op.timeout_ms != 0 ? op.timeout_ms : store_.options_.timeout_ms;
    operation.deadline = fabric::boot_time() + timeout_ms * fabric::kMillisecond;
    operation.own_bytes = operation.queue->inline_bytes();
    if (uint32_t wrong = wrong_field(op)) {
        return fail(operation, WEFT_EINVAL, wrong_words(op, wrong - 1), wrong - 1);
    }
    if (op.kind == WEFT_OP_CANCEL) return cancel(operation);
    bool attached = [&] {
        ReadSide::Section section(store_.read_side_);
        return attach(operation);
    }();
    if (!attached) return;
    if (op.kind == WEFT_OP_LOAD || op.kind == WEFT_OP_SAVE || op.kind == WEFT_OP_VIEW) {
        if (fits_inline(operation)) {
            go_on(operation);
        } else {
            queue(operation);
        }
        return;
    }
    go_on(operation);
}

bool OpRunner::attach(Operation& operation) {
    const weft_op& op = operation.op;
    operation.space = store_.find_space(op.space);
    if (operation.space == nullptr) {
        fail(operation, WEFT_EINVAL, "space=" + std::to_string(op.space) + " is not open",
             offsetof(weft_op, space));
        return false;
    }
    // Counts of users: who takes the thing away first unhooks it, then waits for the calls inside
    // (ReadSide::synchronize), of which this is one, and then looks at the count. The acquire
    // orders nothing more.
    operation.space->users.fetch_add(1, std::memory_order_acquire);
    operation.mapped = operation.space->mapped(operation.view_number);
    const NamespaceConfig& config = operation.mapped->config();
    if (op.part >= config.parts) {
        fail(operation, WEFT_EINVAL,
             "part=" + std::to_string(op.part) + ": the namespace has " +
                 std::to_string(config.parts) + " parts, counted from 0",
             offsetof(weft_op, part));
        return false;
    }
    if (op.kind == WEFT_OP_LOAD || op.kind == WEFT_OP_SAVE) {
        operation.region = store_.find_region(op.region);
        if (operation.region == nullptr) {
            fail(operation, WEFT_EINVAL, "region=" + std::to_string(op.region) + " is not open",
                 offsetof(weft_op, region));
            return false;
        }
        operation.region->users.fetch_add(1, std::memory_order_acquire);  // the same
        if (operation.region->pages != nullptr && !attach_pool(operation)) return false;
    }
    return attach_items(operation);
}

/** A pool's op says layers; from here on it says their bytes. */
bool OpRunner::attach_pool(Operation& operation) {
    weft_op& op = operation.op;
    const fabric::Pages& pages = *operation.region->pages;
    const NamespaceConfig& config = operation.mapped->config();
    uint64_t part_bytes = config.part_bytes[op.part];
    if (!config.any_size() && part_bytes != pages.part_bytes()) {
        fail(operation, WEFT_EINVAL,
             "region=" + std::to_string(op.region) + ": a block of the pool has " +
                 std::to_string(pages.part_bytes()) + " bytes, part " + std::to_string(op.part) +
                 " of the namespace " + std::to_string(part_bytes),
             offsetof(weft_op, region));
        return false;
    }
    uint64_t layers =
        op.size != 0 ? op.size : pages.layers() - std::min<uint64_t>(op.start, pages.layers());
    if (op.start >= pages.layers() || layers > pages.layers() - op.start) {
        fail(operation, WEFT_EINVAL,
             "start=" + std::to_string(op.start) + ", size=" + std::to_string(op.size) +
                 ": the pool has " + std::to_string(pages.layers()) + " layers",
             offsetof(weft_op, start));
        return false;
    }
    uint64_t start = pages.start_of(op.start);
    op.size = static_cast<uint32_t>(pages.start_of(op.start + layers) - start);
    op.start = static_cast<uint32_t>(start);
    return true;
}

bool OpRunner::attach_items(Operation& operation) {
    const weft_op& op = operation.op;
    if (!is_list(operation)) {
        operation.count = 1;
        operation.single = {op.key_hi, op.key_lo, op.offset, op.size, 0};
        operation.items = &operation.single;
        return true;
    }
    operation.list = store_.find_region(static_cast<uint32_t>(op.key_lo));
    if (op.key_lo > UINT32_MAX) operation.list = nullptr;
    if (operation.list == nullptr) {
        fail(operation, WEFT_EINVAL,
             "key_lo=" + std::to_string(op.key_lo) + ": the list's region is not open",
             offsetof(weft_op, key_lo));
        return false;
    }
    operation.list->users.fetch_add(1, std::memory_order_acquire);  // as in attach
    uint64_t bytes = op.key_hi * sizeof(weft_item);
    const Region& list = *operation.list;
    bool inside =
        list.everything ? op.offset != 0 : op.offset <= list.size && bytes <= list.size - op.offset;
    uint64_t address = list.everything ? op.offset : list.base + op.offset;
    if (!inside || address % alignof(weft_item) != 0) {
        fail(operation, WEFT_EINVAL,
             "the list's items are not inside their region, or not at a multiple of 8",
             offsetof(weft_op, offset));
        return false;
    }
    operation.items = reinterpret_cast<weft_item*>(address);
    operation.count = static_cast<uint32_t>(op.key_hi);
    if ((op.flags & WEFT_PARENT) != 0) {
        operation.next = 1;
        operation.lead = 1;
        if ((op.flags & WEFT_EACH) != 0) operation.items[0].status = 0;
    }
    return true;
}

/** Small copies are done by the caller's own thread; 0 bytes when the queue wants none. Where the
 * size is not known here, too_long finds it. */
bool OpRunner::fits_inline(const Operation& operation) const {
    if (looks_only(operation)) return true;
    uint64_t limit = operation.queue->inline_bytes();
    const NamespaceConfig& config = operation.mapped->config();
    uint64_t bytes = 0;
    for (uint32_t i = operation.next; i < operation.count && bytes <= limit; i++) {
        uint64_t size = size_of(operation, i);
        bytes += size != 0 || config.any_size() ? std::max<uint64_t>(size, 1)
                                                : config.part_bytes[operation.op.part];
    }
    return bytes <= limit;
}

void OpRunner::go_on(Operation& operation) {
    const weft_op& op = operation.op;
    switch (op.kind) {
        case WEFT_OP_LOAD:
        case WEFT_OP_VIEW:
            return load_or_view(operation);
        case WEFT_OP_SAVE:
            return operation.reservation != 0 ? fill_ranges(operation) : save(operation);
        case WEFT_OP_MATCH:
            return match(operation);
        case WEFT_OP_TOUCH:
            return touch_op(operation);
        case WEFT_OP_RESERVE: {
            if (!check_sizes(operation)) return;
            request_for(operation, Verb::reserve, operation.next, operation.count - operation.next)
                .user = true;
            return ask(operation, &OpRunner::reserved);
        }
        case WEFT_OP_WAIT: {
            Request& request = request_for(operation, Verb::wait, operation.next,
                                           operation.count - operation.next);
            request.number = is_list(operation) ? operation.items[0].offset : op.offset;
            if ((op.flags & WEFT_CLAIM) == 0) request.number = 0;
            return ask(operation, &OpRunner::waited);
        }
        case WEFT_OP_COMMIT:
        case WEFT_OP_ABORT: {
            bool by_key = op.kind == WEFT_OP_ABORT && (is_list(operation) || op.offset == 0);
            bool commit = op.kind == WEFT_OP_COMMIT;
            Request& request = request_for(operation, commit ? Verb::commit : Verb::abort, 0,
                                           by_key ? operation.count : 0);
            request.number = by_key ? 0 : op.offset;
            if (by_key) return ask(operation, &OpRunner::settled);
            switch (operation.space->hear(op.offset, (op.flags & WEFT_MORE) == 0)) {
                case Space::Word::ended:
                    return fail(operation, WEFT_ECLOSED, "the reservation ended with its node");
                case Space::Word::unknown:
                    return fail(operation, WEFT_EINVAL, "the reservation is not open",
                                offsetof(weft_op, offset));
                case Space::Word::heard:
                    break;
            }
            return ask(operation, &OpRunner::committed);
        }
        case WEFT_OP_REMOVE: {
            request_for(operation, Verb::remove, operation.next, operation.count - operation.next);
            return ask(operation, &OpRunner::settled);
        }
        default: {
            Request& request = request_for(operation, Verb::advance, 0, 0);
            request.number = op.offset;
            return ask(operation, &OpRunner::advanced);
        }
    }
}

Key OpRunner::key_of(const Operation& operation, uint32_t item) const {
    return {operation.items[item].key_hi, operation.items[item].key_lo};
}

uint64_t OpRunner::size_of(const Operation& operation, uint32_t item) const {
    // COMMIT, WAIT and the like say their size once, in the op; RESERVE, SAVE and LOAD may say one
    // an item.
    bool pool = operation.region != nullptr && operation.region->pages != nullptr;
    bool each = is_list(operation) && !pool &&
                (operation.op.kind == WEFT_OP_LOAD || operation.op.kind == WEFT_OP_SAVE ||
                 operation.op.kind == WEFT_OP_RESERVE);
    uint32_t own = each ? operation.items[item].size : 0;
    return own != 0 ? own : operation.op.size;
}

std::optional<Place> OpRunner::place_of(const Operation& operation, uint32_t item,
                                        uint64_t bytes) const {
    const Region& region = *operation.region;
    uint64_t offset = operation.items[item].offset;
    if (region.pages != nullptr) {
        uint64_t page = offset / region.pages->tokens();
        bool begins = offset % region.pages->tokens() == 0;
        if (!begins || page >= region.pages->pages()) return std::nullopt;
        return Place{nullptr, region.pages.get(), page, operation.op.start};
    }
    if (region.everything && offset == 0) return std::nullopt;
    uint64_t address = region.everything ? offset : region.base + offset;
    if (!region.everything && (offset > region.size || bytes > region.size - offset))
        return std::nullopt;
    return Place{reinterpret_cast<std::byte*>(address), nullptr, 0, operation.op.start};
}

int32_t OpRunner::why_over(const Operation& operation) const {
    return cancelled(operation) ? WEFT_ECANCELED : WEFT_ETIMEOUT;
}

bool OpRunner::over(const Operation& operation) const {
    return cancelled(operation) || fabric::boot_time() >= operation.deadline;
}

void OpRunner::item_done(Operation& operation, uint32_t item, int32_t status, uint64_t bytes,
                         int32_t tier) {
    bool done = status == 0 || status == -WEFT_EEXISTS;
    if (done && !operation.failed) operation.lead = item + 1;
    bool counts = is_list(operation) ? !done : status != 0;
    if (counts && !operation.failed) {
        operation.failed = true;
        operation.status = status;
        operation.detail = status == -WEFT_EMISS ? static_cast<uint32_t>(bytes) : 0;
        if (status == -WEFT_ERANGE) operation.handle = bytes;
    }
    bool writes = (operation.op.flags & WEFT_EACH) != 0 ||
                  (is_list(operation) &&
                   (operation.op.kind == WEFT_OP_VIEW || operation.op.kind == WEFT_OP_RESERVE));
    if (!writes) return;
    operation.items[item].status = status != 0 ? status : tier;
    operation.items[item].size = static_cast<uint32_t>(std::min<uint64_t>(bytes, UINT32_MAX));
}

void OpRunner::cancel_rest(Operation& operation, uint32_t first) {
    for (uint32_t i = first; i < operation.count; i++) item_done(operation, i, -WEFT_ECANCELED, 0);
    operation.next = operation.count;
}

/** The operation is nobody's now, and others may end it. False: it was to end, and has. */
bool OpRunner::let_go(Operation& operation, uint64_t state) {
    uint64_t deadline = operation.deadline;
    // Seq_cst: before the look at `cancel`, as end_now stores that before it looks at the stage;
    // and the release that pairs with the exchange of whoever goes on (move_stage).
    operation.state.store(state, std::memory_order_seq_cst);
    // After the state: whoever ends what is overdue finds either the op or the deadline.
    store_.note_deadline(deadline);
    if (!cancelled(operation) || !move_stage(operation, state, Stage::running)) return true;
    fail(operation, WEFT_ECANCELED, "cancelled");
    return false;
}

void OpRunner::queue(Operation& operation) {
    // Relaxed: the owner's own word.
    uint64_t state = with_stage(operation.state.load(std::memory_order_relaxed), Stage::queued);
    uint32_t priority = operation.queue->priority();
    std::shared_ptr<Queue> of = operation.queue->shared_from_this();
    if (!let_go(operation, state)) return;
    {
        std::lock_guard<std::mutex> guard(store_.work_lock_);
        store_.work_[priority].push({std::move(of), &operation, state});
    }
    store_.work_ready_.notify_one();
}

void OpRunner::fail(Operation& operation, int32_t code, std::string_view story, uint32_t detail) {
    operation.status = -code;
    operation.detail = detail;
    operation.failed = true;
    operation.story = story;
    // Which of its items are open is read from their statuses.
    bool says = operation.op.kind == WEFT_OP_VIEW || operation.op.kind == WEFT_OP_RESERVE ||
                (operation.op.flags & WEFT_EACH) != 0;
    for (uint32_t i = operation.next; says && is_list(operation) && i < operation.count; i++) {
        operation.items[i].status = -code;
        operation.items[i].size = 0;
    }
    finish(operation);
}

void OpRunner::finish(Operation& operation) {
    const weft_op& op = operation.op;
    // A SAVE that ended between its grant and its commit: nobody copies there any more.
    if (operation.reservation != 0) {
        uint64_t reservation = std::exchange(operation.reservation, 0);
        forget(*operation.space, *operation.mapped, reservation);
        store_.abort(operation.mapped, reservation);
    }
    weft_event event{};
    event.tag = op.tag;
    event.status = operation.status;
    event.detail = operation.detail;
    event.value =
        is_list(operation) && operation.space != nullptr ? operation.lead : operation.value;
    event.handle = operation.handle;
    bool opened_some = op.kind == WEFT_OP_RESERVE && is_list(operation) && operation.handle != 0;
    if (operation.first_cell != Cells::kNone) {
        uint32_t generation = operation.mapped->cells().bind(operation.first_cell);
        event.handle = view_handle(operation.space->id(), operation.view_number,
                                   operation.first_cell, generation);
        opened_some = true;
    }
    bool plain = event.status == 0 || event.status == -WEFT_EMISS || event.status == -WEFT_ERANGE;
    if (!plain && !opened_some) {
        std::array<char, 200> room;
        event.handle = store_.stories_.tell(
            -event.status, operation.story.empty() ? plain_words(op, -event.status, room)
                                                   : std::string_view(operation.story));
        if (event.status != -WEFT_EEXISTS) event.value = is_list(operation) ? event.value : 0;
    }
    // Release: pairs with the load of users by who takes the thing away: the op is done with it.
    if (operation.region != nullptr)
        operation.region->users.fetch_sub(1, std::memory_order_release);
    if (operation.list != nullptr) operation.list->users.fetch_sub(1, std::memory_order_release);
    if (operation.space != nullptr) operation.space->users.fetch_sub(1, std::memory_order_release);
    operation.region = operation.list = nullptr;
    operation.space = nullptr;
    operation.mapped.reset();
    operation.story.clear();
    operation.located.clear();
    operation.pieces.clear();
    operation.uses.clear();
    operation.corrupt.clear();
    // Relaxed: the owner's own word. Release: pairs with the acquire loads in ops_end.cpp; the next
    // owner gets it by the queue's lock.
    uint64_t state = operation.state.load(std::memory_order_relaxed);
    operation.state.store(with_stage(state + (uint64_t{1} << kStageBits), Stage::idle),
                          std::memory_order_release);
    operation.queue->push(operation, event);
}

}  // namespace weft
