// What an op asks of the node, and the answers: those that its op waits for, and those that come
// when it has ended.
#include "core/node/ops.h"
#include "core/node/stage.h"

namespace weft {

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

/** Asks what the operation's question says. */
void OpRunner::ask(Operation& operation, Continue then) {
    // Relaxed: the owner's own word.
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

/** Of a reservation that nobody writes to: the node is told, nobody waits. */
void Store::abort(const std::shared_ptr<Mapped>& mapped, uint64_t reservation) {
    auto request = std::make_shared<Request>();  // shared with the call alone
    request->verb = Verb::abort;
    request->number = reservation;
    link_->run(mapped, *request, [request](Reply&&) {});
}

/** The op has ended: what the reply grants is given back, what it hands over is kept. No lock of
 * the store is taken here: this may run inside a short call. */
void OpRunner::late(const Question& asked, const Reply& reply) {
    Verb verb = asked.request.verb;
    if (verb == Verb::reserve && reply.handle != 0) store_.abort(asked.mapped, reply.handle);
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

/** The node has had the word: the reservation is no more, for whoever says so first. The count
 * pairs with drop_unviewed's load. */
void OpRunner::forget(Space& space, Mapped& mapped, uint64_t reservation) {
    if (space.forget_reservation(reservation)) mapped.reservations.fetch_sub(1);
}

}  // namespace weft
