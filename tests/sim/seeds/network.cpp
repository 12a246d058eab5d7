// Mailboxes and pipes, deaths and cuts; and the node's side of a connection.
#include "tests/sim/seeds/network.h"

#include "capi/weft.h"

namespace weft::seeds {
namespace {

Network* the_network = nullptr;

Scheduler& machine() { return host().scheduler; }

}  // namespace

Sent sent_of(const Segment& segment, bool write) {
    return {segment.id, segment.slot_bytes, segment.file.mapping.size(), segment.file.reader.get(),
            write ? segment.file.writer.get() : -1};
}

Network& network() { return *the_network; }
void set_network(Network* of_this_run) { the_network = of_this_run; }

void Mailbox::post(uint64_t due, Work work) {
    Clock clock;
    if (machine().inside()) clock = host().memory.clock(machine().process().id);
    items_.emplace(due, Item{clock, std::move(work)});
    machine().wake(this, true);
}

void Mailbox::run_until(const std::function<bool()>& done, uint64_t deadline) {
    while (!closed_ && !done() && machine().now() < deadline) {
        auto first = items_.begin();
        if (first == items_.end() || first->first > machine().now()) {
            uint64_t next = first == items_.end() ? kNever : first->first;
            machine().wait(this, std::min(next, deadline));
            continue;
        }
        Item item = std::move(first->second);
        items_.erase(first);
        host().memory.learn(machine().process().id, item.clock);
        item.work();
    }
}

void Mailbox::close() {
    closed_ = true;
    machine().wake(this, true);
}

uint64_t Pipe::due(uint64_t more) {
    Random& random = machine().random();
    uint64_t takes = random.scale(2 * kMicrosecond, 60 * kMicrosecond) + more;
    if (host().fails(host().set.late_one_in)) {
        host().event("message-late");
        takes += random.scale(kMicrosecond * 1000, kMicrosecond * 2'000'000);
    }
    return last_ = std::max(last_, machine().now() + takes);
}

/** Each side notices by itself, and a client that is busy may be long in it. */
void Network::cut(const ConnectionPtr& connection) {
    if (!connection->open) return;
    connection->open = false;
    Random& random = machine().random();
    uint64_t now = machine().now();
    uint64_t takes =
        random.one_in(4) ? random.between(5'000'000, 1'500'000'000) : random.scale(1000, 5'000'000);
    connection->to_client->post(now + takes, [connection] { connection->noticed = true; });
    if (connection->server != server) return;
    uint64_t seen = now + random.scale(kMicrosecond, kMicrosecond * 5000);
    connection->to_node->post(seen, [connection] {
        HostServer* of = connection->server;
        auto found = of->processes.find(connection->instance);
        if (found == of->processes.end() || found->second->connection != connection) return;
        of->connected(*found->second, false);
    });
}

/** The connection ends first, then the pidfd says so. */
void Network::died(Proc& proc) {
    if (node == &proc) {
        server = nullptr;
        node = nullptr;
    }
    Clock last = host().memory.clock(proc.id);
    for (const ConnectionPtr& connection : connections) {
        if (connection->client != &proc && connection->node != &proc) continue;
        cut(connection);
    }
    if (server == nullptr) return;
    uint64_t seen = machine().now() + machine().random().scale(100'000, 7'000'000);
    for (auto& [instance, attached] : server->processes) {
        bool of_it = false;
        for (const ConnectionPtr& connection : connections)
            of_it = of_it || (connection->client == &proc && connection->instance == instance);
        if (!of_it) continue;
        server->loop->post(seen, [of = server, instance = instance, last] {
            host().memory.learn(machine().process().id, last);
            of->end(instance);
        });
    }
}

void HostServer::begin() {
    thread = start_thread("weft-node", [this] { loop->run_until([] { return false; }); });
    network().server = this;
    network().node = &machine().process();
    network().nodes++;
}

void HostServer::stop() {
    if (network().server == this) network().server = nullptr;
    if (network().node == &machine().process()) network().node = nullptr;
    loop->close();
    if (thread.joinable()) thread.join();
    for (const ConnectionPtr& connection : network().connections)
        if (connection->server == this) network().cut(connection);
}

void HostServer::connected(const Attached& process, bool is) {
    node.with([&](Cache& cache, uint64_t now) {
        cache.set_connected(process.session, is, now);
        return 0;
    });
}

void HostServer::end(uint64_t instance) {
    auto found = processes.find(instance);
    if (found == processes.end()) return;
    node.with([&](Cache& cache, uint64_t now) {
        cache.end_session(found->second->session, now);
        return 0;
    });
    found->second->connection = nullptr;
    processes.erase(instance);
}

}  // namespace weft::seeds

namespace weft {

using namespace seeds;

Result<std::unique_ptr<Server>> Server::start(Node& node, const std::string&) {
    auto server = std::make_unique<HostServer>(node);
    server->begin();
    return std::unique_ptr<Server>(std::move(server));
}

}  // namespace weft
