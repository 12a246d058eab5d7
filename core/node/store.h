// A store as the ABI sees it: a node or a connection to one, its namespaces, regions and queues,
// and the threads that carry ops out (one that copies, one that keeps deadlines).
//
// Invariants: ids encode a place and a generation, so a stale one is told from a live one; an op in
// flight holds what it names (space, regions, queue). Any thread may call anything here; what may
// wait is said so.
#pragma once
#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "core/base/ring.h"
#include "core/node/link.h"
#include "core/node/node.h"
#include "core/node/pool.h"
#include "core/node/queue.h"
#include "core/node/read_side.h"
#include "core/node/remote_link.h"
#include "core/node/space.h"
#include "core/node/stories.h"

namespace weft {

/** A view's handle: its kind, the place of its space, the incarnation, its first cell and that
 * cell's generation. */
constexpr uint64_t kViewHandle = 1;
constexpr uint64_t kReservationHandle = 2;  // the node makes these (core/write/waiting.cpp)
inline uint64_t view_handle(uint32_t space, uint32_t number, uint32_t cell, uint32_t generation) {
    return kViewHandle << 60 | uint64_t{space % 1024} << 50 | uint64_t{number} << 42 |
           uint64_t{cell} << 30 | generation;
}

/** Memory that ops name. `base` 0 and size 0: all of this process. */
struct Region {
    // 0: free. Stored (release) behind the fields and loaded (acquire) before them, in find_region.
    std::atomic<uint32_t> id{0};
    std::atomic<uint32_t> users{0};  // orders in OpRunner::attach and finish
    uint32_t leaving = 0;            // its id, while a drop waits; guarded by Store::lock_
    uint64_t base = 0;
    uint64_t size = 0;
    bool everything = false;
    fabric::Mapping mapping;               // of a mapped one
    std::unique_ptr<fabric::Pages> pages;  // of a pool
};

struct StoreOptions {
    NodeOptions node;
    std::string connect;  // path of a UNIX socket
    TokenSource token;
    uint32_t timeout_ms = 10000;
};

class Store final : public LinkEvents {
  public:
    static constexpr uint32_t kSpacesMax = 1024;
    static constexpr uint32_t kRegionsMax = 1024;
    static constexpr uint32_t kQueuesMax = 256;

    static Result<std::unique_ptr<Store>> open(const StoreOptions& options, const fabric::Log& log);
    ~Store() override;
    /** WEFT_EBUSY while namespaces, regions or queues are open. */
    Status check_close();

    Result<std::string> query(uint32_t space, const std::string& words);
    /** Waits. */
    Status open_namespace(const std::string& name, const std::string& options, weft_namespace& out);
    Status close_namespace(uint32_t space);
    Result<uint32_t> map_region(uint64_t size, uint64_t& address_out);
    Result<uint32_t> adopt_region(uint64_t address, uint64_t size);
    Result<uint32_t> open_pool(const char* layout, const uint64_t* bases, uint32_t count);
    /** Waits for the calls that may have found it, not for ops: those are WEFT_EBUSY. */
    int32_t drop_region(uint32_t region);
    Result<Queue*> open_queue(uint32_t depth, uint64_t inline_bytes, uint32_t priority);
    /** Ends its ops. Returns how many events are left; at 0 it can be destroyed. */
    int32_t close_queue(Queue* queue);
    void destroy_queue(Queue* queue);

    int32_t submit(Queue& queue, const weft_op* ops, uint32_t count);
    int32_t match(uint32_t space, const weft_item* items, uint32_t count);
    int32_t view(uint32_t space, uint32_t part, weft_item* items, uint32_t count,
                 uint64_t* handle_out);
    int32_t release(const uint64_t* handles, uint32_t count);

    Stories& stories() { return stories_; }

    void lost() override;
    void unreachable() override;
    void resumed(const std::shared_ptr<Mapped>& mapped) override;
    bool reopened(const std::shared_ptr<Mapped>& before,
                  const std::shared_ptr<Mapped>& now) override;
    std::shared_ptr<Mapped> became(const std::shared_ptr<Mapped>& before) override;
    Known known(const std::shared_ptr<Mapped>& of) override;
    void unanswered(const std::shared_ptr<Mapped>& of, const Request& request) override;

  private:
    friend class OpRunner;
    Store(const StoreOptions& options, const fabric::Log& log);
    Status start();

    Space* find_space(uint32_t id);
    Region* find_region(uint32_t id);
    uint64_t deadline_from_now() const;
    std::shared_ptr<Space> owner_of(const std::shared_ptr<Mapped>& mapped) const;
    Result<uint32_t> add_region(uint64_t base, uint64_t size, bool everything,
                                fabric::Mapping mapping,
                                std::unique_ptr<fabric::Pages> pages = nullptr);
    Result<std::string> about();

    int32_t match_some(uint32_t space, const weft_item* items, uint32_t count);
    int32_t release_view(uint64_t handle);
    int32_t release_reservation(uint64_t handle);
    void abort(const std::shared_ptr<Mapped>& mapped, uint64_t reservation);
    void keep_node_handle(uint64_t handle);
    int32_t release_node_handle(uint64_t handle);
    void move_blocks();
    void hand_over(Operation& operation);
    /** An op to carry out, and the state that it was queued in. */
    struct Work {
        std::shared_ptr<Queue> queue;
        Operation* operation = nullptr;
        uint64_t state = 0;
    };
    bool take_work(Work& out);
    std::vector<std::shared_ptr<Mapped>> all_mapped();
    static Status check_unused(Space& space);
    void keep_deadlines();
    void note_deadline(uint64_t deadline);
    uint64_t end_overdue(uint64_t now);
    bool tidy(Space& space);
    void tidy_up();
    void tidy_later();

    StoreOptions options_;
    fabric::Log log_;
    std::unique_ptr<Node> node_;
    std::unique_ptr<Link> link_;
    ReadSide read_side_;
    Stories stories_;

    std::mutex lock_;  // guards the making and ending of what follows; nobody waits under it
    std::array<std::atomic<Space*>, kSpacesMax> spaces_{};
    std::array<uint32_t, kSpacesMax> space_generations_{};
    // By place; shared with who hands one another incarnation or tidies it. In spaces_ too, but
    // while it is being closed.
    std::array<std::shared_ptr<Space>, kSpacesMax> owned_spaces_{};
    // Openings on their way to who asked whose node came back meanwhile, and what they are now;
    // shared with the link and the opening thread.
    std::vector<std::pair<std::shared_ptr<Mapped>, std::shared_ptr<Mapped>>> unclaimed_;
    std::array<Region, kRegionsMax> regions_;
    std::array<uint32_t, kRegionsMax> region_generations_{};
    std::vector<std::shared_ptr<Queue>> queues_;
    std::mutex handles_lock_;  // guards handles_, spare_handles_
    std::unordered_map<uint64_t, bool>
        handles_;  // pins and claims; false: they ended with their node
    std::vector<std::unordered_map<uint64_t, bool>::node_type> spare_handles_;  // their memory

    std::mutex work_lock_;  // guards work_, stopping_
    std::condition_variable work_ready_;
    std::array<Ring<Work>, 3> work_;  // by priority
    std::mutex deadline_lock_;        // guards next_deadline_
    std::condition_variable deadline_changed_;
    uint64_t next_deadline_ = UINT64_MAX;
    std::atomic<uint64_t> tidy_at_{UINT64_MAX};  // stored before the deadline that wakes the keeper
    bool stopping_ = false;
    std::thread mover_;
    std::thread keeper_;
};

}  // namespace weft
