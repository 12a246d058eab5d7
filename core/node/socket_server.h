// A node's socket and the processes behind it, as the two halves of the server share them:
// server.cpp listens, accepts and watches; serving.cpp answers the calls of core/node/rpc.capnp.
//
// Invariants: all of it belongs to the loop's thread, but for what is said otherwise; a process is
// named by its instance in whatever is posted, since it may be gone when its turn comes.
#pragma once
#include <kj/async-unix.h>
#include <kj/refcount.h>

#include <map>
#include <set>

#include "core/node/connection.h"
#include "core/node/convert.h"
#include "core/node/lane_server.h"
#include "core/node/loop.h"
#include "core/node/node.h"
#include "core/node/server.h"

namespace weft {

/** A process's page in one namespace, as the node has it mapped. */
struct Page {
    fabric::SharedFile file;
};

class SocketServer;

/** One process: its session in the cache, its pages, and the connection that it has right now, if
 * any. */
class ClientProcess final : public Process, public kj::Refcounted {
  public:
    static constexpr uint32_t kFilesMost = 1024;  // that it holds: descriptors it was sent

    ClientProcess(SocketServer& server, uint64_t instance, std::string token, uint32_t uid, int pid)
        : server(server), instance(instance), token(std::move(token)), uid(uid), pid(pid) {}
    ~ClientProcess() noexcept override = default;
    bool push_segment(uint64_t opening, const Segment& segment, bool write) override;
    bool drop_segment(uint64_t opening, uint32_t segment) override;

    SocketServer& server;
    uint64_t instance;
    std::string token;
    uint32_t uid;
    int pid;
    uint32_t session = 0;
    uint32_t files = 0;
    fabric::Descriptor pidfd;
    kj::Own<Connection> connection;                         // by which it logged in last
    kj::Maybe<rpc::Process::Client> callback;               // on the loop's thread
    kj::Maybe<kj::Own<LaneServer>> lane;                    // on the loop's thread
    kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> closed;  // ends the watch as death does
    std::map<uint64_t, Page> pages;
    /** Openings that the process has not resumed since its last login; it resumes all that it knows
     * before it asks for a lane, and then these end. */
    std::set<uint64_t> unclaimed;
};

class SocketServer final : public Server {
  public:
    // No user and no process keeps the others out: Cache::kSessionsMax is for all.
    static constexpr uint32_t kConnectionsOfUser = 2048;
    static constexpr uint32_t kSessionsOfUser = 2048;
    static constexpr uint32_t kSessionsOfProcess = 64;

    explicit SocketServer(Node& node, std::string path) : node(node), path_(std::move(path)) {}
    ~SocketServer() noexcept override { stop(); }
    void stop() override {
        loop.stop();
        if (socket_.valid()) unlink(path_.c_str());
        socket_ = fabric::Descriptor();
    }
    Status listen();
    void tokens_changed() override;
    kj::Promise<void> accept_all(kj::AsyncIoContext& io);
    kj::Promise<void> serve(kj::Own<Connection> connection, kj::Timer& timer);
    kj::Promise<void> watch(kj::Own<ClientProcess> process);
    /** The way back to a process, if it still lives and is connected. On the loop's thread. What is
     * posted names a process by its instance: it may be gone when its turn comes. */
    kj::Maybe<rpc::Process::Client&> callback_of(uint64_t instance);
    /** Whether the process has a connection; what it holds is its own also without one. */
    void connected(const ClientProcess& process, bool is);
    /** The process has this token and these rights from now on. */
    void admit(ClientProcess& process, const std::string& token, const Grants& grants);
    kj::Promise<void> renew(kj::Own<ClientProcess> process);

    Node& node;
    Loop loop;
    std::map<uint64_t, kj::Own<ClientProcess>> processes;  // by instance; on the loop's thread
    kj::Maybe<kj::Own<kj::TaskSet>> tasks;
    kj::Maybe<kj::UnixEventPort&> port;
    kj::Maybe<kj::Timer&> timer;
    kj::Maybe<kj::LowLevelAsyncIoProvider&> streams;

  private:
    std::string path_;
    fabric::Descriptor socket_;
    std::map<uint32_t, uint32_t> connections_;  // by user
};

/** What a new connection may ask for: a login. */
rpc::Node::Client node_server(SocketServer& server, kj::Own<Connection> connection);

}  // namespace weft
