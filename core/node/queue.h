// A completion queue: ops that were taken, and the events of those that ended.
//
// Invariants: every op taken ends in exactly one event, also when the queue closes; all memory is
// taken at open; an operation is owned by whoever moved its state to running, and only the owner
// touches the memory that the op names, so an event is not given out while anybody still may. Any
// thread submits; one at a time reaps.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "capi/weft.h"
#include "core/index/cells.h"
#include "core/node/look.h"
#include "core/write/request.h"
#include "fabric/memory/memory.h"

namespace weft {

class Lane;
class OpRunner;
class Queue;
class Space;
class Store;
struct Operation;
struct Region;

enum class Stage : uint8_t { idle, queued, waiting, running };

/** What an op asks of the node. It is the operation's while the op is running and the link's while
 * it is under way; the answer to one whose op has ended meanwhile ends it too. */
struct Question {
    using Continue = void (OpRunner::*)(Operation&, Reply&&);

    Request request;
    Store* store = nullptr;
    Operation* of = nullptr;
    std::shared_ptr<Queue> queue;    // keeps `of`, while under way
    std::shared_ptr<Mapped> mapped;  // what the answer's slots belong to, while under way
    uint64_t state = 0;              // of the op, if it still waits for this
    uint32_t space = 0;
    Continue then = nullptr;
    /** Memory of a rare large list is not kept. */
    void trim() {
        if (request.items.capacity() <= kKeptItems) return;
        request.items = std::vector<RequestItem>();
        request.room = std::vector<uint64_t>();
    }
    /** COMMIT and ABORT of a reservation: the caller's word that it writes there no more. */
    bool is_word() const {
        return (request.verb == Verb::commit || request.verb == Verb::abort) &&
               request.number != 0 && (request.flags & WEFT_MORE) == 0;
    }
};

/** One op under way. Fields that are not atomic belong to the owner. */
struct Operation {
    // Generation in the upper bits, Stage in the lowest 8. A late reply carries the value that it
    // expects. Who moves it to running (stage.h) pairs with the store by which the owner before let
    // go of it (OpRunner::let_go, finish), and so sees all fields as that one left them.
    std::atomic<uint64_t> state{0};
    std::atomic<uint64_t> cancel{0};  // the generation that is to end, plus 1; orders in stage.h
    // Looked at by those who do not own the operation, and proved by their exchange of state, for a
    // state that they loaded before: that of another op makes the exchange fail.
    std::atomic<uint64_t> deadline{0};
    std::atomic<uint64_t> tag{0};
    weft_op op{};
    Queue* queue = nullptr;
    Space* space = nullptr;
    Region* region = nullptr;
    Region* list = nullptr;
    weft_item* items = nullptr;
    uint32_t count = 0;  // items, or 1

    uint32_t next = 0;    // first item not done
    uint32_t lead = 0;    // items done from the first on, while none failed
    bool failed = false;  // some item has
    int32_t status = 0;   // the first failed item's
    uint32_t detail = 0;
    uint64_t value = 0;  // what a single block's event says
    uint64_t handle = 0;
    std::string story;                   // its room is kept
    uint32_t first_cell = Cells::kNone;  // a VIEW's
    uint32_t last_cell = Cells::kNone;
    uint32_t viewed = 0;
    uint32_t view_number = 0;  // which of the space's incarnations its cells are of
    std::shared_ptr<Mapped>
        mapped;  // shared with the space: what the op's slots and cells belong to
    std::vector<ReplyItem> located;  // the node's answers for the items from located_at on
    uint32_t located_at = 0;
    uint64_t reservation = 0;       // of a SAVE of ranges, under way
    std::vector<ReplyItem> pieces;  // where these ranges go
    std::vector<Use> uses;          // blocks read: told at the end
    std::vector<uint32_t> corrupt;  // items whose checksum did not match: to be dropped
    weft_item single{};             // the item of an op that is no list
    uint64_t own_bytes = 0;         // that the thread which carries it out may copy or hash
    std::unique_ptr<Question> question;
};

/** Shared by the store and by every answer or piece of work that is still to come for one of its
 * ops: these may come after the queue has closed. */
class Queue : public std::enable_shared_from_this<Queue> {
  public:
    static constexpr uint32_t kEndsExtra = 64;

    /** lane: read by whoever waits in reap, or nullptr. */
    Queue(uint32_t depth, uint64_t inline_bytes, uint32_t priority, Lane* lane);

    /** An operation for the op, or nullptr when the queue is full or closing. */
    Operation* take(const weft_op& op);
    /** The event is out, and the operation free once it is reaped. */
    void push(Operation& operation, const weft_event& event);
    int32_t reap(weft_event* events, uint32_t capacity, int32_t timeout_ms);
    int32_t fd();
    /** No more ops. Returns how many events are still to be reaped. */
    uint32_t close();
    /** Only for the right words: lock_ is what decides. */
    bool closing() const { return closing_; }
    uint32_t unreaped();

    std::vector<Operation>& operations() { return operations_; }
    uint64_t inline_bytes() const { return inline_bytes_; }
    uint32_t priority() const { return priority_; }
    uint32_t id = 0;

  private:
    void signal();
    void wait(std::unique_lock<std::mutex>& guard, std::chrono::steady_clock::time_point until);

    uint32_t depth_;
    uint64_t inline_bytes_;
    uint32_t priority_;
    Lane* lane_;
    std::vector<Operation> operations_;
    std::mutex lock_;  // guards what follows
    std::condition_variable ready_;
    std::vector<uint32_t> free_;
    std::vector<weft_event> events_;  // a ring
    uint32_t events_begin_ = 0;
    uint32_t events_count_ = 0;
    uint32_t unreaped_ = 0;
    // Stored under lock_, whose order take, reap and close rely on. `closing` alone loads it
    // without: it pairs with nothing, and either value is right for the words of a refusal.
    std::atomic<bool> closing_{false};
    fabric::Descriptor event_fd_;
    // The thread that reads the lane while it waits here, and what wakes it for other reasons.
    std::thread::id leader_;
    fabric::Descriptor leader_wake_;
};

}  // namespace weft
