// The frame of every op: taking it, asking the node, handing it to the copying thread, ending it;
// deadlines and cancelling.
#include "core/node/ops.h"

#include <array>
#include <cstddef>
#include <cstdio>

#include "core/node/threads.h"

namespace weft {
namespace {

constexpr uint64_t kStageBits = 8;

uint64_t with_stage(uint64_t state, Stage stage) {
    return (state & ~((uint64_t{1} << kStageBits) - 1)) | static_cast<uint64_t>(stage);
}
Stage stage_of(uint64_t state) { return static_cast<Stage>(state & 0xff); }

bool move_stage(Operation& operation, uint64_t expected, Stage to) {
    return operation.state.compare_exchange_strong(expected, with_stage(expected, to),
                                                   std::memory_order_seq_cst);
}

bool cancelled(const Operation& operation) {
    // Seq_cst: see end_now.
    return operation.cancel.load(std::memory_order_seq_cst) ==
           (operation.state.load(std::memory_order_relaxed) >> kStageBits) + 1;
}

/** Ends the op that is in `state`, or has it end as soon as its owner gives it on: either the
 * owner, who stores the new stage before it looks at `cancel`, sees the mark, or this sees that
 * stage. False: the caller has nothing to end; true: the operation is the caller's, to fail. */
bool end_now(Operation& operation, uint64_t state) {
    uint64_t mark = (state >> kStageBits) + 1;
    uint64_t before = operation.cancel.load(std::memory_order_relaxed);
    // Never back to an earlier op of this place.
    while (before < mark && !operation.cancel.compare_exchange_weak(before, mark)) {
    }
    state = operation.state.load(std::memory_order_seq_cst);
    bool idle = stage_of(state) == Stage::waiting || stage_of(state) == Stage::queued;
    return idle && (state >> kStageBits) + 1 == mark &&
           move_stage(operation, state, Stage::running);
}

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
        operation->state.store(
            with_stage(operation->state.load(std::memory_order_relaxed), Stage::running),
            std::memory_order_release);
        runner.begin(*operation);
    }
    return static_cast<int32_t>(count);
}

void OpRunner::begin(Operation& operation) {
    const weft_op& op = operation.op;
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
    if (uint32_t wrong = wrong_field(op)) {
        return fail(operation, WEFT_EINVAL, wrong_words(op, wrong - 1), wrong - 1);
    }
    if (op.kind == WEFT_OP_CANCEL) return cancel(operation);
    if (!attach(operation)) return;
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
        operation.region->users.fetch_add(1, std::memory_order_acquire);
    }
    return attach_items(operation);
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
    operation.list->users.fetch_add(1, std::memory_order_acquire);
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

/** Small copies are done by the caller's own thread; 0 bytes when the queue wants none. */
bool OpRunner::fits_inline(const Operation& operation) const {
    if (operation.op.kind == WEFT_OP_VIEW && operation.count <= 4096) return true;
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
            if (std::shared_ptr<Mapped> ended = operation.space->take_ended(op.offset)) {
                ended->reservations.fetch_sub(1);
                return fail(operation, WEFT_ECLOSED, "the reservation ended with its node");
            }
            if (!operation.space->knows_reservation(op.offset)) {
                return fail(operation, WEFT_EINVAL, "the reservation is not open",
                            offsetof(weft_op, offset));
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

Request& OpRunner::fresh_request(Operation& operation, Verb verb) const {
    // Another answers an op that has ended: that one's memory went with it.
    if (operation.question == nullptr) operation.question = std::make_unique<Question>();
    Request& request = operation.question->request;
    std::vector<RequestItem> items = std::move(request.items);
    std::vector<uint64_t> room = std::move(request.room);
    items.clear();
    request = Request();
    request.verb = verb;
    request.deadline = operation.deadline;
    request.items = std::move(items);
    request.room = std::move(room);
    return request;
}

Request& OpRunner::request_for(Operation& operation, Verb verb, uint32_t first,
                               uint32_t count) const {
    const weft_op& op = operation.op;
    Request& request = fresh_request(operation, verb);
    request.flags = op.flags;
    request.part = op.part;
    request.start = op.start;
    request.size = op.size;
    request.ttl_s = op.ttl_s;
    request.items.reserve(count);
    for (uint32_t i = first; i < first + count; i++) {
        request.items.push_back({key_of(operation, i), size_of(operation, i), kNoSlot, 0});
    }
    if (first > 0 && count > 0 && (op.flags & WEFT_CHAIN) != 0) {
        request.has_parent = true;
        request.parent = key_of(operation, first - 1);
    }
    return request;
}

Key OpRunner::key_of(const Operation& operation, uint32_t item) const {
    return {operation.items[item].key_hi, operation.items[item].key_lo};
}

uint64_t OpRunner::size_of(const Operation& operation, uint32_t item) const {
    // COMMIT, WAIT and the like say their size once, in the op; RESERVE, SAVE and LOAD may say one
    // an item.
    bool each = is_list(operation) &&
                (operation.op.kind == WEFT_OP_LOAD || operation.op.kind == WEFT_OP_SAVE ||
                 operation.op.kind == WEFT_OP_RESERVE);
    uint32_t own = each ? operation.items[item].size : 0;
    return own != 0 ? own : operation.op.size;
}

std::byte* OpRunner::memory_of(const Operation& operation, uint32_t item, uint64_t bytes) const {
    const Region& region = *operation.region;
    uint64_t offset = operation.items[item].offset;
    if (region.everything) return reinterpret_cast<std::byte*>(offset);
    if (offset > region.size || bytes > region.size - offset) return nullptr;
    return reinterpret_cast<std::byte*>(region.base + offset);
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
    operation.state.store(state, std::memory_order_seq_cst);
    // After the state: whoever ends what is overdue finds either the op or the deadline.
    store_.note_deadline(deadline);
    if (!cancelled(operation) || !move_stage(operation, state, Stage::running)) return true;
    fail(operation, WEFT_ECANCELED, "cancelled");
    return false;
}

void OpRunner::queue(Operation& operation) {
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

/** Asks what the operation's question says. */
void OpRunner::ask(Operation& operation, Continue then) {
    uint64_t state = with_stage(operation.state.load(std::memory_order_relaxed), Stage::waiting);
    std::unique_ptr<Question> question = std::move(operation.question);
    question->store = &store_;
    question->of = &operation;
    question->queue = operation.queue->shared_from_this();
    question->mapped = operation.mapped;
    question->space = operation.space->id();
    question->state = state;
    question->then = then;
    if (!let_go(operation, state)) return;
    std::shared_ptr<Mapped> mapped = question->mapped;
    Question* asked = question.release();
    store_.link_->run(mapped, asked->request,
                      [asked](Reply&& reply) { answered(asked, std::move(reply)); });
}

void OpRunner::answered(Question* question, Reply&& reply) {
    std::unique_ptr<Question> asked(question);
    OpRunner runner(*asked->store);
    Operation& operation = *asked->of;
    std::shared_ptr<Queue> queue = std::move(asked->queue);
    if (!move_stage(operation, asked->state, Stage::running)) return runner.late(*asked, reply);
    std::shared_ptr<Mapped> mapped = std::move(asked->mapped);
    asked->trim();
    operation.question = std::move(asked);
    Question& own = *operation.question;
    if (reply.status == -WEFT_EPEER || reply.status == -WEFT_ECLOSED) {
        // The node hears it when the process comes back without the reservation.
        if (own.is_word()) runner.forget(*operation.space, *mapped, own.request.number);
        return runner.fail(operation, -reply.status,
                           reply.message.empty() ? "the node cannot be reached" : reply.message);
    }
    (runner.*own.then)(operation, std::move(reply));
}

/** Of a reservation that nobody was told of. */
void OpRunner::abort(const std::shared_ptr<Mapped>& mapped, uint64_t reservation) {
    auto request = std::make_shared<Request>();  // shared with the call alone
    request->verb = Verb::abort;
    request->number = reservation;
    store_.link_->run(mapped, *request, [request](Reply&&) {});
}

/** The op has ended: what the reply grants is given back, what it hands over is kept. No lock of
 * the store is taken here: this may run inside a short call. */
void OpRunner::late(const Question& asked, const Reply& reply) {
    Verb verb = asked.request.verb;
    if (verb == Verb::reserve && reply.handle != 0) abort(asked.mapped, reply.handle);
    if ((verb == Verb::match || verb == Verb::wait) && reply.handle != 0)
        store_.link_->release(reply.handle);
    ReadSide::Section section(store_.read_side_);
    Space* space = store_.find_space(asked.space);
    if (space == nullptr) return;
    if (verb == Verb::stock || verb == Verb::publish) {
        for (const ReplyItem& slot : reply.stock) space->give_stock(asked.mapped.get(), slot);
    }
    if (verb == Verb::publish) {
        for (const ReplyItem& item : reply.items) {
            if (item.slot == kNoSlot) continue;
            if (item.status < 0) {
                space->give_stock(asked.mapped.get(), item);
            } else {
                space->forget_slot(asked.mapped.get(), item.slot);
            }
        }
    }
    if (asked.is_word()) forget(*space, *asked.mapped, asked.request.number);
}

/** The node has had the word: the reservation is no more, for whoever says so first. */
void OpRunner::forget(Space& space, Mapped& mapped, uint64_t reservation) {
    if (space.forget_reservation(reservation)) mapped.reservations.fetch_sub(1);
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
        abort(operation.mapped, reservation);
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
    uint64_t state = operation.state.load(std::memory_order_relaxed);
    operation.state.store(with_stage(state + (uint64_t{1} << kStageBits), Stage::idle),
                          std::memory_order_release);
    operation.queue->push(operation, event);
}

void OpRunner::cancel(Operation& operation) {
    uint64_t found = 0;
    for (Operation& other : operation.queue->operations()) {
        uint64_t state = other.state.load(std::memory_order_acquire);
        if (&other == &operation || stage_of(state) == Stage::idle ||
            other.tag.load(std::memory_order_relaxed) != operation.op.offset)
            continue;
        found++;
        if (end_now(other, state)) fail(other, WEFT_ECANCELED, "cancelled");
    }
    operation.value = found;
    finish(operation);
}

bool Store::take_work(Work& out) {
    std::unique_lock<std::mutex> guard(work_lock_);
    auto any = [this] { return !work_[0].empty() || !work_[1].empty() || !work_[2].empty(); };
    work_ready_.wait(guard, [&] { return stopping_ || any(); });
    for (size_t priority = work_.size(); priority > 0; priority--) {
        auto& work = work_[priority - 1];
        if (work.empty()) continue;
        out = work.pop();
        return true;
    }
    return false;
}

void Store::move_blocks() {
    OpRunner runner(*this);
    Work work;
    while (take_work(work)) {
        if (!move_stage(*work.operation, work.state, Stage::running)) continue;
        ReadSide::Section section(read_side_);
        runner.go_on(*work.operation);
    }
}

void Store::note_deadline(uint64_t deadline) {
    std::lock_guard<std::mutex> guard(deadline_lock_);
    if (deadline >= next_deadline_) return;
    next_deadline_ = deadline;
    deadline_changed_.notify_one();
}

/** Ends ops that nobody owns and whose time is over. Returns the next deadline of the others. */
uint64_t Store::end_overdue(uint64_t now) {
    OpRunner runner(*this);
    std::lock_guard<std::mutex> guard(lock_);  // no queue goes meanwhile
    uint64_t next = UINT64_MAX;
    for (const std::shared_ptr<Queue>& queue : queues_) {
        for (Operation& operation : queue->operations()) {
            uint64_t state = operation.state.load(std::memory_order_acquire);
            if (stage_of(state) != Stage::waiting && stage_of(state) != Stage::queued) continue;
            uint64_t deadline = operation.deadline;
            if (deadline > now) {
                next = std::min(next, deadline);
            } else if (move_stage(operation, state, Stage::running)) {
                runner.fail(operation, WEFT_ETIMEOUT, "the op's time is over");
            }
        }
    }
    return next;
}

void Store::keep_deadlines() {
    std::unique_lock<std::mutex> guard(deadline_lock_);
    while (!stopping_) {
        uint64_t now = fabric::boot_time();
        if (next_deadline_ > now) {
            if (next_deadline_ == UINT64_MAX) {
                deadline_changed_.wait(guard);
            } else {
                deadline_changed_.wait_for(guard, std::chrono::nanoseconds(next_deadline_ - now));
            }
            continue;
        }
        next_deadline_ = UINT64_MAX;
        guard.unlock();
        uint64_t next = end_overdue(fabric::boot_time());
        guard.lock();
        next_deadline_ = std::min(next_deadline_, next);
    }
}

int32_t Store::close_queue(Queue* queue) {
    uint32_t left = queue->close();
    if (left > 0) {
        // What nobody is carrying out ends now; the rest as it was about to.
        OpRunner runner(*this);
        for (Operation& operation : queue->operations()) {
            uint64_t state = operation.state.load(std::memory_order_acquire);
            if (stage_of(state) == Stage::idle) continue;
            if (end_now(operation, state))
                runner.fail(operation, WEFT_ECANCELED, "the queue closes");
        }
        return static_cast<int32_t>(queue->unreaped());
    }
    return 0;
}

void Store::destroy_queue(Queue* queue) {
    std::lock_guard<std::mutex> guard(lock_);
    std::erase_if(queues_, [&](const std::shared_ptr<Queue>& one) { return one.get() == queue; });
}

}  // namespace weft
