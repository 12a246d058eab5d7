// What is between a node and its clients in the simulated host: connections with calls both ways
// and a lane each, which are late, or cut, or end with a process. It stands behind the same two
// functions as the real one (Server::start, connect_link) and keeps the same promises to core/node:
// those that open remote_link.h and server.h.
//
// Invariants: what goes one way by one connection arrives in order or not at all; what was under
// way when a connection ended is answered with -WEFT_EPEER; a process's end is told to the node
// after its connection's, never before.
#pragma once
#include <map>
#include <memory>
#include <optional>

#include "core/node/node.h"
#include "core/node/remote_link.h"
#include "core/node/server.h"
#include "core/node/threads.h"
#include "core/space/tokens.h"
#include "tests/sim/seeds/host.h"

namespace weft::seeds {

class HostLink;
class HostServer;

/** Work for one thread, in the order in which it is due. */
class Mailbox {
  public:
    using Work = std::function<void()>;
    void post(uint64_t due, Work work);
    void post(Work work) { post(host().scheduler.now(), std::move(work)); }
    /** Does what is due until `done`, the deadline, or the close. */
    void run_until(const std::function<bool()>& done, uint64_t deadline = kNever);
    void close();
    bool closed() const { return closed_; }

  private:
    struct Item {
        Clock clock;  // of whoever posted
        Work work;
    };
    std::multimap<uint64_t, Item> items_;
    bool closed_ = false;
};
using MailboxPtr = std::shared_ptr<Mailbox>;  // shared with whoever may still post

/** One direction: in order, however late. */
class Pipe {
  public:
    uint64_t due(uint64_t more = 0);

  private:
    uint64_t last_ = 0;
};

struct Connection {
    bool open = true;
    bool noticed = false;  // by the client that it is not
    Proc* client = nullptr;
    Proc* node = nullptr;
    HostLink* link = nullptr;
    HostServer* server = nullptr;
    MailboxPtr to_client;  // their loops
    MailboxPtr to_node;
    MailboxPtr lane;
    Pipe client_pipe, node_pipe, lane_client_pipe, lane_node_pipe;
    uint64_t instance = 0;
    uint64_t answers_left = kNever;  // then it ends, the last one still on its way
};
using ConnectionPtr = std::shared_ptr<Connection>;  // shared by its two ends and what is under way

/** A process's end of its life in the node. */
class Attached final : public Process {
  public:
    Attached(HostServer& server, uint64_t instance) : server(server), instance(instance) {}
    bool push_segment(uint64_t opening, const Segment& segment, bool write) override;
    bool drop_segment(uint64_t opening, uint32_t segment) override;

    HostServer& server;
    uint64_t instance;
    uint32_t session = 0;
    ConnectionPtr connection;
    std::map<uint64_t, bool> may_write;  // by opening
};

/** A segment on its way: numbers, not references, since the node may drop it meanwhile. */
struct Sent {
    uint32_t id;
    uint64_t slot_bytes;
    uint64_t size;
    int read;
    int write;  // -1: none
};
Sent sent_of(const Segment& segment, bool write);

class HostServer final : public Server {
  public:
    explicit HostServer(Node& node) : node(node), loop(std::make_shared<Mailbox>()) {}
    ~HostServer() override { stop(); }
    void begin();
    void tokens_changed() override {}
    void stop() override;
    /** The process has ended, or said that it gives everything back. */
    void end(uint64_t instance);
    void connected(const Attached& process, bool is);
    Namespace* space(const std::string& name) {
        auto found = spaces.find(name);
        return found == spaces.end() ? nullptr : found->second;
    }

    Node& node;
    MailboxPtr loop;
    std::thread thread;
    std::map<uint64_t, std::shared_ptr<Attached>> processes;  // shared with calls under way
    std::map<std::string, Namespace*> spaces;
};

/** Who listens, and every connection. */
struct Network {
    HostServer* server = nullptr;
    Proc* node = nullptr;
    std::vector<ConnectionPtr> connections;
    uint32_t nodes = 0;  // that ever listened
    void died(Proc& proc);
    void cut(const ConnectionPtr& connection);
};
Network& network();
void set_network(Network* of_this_run);

}  // namespace weft::seeds
