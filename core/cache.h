// A node's cache: sessions, their openings, the namespaces, and what is asked of them. It decides
// everything that a node decides and touches nothing of the machine: memory, state and processes
// are behind interfaces, and instants are passed in, so that the simulator runs this very code.
//
// Invariants: whatever a session names is checked to be its own; every request gets one reply;
// replies are collected and given out by the caller after it let go of the node's lock
// (`take_replies`). All calls are made under that lock.
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>

#include "core/space/tokens.h"
#include "core/stats/report.h"
#include "core/write/writing.h"

namespace weft {

/** The way to a process. Called under the node's lock; must not call back before it returned. */
class Process {
  public:
    virtual ~Process() = default;
    /** Hand the segment's descriptor over, to be written too or not; answered by
     * Cache::confirm_segment. True: it is mapped already. */
    virtual bool push_segment(uint64_t opening, const Segment& segment, bool write) = 0;
    /** Unmap; answered by Cache::confirm_drop. True: it is gone already. */
    virtual bool drop_segment(uint64_t opening, uint32_t segment) = 0;
};

/** What outlives a node (state=). */
class StateKeeper {
  public:
    virtual ~StateKeeper() = default;
    /** On disk when it returns. */
    virtual Status save(const std::string& text) = 0;
};

struct CacheOptions {
    uint64_t memory = uint64_t{1} << 30;
    uint32_t pins_max = 65536;
    bool prefault = false;
    bool ephemeral = true;
    uint64_t incarnation = 0;  // random
    uint64_t began = 0;
};

/** A namespace as an opener gets it. */
struct Opened {
    uint64_t opening = 0;
    Namespace* space = nullptr;
    uint64_t version = 0;
    uint32_t rights = 0;  // right now
    /** Its blocks' bytes are for those who may read or write, to be written for the latter. */
    bool may_read() const { return (rights & (kRead | kWrite)) != 0; }
    bool may_write() const { return (rights & kWrite) != 0; }
};

class Cache {
  public:
    static constexpr uint32_t kSessionsMax = 4096;
    static constexpr uint32_t kOpeningsMax = 1024;  // of one session
    static constexpr uint32_t kNamespacesMax = 4096;

    Cache(const CacheOptions& options, fabric::Memory& memory, StateKeeper* keeper);
    ~Cache();
    /** Namespaces and floors of an earlier node. */
    Status restore(const std::string& text);

    /** pid: as the node numbers it, 0 where it cannot; name: for people. */
    Result<uint32_t> begin_session(Process& process, Grants grants, int pid,
                                   const std::string& name = "");
    /** The process is dead, or gave everything back. */
    void end_session(uint32_t session, uint64_t now);
    void set_grants(uint32_t session, Grants grants);
    /** Whether its process has a connection. What it holds stays without one: until it is dead it
     * may be reading and writing, whatever became of its socket (protocols 4). */
    void set_connected(uint32_t session, bool connected, uint64_t now);

    /** page: the reader's page that the caller made for this opening; must stay mapped until the
     * opening ended. `floor_known`: what a reconnecting process saw before; only an ephemeral node
     * believes it. */
    Result<Opened> open_namespace(uint32_t session, const std::string& name,
                                  const std::string& options, ReaderPage* page,
                                  uint64_t floor_known, uint64_t now);
    Status close_opening(uint32_t session, uint64_t opening, uint64_t now);
    void keep_only(uint32_t session, uint64_t opening, const std::set<uint64_t>& reservations,
                   const std::set<uint32_t>& stock, uint64_t now);
    Namespace* namespace_of(uint32_t session, uint64_t opening);
    /** What the session's grants of now allow in an opening of its; 0: nothing, or there is none.
     */
    uint32_t rights_in(uint32_t session, uint64_t opening);

    void run(uint32_t session, uint64_t opening, Request&& request, Done done, uint64_t now);
    void confirm_segment(uint64_t opening, uint32_t segment, uint64_t now);
    void confirm_drop(uint64_t opening, uint32_t segment, uint64_t now);
    /** "stats", "processes", "namespaces", "layout", "blocks ...", "explain ...", "drop", "flush
     * ...". opening 0: of the whole node. */
    Result<std::string> query(uint32_t session, uint64_t opening, const std::string& words,
                              uint64_t now);

    /** Of all namespaces. */
    NodeReport report(uint64_t now) const;
    /** Any thread, without the node's lock. */
    Latencies& latencies() { return latencies_; }

    /** Four times a second: what ends by time, sweeps, segments that move. */
    void tick(uint64_t now);
    void set_serve_until(uint64_t instant);

    struct Answer {
        Done done;
        Reply reply;
    };
    std::vector<Answer> take_replies();
    const CacheOptions& options() const { return options_; }

  private:
    struct Session {
        Process* process = nullptr;
        Grants grants;
        int pid = 0;
        std::string name;
        std::map<uint64_t, Opening> openings;
        uint64_t apart_since = 0;  // without a connection, 0: it has one
        bool late = false;         // with a segment: none waits for it until it confirms one
    };
    struct Space {
        std::unique_ptr<Namespace> space;
        std::unique_ptr<Writing> writing;
        std::map<uint64_t, uint32_t> openings;  // opening -> session
        uint64_t evicted_before = 0;
        uint64_t floor_kept = 0;  // on disk
        bool dropped = false;
    };
    struct Pin {
        uint32_t session = 0;
        std::string space;
        uint64_t deadline = 0;
        std::vector<std::pair<uint32_t, uint64_t>> slots;  // slot, gen
    };
    struct Held {
        Answer answer;
        Space* space = nullptr;
        std::vector<uint32_t> segments;
    };

    Result<Space*> find_or_create(const std::string& name, const NamespaceRequest& request,
                                  uint32_t rights, uint64_t now);
    Result<Space*> create(const std::string& name, const NamespaceConfig& config, uint64_t floor);
    Status persist();
    Opening* opening_of(uint32_t session, uint64_t opening, Space*& space);
    bool may_run(uint32_t session, const Space& space, const Request& request, Reply& reply) const;
    void answer(Space* space, Done done, Reply&& reply);
    void collect(Space& space);
    void match(Space& space, Opening& opening, const Request& request, Reply& reply, uint64_t now);
    void pin(Space& space, Opening& opening, const Request& request, uint64_t count, Reply& reply,
             uint64_t now);
    void unpin(uint64_t id);
    void touch(Space& space, Opening& opening, const Request& request, Reply& reply, uint64_t now);
    void remove(Space& space, Opening& opening, const Request& request, Reply& reply, uint64_t now);
    void advance(Space& space, const Request& request, Reply& reply, uint64_t now);
    void release(uint32_t session, const Request& request, Reply& reply, uint64_t now);
    uint32_t rights(uint32_t session, const Space& space) const;
    bool reclaim(Space& of, uint64_t bytes, uint64_t now);
    void push_new_segments(Space& space);
    void pass_over_late(Space& space, uint64_t now);
    void move_segments(Space& space, uint64_t now);
    void rebalance(uint64_t now);
    Status drop(const std::string& name, uint64_t now);
    static SpaceReport report(Space& space);
    nlohmann::json processes(const Grants& grants, uint64_t now) const;
    std::map<uint32_t, Holding> holdings(Space& space) const;
    std::string name_of(uint32_t session) const;
    nlohmann::json explain(const Grants& grants, const Opening& opening, Space& space,
                           const Key& key, uint64_t now);
    nlohmann::json elsewhere(const Grants& grants, Space& space, uint64_t version, const Key& key,
                             uint64_t now);
    Result<std::string> query_node(uint32_t session, const std::string& verb, uint64_t now);
    Result<std::string> empty_space(Space& space, uint32_t may, const std::string& verb,
                                    Options& options, uint64_t now);
    Result<std::string> query_space(const Session& session, Opening& opening, Space& space,
                                    uint32_t rights, const std::string& verb,
                                    const std::string& arguments, uint64_t now);

    CacheOptions options_;
    fabric::Memory& memory_;
    StateKeeper* keeper_;
    Budget budget_;
    Crowd crowd_;
    uint64_t next_id_;
    uint32_t next_session_ = 1;
    uint64_t serve_until_ = UINT64_MAX;
    std::map<std::string, std::unique_ptr<Space>> spaces_;
    std::map<std::string, uint64_t>
        dropped_floors_;  // a name that comes back must not serve what was fenced
    std::map<uint32_t, Session> sessions_;
    std::map<uint64_t, Pin> pins_;
    uint64_t pinned_blocks_ = 0;
    Latencies latencies_;
    std::vector<Held> held_;
    std::vector<Answer> answers_;
    std::map<Space*, std::set<uint32_t>> announced_;  // segments that sessions were told of
};

}  // namespace weft
