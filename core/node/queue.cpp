// The ring of events and its ways to be waited for: in reap on the lane to the node, if this thread
// may read it, else on a condition variable; an eventfd for who polls.
#include "core/node/queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "core/node/lane.h"

namespace weft {

Queue::Queue(uint32_t depth, uint64_t inline_bytes, uint32_t priority, Lane* lane)
    : depth_(depth),
      inline_bytes_(inline_bytes),
      priority_(priority),
      lane_(lane),
      operations_(depth + kEndsExtra),
      events_(depth + kEndsExtra) {
    for (uint32_t i = depth + kEndsExtra; i > 0; i--) free_.push_back(i - 1);
    for (Operation& operation : operations_) operation.queue = this;
}

Operation* Queue::take(const weft_op& op) {
    std::lock_guard<std::mutex> guard(lock_);
    // What ends other ops finds room where these fill the queue.
    bool ends = op.kind == WEFT_OP_CANCEL || op.kind == WEFT_OP_COMMIT || op.kind == WEFT_OP_ABORT;
    uint32_t limit = ends ? depth_ + kEndsExtra : depth_;
    if (closing_ || unreaped_ >= limit || free_.empty()) return nullptr;
    Operation& operation = operations_[free_.back()];
    free_.pop_back();
    unreaped_++;
    operation.op = op;
    return &operation;
}

void Queue::push(Operation& operation, const weft_event& event) {
    std::lock_guard<std::mutex> guard(lock_);
    free_.push_back(static_cast<uint32_t>(&operation - operations_.data()));
    events_[(events_begin_ + events_count_) % events_.size()] = event;
    events_count_++;
    if (events_count_ == 1) signal();
}

void Queue::signal() {
    ready_.notify_one();
    uint64_t one = 1;
    bool other = leader_ != std::thread::id() && leader_ != std::this_thread::get_id();
    if (other && write(leader_wake_.get(), &one, sizeof one) < 0) return;  // it is awake
    if (!event_fd_.valid()) return;
    if (write(event_fd_.get(), &one, sizeof one) < 0)
        return;  // full means readable, which is all that is wanted
}

int32_t Queue::reap(weft_event* events, uint32_t capacity, int32_t timeout_ms) {
    std::unique_lock<std::mutex> guard(lock_);
    auto ended = [this] { return closing_ && unreaped_ == 0; };
    auto until = std::chrono::steady_clock::time_point::max();
    if (timeout_ms >= 0)
        until = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (timeout_ms != 0 && events_count_ == 0 && !ended() &&
           std::chrono::steady_clock::now() < until)
        wait(guard, until);
    if (events_count_ == 0) return ended() ? -WEFT_ECLOSED : 0;
    uint32_t count = std::min(capacity, events_count_);
    for (uint32_t i = 0; i < count; i++) events[i] = events_[(events_begin_ + i) % events_.size()];
    events_begin_ = static_cast<uint32_t>((events_begin_ + count) % events_.size());
    events_count_ -= count;
    unreaped_ -= count;
    if (events_count_ == 0 && event_fd_.valid()) {
        uint64_t drained = 0;
        if (read(event_fd_.get(), &drained, sizeof drained) < 0) drained = 0;  // it was not set
    }
    if (ended()) ready_.notify_all();
    return static_cast<int32_t>(count);
}

/** Until an event may have come, or later for other reasons; at most until `until`. */
void Queue::wait(std::unique_lock<std::mutex>& guard, std::chrono::steady_clock::time_point until) {
    bool for_good = until == std::chrono::steady_clock::time_point::max();
    if (lane_ != nullptr && leader_ == std::thread::id()) {
        if (!leader_wake_.valid())
            leader_wake_ = fabric::Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        Lane::Lead lead(*lane_);
        if (lead && leader_wake_.valid()) {
            leader_ = std::this_thread::get_id();
            guard.unlock();
            auto left = until - std::chrono::steady_clock::now();
            auto left_ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
            lead.wait(leader_wake_.get(),
                      for_good ? -1 : static_cast<int>(std::clamp<int64_t>(left_ms, 0, INT32_MAX)));
            guard.lock();
            leader_ = std::thread::id();
            uint64_t drained = 0;
            if (read(leader_wake_.get(), &drained, sizeof drained) < 0) drained = 0;  // not set
            return;
        }
    }
    if (for_good) {
        ready_.wait(guard);
    } else {
        ready_.wait_until(guard, until);
    }
}

int32_t Queue::fd() {
    std::lock_guard<std::mutex> guard(lock_);
    if (!event_fd_.valid()) {
        event_fd_ =
            fabric::Descriptor(eventfd(events_count_ > 0 ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!event_fd_.valid()) return -WEFT_ENOMEM;
    }
    return event_fd_.get();
}

uint32_t Queue::close() {
    std::lock_guard<std::mutex> guard(lock_);
    closing_ = true;
    ready_.notify_all();
    uint64_t one = 1;
    if (leader_ != std::thread::id() && write(leader_wake_.get(), &one, sizeof one) < 0)
        return unreaped_;  // it is awake
    return unreaped_;
}

uint32_t Queue::unreaped() {
    std::lock_guard<std::mutex> guard(lock_);
    return unreaped_;
}

}  // namespace weft
