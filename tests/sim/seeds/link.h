// A client's side of a connection: a Link as RemoteLink is one, with a loop's thread and a lane's.
//
// Invariants: those of core/node/remote_link.h; spaces_ belongs to the loop's thread, and its work
// gives way to other work of that thread only where RemoteLink's coroutines do. A store without
// namespaces leaves none here (P9), also where they were closed while they were opened anew.
#pragma once
#include <mutex>
#include <set>

#include "core/node/link.h"
#include "tests/sim/seeds/network.h"

namespace weft::seeds {

class HostLink final : public Link {
  public:
    HostLink(std::string token, LinkEvents& events);
    ~HostLink() override;
    Status start(uint64_t timeout_ns);

    Result<std::shared_ptr<Mapped>> open(const std::string& name, const std::string& options,
                                         uint64_t floor_known, uint64_t deadline) override;
    Status close(const std::shared_ptr<Mapped>& mapped, uint64_t deadline) override;
    void run(const std::shared_ptr<Mapped>& mapped, Request& request, Done done) override;
    Result<std::string> query(const std::shared_ptr<Mapped>& mapped, const std::string& words,
                              uint64_t deadline) override;
    void release(uint64_t handle) override;
    void stop(uint64_t deadline) override;
    std::string about() const override { return "client of a simulated node"; }

    // The node's calls back, on the loop's thread.
    bool add_segment(uint64_t opening, const Sent& segment);
    void drop_segment(uint64_t opening, uint32_t segment);
    /** One of a process's openings; nullptr: it has none of these. */
    static std::shared_ptr<Mapped> mapped_of(const Proc& proc, const std::string& name,
                                             uint64_t version);
    /** Does a request that is not answered keep what the process has closed? */
    static bool lingers(const Proc& proc);

  private:
    struct Call {
        std::shared_ptr<Mapped> mapped;  // shared with the op
        Request* request = nullptr;
        Done done;
    };
    struct OpenSpace {
        std::string name;
        std::string options;
        std::shared_ptr<Mapped> mapped;  // shared with the store's space
        bool attached = true;            // by this connection
    };
    template <typename T>
    using Then = std::function<void(Result<T>)>;

    void live();
    Status connect_once();
    void reopen_all();
    bool try_resume(OpenSpace& space);
    void open_now(const std::string& name, const std::string& options, uint64_t floor_known,
                  Then<std::shared_ptr<Mapped>> then);
    bool has(const std::shared_ptr<Mapped>& mapped) const;
    void close_now(const std::shared_ptr<Mapped>& mapped, const Then<Nothing>& then);
    void close_at_node(uint64_t opening, const Then<Nothing>& then);
    void lose();
    void lose_lane();
    void answered(Call&& call, Reply&& reply);
    void need_segments(std::shared_ptr<Mapped> mapped, std::set<uint32_t> ids, Mailbox::Work then);
    void refuse(Call& call);
    bool map_segment(Mapped& mapped, const Sent& segment);
    /** Asks the node's loop; `then` on this one's, with EPEER where no answer comes. */
    template <typename T>
    void ask(std::function<Result<T>(HostServer&, Attached*)> work, Then<T> then);
    /** The same, with this thread's other work done meanwhile. */
    template <typename T>
    Result<T> await(std::function<Result<T>(HostServer&, Attached*)> work);
    /** The same from another thread. */
    template <typename T>
    Result<T> call(uint64_t deadline, std::function<void(Then<T>)> start);
    bool up() const { return connection_ != nullptr && connection_->open && session_; }

    std::string token_;
    LinkEvents& events_;
    std::unique_ptr<fabric::Memory> memory_;
    uint64_t instance_;
    MailboxPtr loop_;
    MailboxPtr lane_;
    ConnectionPtr connection_;
    bool session_ = false;
    bool stopping_ = false;
    std::optional<Status> first_login_;
    std::map<uint64_t, std::shared_ptr<OpenSpace>> spaces_;  // shared with calls under way
    std::map<uint64_t, std::function<void()>> outstanding_;  // what to do when the answer is lost
    std::mutex lock_;                                        // guards what follows
    bool lane_open_ = false;
    std::map<uint64_t, Call> under_way_;
    uint64_t next_ = 1;
    std::thread loop_thread_;
    std::thread lane_thread_;
};

}  // namespace weft::seeds
