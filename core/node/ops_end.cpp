// Ops that others carry on or end: the copying thread, the keeper of deadlines, CANCEL and the
// close of a queue. They load states (acquire: pairs with the release of who stored them, so that
// tag and deadline are of that op or a later one) of operations that are not theirs, and own one
// only by the exchange that proves the state unchanged (stage.h).
#include "core/node/ops.h"
#include "core/node/stage.h"

namespace weft {

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
        work.operation->own_bytes = UINT64_MAX;
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
    std::vector<std::shared_ptr<Queue>> queues;
    {
        std::lock_guard<std::mutex> guard(lock_);
        queues = queues_;
    }
    uint64_t next = UINT64_MAX;
    for (const std::shared_ptr<Queue>& queue : queues) {
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
        uint64_t next = end_overdue(now);
        // Relaxed: see tidy_later.
        if (now >= tidy_at_.load(std::memory_order_relaxed)) {
            tidy_at_.store(UINT64_MAX, std::memory_order_relaxed);
            tidy_up();
        }
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
