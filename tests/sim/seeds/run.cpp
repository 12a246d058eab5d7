// The node's process, the director who lets things go wrong, and the audit.
#include "tests/sim/seeds/run.h"

#include <nlohmann/json.hpp>

#include "tests/sim/seeds/client.h"
#include "tests/sim/seeds/link.h"
#include "tests/sim/seeds/network.h"

namespace weft::seeds {
namespace {

constexpr uint64_t kMs = 1'000'000;

Scheduler& machine() { return host().scheduler; }

/** Many blocks leave within a second: so many between two looks that are not farther apart. */
class Storm {
  public:
    Storm(const char* event, uint64_t blocks) : event_(event), blocks_(blocks) {}
    void look(uint32_t node, uint64_t left) {
        uint64_t now = machine().now();
        if (now > begin_.at + kStormNs) begin_ = last_;
        if (node != node_ || now > begin_.at + kStormNs) begin_ = {now, left};
        node_ = node;
        last_ = {now, left};
        if (left >= begin_.left + blocks_) host().event(event_);
    }

  private:
    static constexpr uint64_t kStormNs = 1000 * kMs;
    struct Seen {
        uint64_t at = 0;
        uint64_t left = 0;
    };
    const char* event_;
    uint64_t blocks_;
    uint32_t node_ = 0;
    Seen begin_;
    Seen last_;
};

class Judge final : public Model {
  public:
    uint64_t excuses(uint32_t space) override {
        Namespace* of = look_at(space);
        return of == nullptr ? 0 : uint64_t{network().nodes} << 32 | (of->stats().evicted + 1);
    }
    uint64_t node_floor(uint32_t space) override {
        Namespace* of = look_at(space);
        return of == nullptr ? kNever : of->floor();
    }

  private:
    Namespace* look_at(uint32_t space) {
        HostServer* server = network().server;
        Namespace* of = server == nullptr ? nullptr : server->space(space == 0 ? "t/a" : "t/b");
        if (of == nullptr) return nullptr;
        evictions_[space].look(network().nodes, of->stats().evicted);
        expiries_[space].look(network().nodes, of->stats().expired);
        return of;
    }
    Storm evictions_[2] = {{"eviction-storm", 32}, {"eviction-storm", 32}};
    Storm expiries_[2] = {{"expiry-storm", 4}, {"expiry-storm", 4}};
};

class Run {
  public:
    explicit Run(Model& model) : model_(model) {}
    void direct();

  private:
    void start_node();
    void node_main();
    void start_client();
    void misfortune();
    void end_node(bool clean);
    void wait_for_clients();
    void audit();
    static bool nothing_left(Store& store);
    Proc* some_client();

    Model& model_;
    Proc* node_ = nullptr;
    bool node_stops_ = false;
    std::vector<Proc*> processes_;
    std::vector<std::unique_ptr<Client>> clients_;
};

/** As `weft serve` does: until it is told to end. */
void Run::node_main() {
    NodeOptions options;
    options.cache.memory = host().set.memory;
    options.listen = "node";
    options.state = host().set.state ? "state" : "";
    fabric::Log quiet(-1, fabric::LogLevel::error);
    for (;;) {
        Result<std::unique_ptr<Node>> node = Node::open(options, quiet);
        if (!node) {
            machine().trace("node: " + node.failure().message);
            machine().sleep(100 * kMs);
            continue;
        }
        machine().trace("the node serves");
        for (const Proc* proc : processes_) {
            if (proc->alive && proc->paused_until > machine().now() && network().nodes > 1)
                host().event("successor-while-reader-paused");
        }
        // Versions of a store without state= end with its process.
        if (!host().set.state) model_.forget_floors();
        while (!node_stops_) machine().wait(&node_stops_, kNever);
        machine().trace("the node ends");
        return;
    }
}

void Run::start_node() {
    node_stops_ = false;
    node_ =
        &machine().start_process("node" + std::to_string(network().nodes), [this] { node_main(); });
}

void Run::start_client() {
    auto number = static_cast<uint32_t>(clients_.size());
    uint32_t threads = machine().random().one_in(3) ? 2 : 1;
    clients_.push_back(std::make_unique<Client>(model_, number, threads));
    Client* client = clients_.back().get();
    processes_.push_back(&machine().start_process("client" + std::to_string(number), [client] {
        client->main();
        machine().kill(machine().process());
    }));
}

Proc* Run::some_client() {
    std::vector<Proc*> able;
    for (size_t i = 0; i < clients_.size(); i++) {
        if (processes_[i]->alive && !clients_[i]->done) able.push_back(processes_[i]);
    }
    return able.empty() ? nullptr : able[machine().random().below(able.size())];
}

void Run::end_node(bool clean) {
    Random& random = machine().random();
    Proc* late = random.one_in(2) ? some_client() : nullptr;
    if (late != nullptr)
        machine().pause(*late, random.between(200, random.one_in(2) ? 1200 : 6000) * kMs);
    if (clean) {
        host().event("node-ended-cleanly");
        node_stops_ = true;
        machine().wake(&node_stops_, true);
    } else {
        host().event("node-killed");
        node_->kill_at = node_->steps + random.scale(1, 3000);
    }
    uint64_t until = machine().now() + random.scale(kMs, 3000 * kMs);
    while (machine().now() < until && node_->alive) machine().sleep(5 * kMs);
    machine().kill(*node_);
    start_node();
}

/** One thing goes wrong, or none is left to. */
void Run::misfortune() {
    Random& random = machine().random();
    Setting& set = host().set;
    uint32_t all = set.kills + set.pauses + set.cuts + set.node_ends;
    uint64_t which = random.below(all);
    Proc* victim = some_client();
    if (which < set.node_ends) {
        set.node_ends--;
        return end_node(random.one_in(3));
    }
    which -= set.node_ends;
    if (which < set.pauses) {
        set.pauses--;
        if (random.one_in(4) || victim == nullptr) victim = node_;
        victim->pause_ns = random.scale(kMs, 4000 * kMs);
        victim->pause_at = victim->steps + random.scale(1, 3000);
        return;
    }
    which -= set.pauses;
    bool kill = which < set.kills;
    (kill ? set.kills : set.cuts)--;
    if (victim == nullptr) return;
    if (kill) {
        host().event("client-killed");
        victim->kill_at = victim->steps + random.scale(1, 3000);
        if (clients_.size() < 10) start_client();
        return;
    }
    for (const ConnectionPtr& connection : network().connections) {
        if (connection->client == victim && connection->open) {
            host().event("connection-cut");
            machine().trace("connection cut of " + victim->name);
            // At any time, or when an answer is on its way.
            if (random.one_in(2)) {
                connection->answers_left = random.scale(1, 16) - 1;
            } else {
                network().cut(connection);
            }
        }
    }
}

void Run::wait_for_clients() {
    uint64_t limit = machine().now() + 300'000 * kMs;
    for (bool all = false; !all;) {
        all = true;
        for (size_t i = 0; i < clients_.size(); i++)
            all = all && (clients_[i]->done || !processes_[i]->alive);
        if (!node_->alive) start_node();
        if (!all) machine().sleep(50 * kMs);
        if (machine().now() > limit) machine().fail("P8: clients do not come to their end");
    }
}

void Run::direct() {
    start_node();
    Setting& set = host().set;
    uint32_t clients = set.clients;
    for (uint32_t i = 0; i < clients; i++) start_client();
    while (set.kills + set.pauses + set.cuts + set.node_ends > 0 && some_client() != nullptr) {
        machine().sleep(machine().random().scale(kMs, 300 * kMs));
        misfortune();
    }
    wait_for_clients();
    set.late_one_in = set.map_fails_one_in = set.memory_fails_one_in = set.disk_fails_one_in = 0;
    processes_.push_back(&machine().start_process("auditor", [this] { audit(); }));
}

/** All engines are gone: nothing is left of them, and the node serves the next one. */
void Run::audit() {
    StoreOptions options;
    options.connect = "node";
    options.token.text = "all";
    fabric::Log quiet(-1, fabric::LogLevel::error);
    uint64_t limit = machine().now() + 20'000 * kMs;
    std::unique_ptr<Store> store;
    while (store == nullptr && machine().now() < limit) {
        Result<std::unique_ptr<Store>> opened = Store::open(options, quiet);
        if (opened) {
            store = std::move(*opened);
        } else {
            machine().sleep(100 * kMs);
        }
    }
    if (store == nullptr) machine().fail("P8: the node admits nobody");
    machine().sleep(6000 * kMs);  // attempts, claims, pins and late segments come to their ends
    weft_namespace space{};
    Status opened = store->open_namespace("t/b", options_of(1, 0), space);
    if (!opened) machine().fail("P8: no namespace opens: " + opened.failure().message);
    // A segment that nobody uses goes by the clock, perhaps between the node's answer and this
    // look.
    for (int looks = 1; !nothing_left(*store); looks++) {
        if (looks == 10) machine().fail("P9: segments are left that no namespace has");
        machine().sleep(50 * kMs);
    }
    machine().stop();
}

/** False: the node has other segments than its namespaces say. */
bool Run::nothing_left(Store& store) {
    Result<std::string> told = store.query(0, "stats");
    if (!told) machine().fail("P8: the node tells nothing: " + told.failure().message);
    nlohmann::json stats = nlohmann::json::parse(*told);
    auto nothing = [&](const nlohmann::json& of, const char* what, uint64_t most) {
        uint64_t count = of.at(what).get<uint64_t>();
        if (count > most)
            machine().fail("P9: of dead clients there is left: " + std::to_string(count) + " " +
                           what);
    };
    nothing(stats, "pins", 0);
    nothing(stats, "sessions", 1);
    nothing(stats, "memory_used", host().set.memory);
    uint64_t data = 0;
    for (const nlohmann::json& one : stats.at("namespaces")) {
        for (const char* what : {"attempts", "quarantined", "claims", "waiting", "limbo"})
            nothing(one, what, 0);
        data += one.at("data_bytes").get<uint64_t>();
    }
    return host().node_bytes(network().node->id) == data;
}

void on_death(Proc& proc) {
    if (proc.copying > 0) host().event("killed-in-copy");
    network().died(proc);
}

void take_away(const Less& less) {
    Setting& set = host().set;
    set.clients = std::min(set.clients, less.clients);
    set.operations = std::min(set.operations, less.operations);
    set.keys = std::min(set.keys, less.keys);
    if (!less.kills) set.kills = 0;
    if (!less.pauses) set.pauses = 0;
    if (!less.cuts) set.cuts = 0;
    if (!less.node_ends) set.node_ends = 0;
    if (!less.failures) set.map_fails_one_in = set.memory_fails_one_in = set.disk_fails_one_in = 0;
}

}  // namespace

std::string Less::words() const {
    std::string text;
    if (clients != UINT32_MAX) text += " --clients " + std::to_string(clients);
    if (operations != UINT32_MAX) text += " --operations " + std::to_string(operations);
    if (keys != UINT32_MAX) text += " --keys " + std::to_string(keys);
    if (!kills) text += " --no-kills";
    if (!pauses) text += " --no-pauses";
    if (!cuts) text += " --no-cuts";
    if (!node_ends) text += " --no-node-ends";
    if (!failures) text += " --no-failures";
    return text;
}

const std::vector<std::string>& named_events() {
    static const std::vector<std::string> kNamed = {"evicted-under-view",
                                                    "expired-under-view",
                                                    "removed-under-view",
                                                    "replaced-under-view",
                                                    "fenced-under-view",
                                                    "eviction-storm",
                                                    "expiry-storm",
                                                    "writer-paused-past-timeout",
                                                    "advance-during-read",
                                                    "index-grew-during-lookup",
                                                    "successor-while-reader-paused",
                                                    "client-killed",
                                                    "killed-in-copy",
                                                    "node-killed",
                                                    "node-ended-cleanly",
                                                    "connection-cut",
                                                    "resumed",
                                                    "reopened",
                                                    "fenced-away",
                                                    "segment-pushed-late",
                                                    "segment-asked-for",
                                                    "segment-retired",
                                                    "answer-outlived-block",
                                                    "allocation-failed",
                                                    "map-failed",
                                                    "disk-failed",
                                                    "memory-full",
                                                    "attempt-timed-out",
                                                    "reservation-ended-with-node",
                                                    "reservation-left-open",
                                                    "held-by-another-writer",
                                                    "view-outlived-node",
                                                    "viewed-in-a-row",
                                                    "pinned",
                                                    "claimed",
                                                    "cancelled",
                                                    "removed",
                                                    "advanced",
                                                    "op-timed-out",
                                                    "node-unreachable",
                                                    "stale-load"};
    return kNamed;
}

Ran run_seed(uint64_t seed, const Less& less, Histories& memory, bool trace) {
    Ran ran;
    Host simulated(seed, memory);
    Network wires;
    set_network(&wires);
    take_away(less);
    Judge judge;
    auto run = std::make_unique<Run>(judge);
    Scheduler& scheduler = simulated.scheduler;
    scheduler.tracing = trace;
    scheduler.on_death = on_death;
    simulated.lingers = HostLink::lingers;
    scheduler.on_pause = [](Proc& proc) {
        if (proc.copying > 0) host().event("paused-in-copy");
    };
    scheduler.start_process("director", [&] {
        run->direct();
        machine().sleep(kNever - machine().now());
    });
    uint64_t began = scheduler.now();
    scheduler.run();
    ran.failure = scheduler.failure();
    ran.steps = scheduler.steps();
    ran.stale_loads = memory.stale_loads();
    ran.simulated_ns = scheduler.now() - began;
    if (ran.stale_loads > 0) simulated.event("stale-load");
    ran.events = simulated.events;
    (void)run.release();  // it goes with the arena, as all that processes left does
    return ran;
}

}  // namespace weft::seeds
