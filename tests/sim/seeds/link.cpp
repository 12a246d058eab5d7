// Connecting, losing, resuming; calls and their answers.
#include "tests/sim/seeds/link.h"

#include "capi/weft.h"
#include "core/base/options.h"

namespace weft::seeds {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kReconnectFirst = 20 * kMs;
constexpr uint64_t kReconnectMost = 500 * kMs;
// Tenants: one of everything, one that may not touch the second namespace.
constexpr const char* kTokens =
    "all t/* read,write,advance,admin\nfirst t/a read,write,advance\nreader t/* read\n";

Scheduler& machine() { return host().scheduler; }
Failure unreachable(const char* why = "the node cannot be reached") { return {WEFT_EPEER, why}; }

/** Of a slot that the node named, another block may be there before the answer is. */
void count_outlived(const Mapped& mapped, const Request& request, const Reply& reply) {
    if (request.verb != Verb::locate) return;
    Aside aside;
    for (const ReplyItem& item : reply.items) {
        if (item.status != 0 || item.slot == kNoSlot) continue;
        uint64_t gen = mapped.reader().slot(item.slot).gen.load_relaxed();
        if (gen == item.gen) continue;
        host().event("answer-outlived-block");
        if (gen % 2 == 0) host().event("slot-refilled-before-answer");
    }
}

void to_node(const ConnectionPtr& connection, std::function<void()> work) {
    if (!connection->open) return;
    connection->to_node->post(connection->node_pipe.due(), [connection, work = std::move(work)] {
        if (connection->open) work();
    });
}

void to_client(const ConnectionPtr& connection, std::function<void()> work, uint64_t more = 0) {
    if (!connection->open) return;
    uint64_t due = connection->client_pipe.due(more);
    connection->to_client->post(due, [connection, work = std::move(work)] {
        if (connection->open) work();
    });
}

}  // namespace

bool Attached::push_segment(uint64_t opening, const Segment& segment, bool write) {
    Sent copy = sent_of(segment, write);
    server.loop->post([of = &server, instance = instance, opening, copy] {
        auto found = of->processes.find(instance);
        if (found == of->processes.end() || found->second->connection == nullptr) return;
        ConnectionPtr to = found->second->connection;
        uint64_t late =
            machine().random().one_in(8) ? machine().random().scale(10 * kMs, 3000 * kMs) : 0;
        if (late > 1000 * kMs) host().event("segment-pushed-late");
        to_client(
            to,
            [to, of, opening, copy] {
                to->link->add_segment(opening, copy);
                to_node(to, [of, opening, copy] {
                    of->node.with([&](Cache& cache, uint64_t now) {
                        cache.confirm_segment(opening, copy.id, now);
                        return 0;
                    });
                });
            },
            late);
    });
    return false;
}

bool Attached::drop_segment(uint64_t opening, uint32_t id) {
    server.loop->post([of = &server, instance = instance, opening, id] {
        auto found = of->processes.find(instance);
        if (found == of->processes.end() || found->second->connection == nullptr) return;
        ConnectionPtr to = found->second->connection;
        to_client(to, [to, of, opening, id] {
            to->link->drop_segment(opening, id);
            to_node(to, [of, opening, id] {
                of->node.with([&](Cache& cache, uint64_t now) {
                    cache.confirm_drop(opening, id, now);
                    return 0;
                });
            });
        });
    });
    return false;
}

HostLink::HostLink(std::string token, LinkEvents& events)
    : token_(std::move(token)),
      events_(events),
      memory_(fabric::system_memory()),
      instance_(machine().random().next()),
      loop_(std::make_shared<Mailbox>()),
      lane_(std::make_shared<Mailbox>()) {}

HostLink::~HostLink() {
    stopping_ = true;
    loop_->close();
    lane_->close();
    if (loop_thread_.joinable()) loop_thread_.join();
    if (lane_thread_.joinable()) lane_thread_.join();
}

Status HostLink::start(uint64_t timeout_ns) {
    loop_thread_ = start_thread("weft-link", [this] { live(); });
    lane_thread_ = start_thread("weft-lane", [this] { lane_->run_until([] { return false; }); });
    uint64_t deadline = machine().now() + timeout_ns;
    while (!first_login_ && machine().now() < deadline) machine().wait(&first_login_, deadline);
    if (!first_login_) return Failure{WEFT_ETIMEOUT, "no answer"};
    return *first_login_;
}

void HostLink::live() {
    uint64_t wait = kReconnectFirst;
    while (!stopping_) {
        Status connected = connect_once();
        if (!connected) machine().trace("link: " + connected.failure().message);
        if (connected) {
            wait = kReconnectFirst;
            loop_->run_until([this] { return stopping_ || connection_->noticed; });
        }
        if (!first_login_) first_login_ = connected;
        machine().wake(&first_login_, true);
        lose();
        if (!connected) events_.unreachable();
        loop_->run_until([this] { return stopping_; }, machine().now() + wait);
        wait = std::min(wait * 2, kReconnectMost);
    }
    lose();
}

Status HostLink::connect_once() {
    machine().sleep(machine().random().scale(10'000, 500'000));
    HostServer* server = network().server;
    if (server == nullptr) return unreachable("nobody listens");
    connection_ = std::make_shared<Connection>();
    *connection_ = {true,
                    false,
                    &machine().process(),
                    network().node,
                    this,
                    server,
                    loop_,
                    server->loop,
                    lane_,
                    {},
                    {},
                    {},
                    {},
                    instance_,
                    kNever};
    network().connections.push_back(connection_);
    ConnectionPtr mine = connection_;
    Result<Nothing> login = await<Nothing>([mine, token = token_](HostServer& of, Attached*) {
        Grants grants = Tokens::parse(kTokens)->find(token);
        if (grants.empty()) return Result<Nothing>(Failure{WEFT_EDENIED, "no such token"});
        auto known = of.processes.find(mine->instance);
        if (known == of.processes.end()) {
            auto attached = std::make_shared<Attached>(of, mine->instance);
            Result<uint32_t> session = of.node.with(
                [&](Cache& cache, uint64_t) { return cache.begin_session(*attached, grants, 0); });
            if (!session) return Result<Nothing>(session.failure());
            attached->session = *session;
            known = of.processes.emplace(mine->instance, attached).first;
        } else {
            host().event("reconnected");
        }
        known->second->connection = mine;
        of.connected(*known->second, true);
        // Its pidfd says so from the first look on.
        if (!mine->client->alive)
            of.loop->post([server = &of, instance = mine->instance] { server->end(instance); });
        return Result<Nothing>(Nothing{});
    });
    if (!login) return login;
    session_ = true;
    reopen_all();
    if (!up()) return unreachable("the connection ended at once");
    if (!first_login_) first_login_ = Status(Nothing{});
    machine().wake(&first_login_, true);
    std::lock_guard<std::mutex> guard(lock_);
    lane_open_ = true;
    return Nothing{};
}

void HostLink::reopen_all() {
    std::vector<std::shared_ptr<OpenSpace>> before;
    for (auto& [opening, space] : spaces_) before.push_back(space);
    for (std::shared_ptr<OpenSpace>& space : before) {
        std::shared_ptr<Mapped> old = space->mapped;
        if (!up()) return;
        if (!has(old)) continue;
        if (try_resume(*space)) {
            if (!has(old)) close_at_node(old->opening(), [](const Result<Nothing>&) {});
            continue;
        }
        if (!up()) return;
        if (!has(old)) continue;
        std::string options =
            to_options(old->config()) + "version=" + std::to_string(old->version()) + "\n";
        Result<Options> said = Options::parse(space->options.c_str());
        std::optional<std::string> writer = said ? said->take("writer") : std::nullopt;
        if (writer) options += "writer=" + quote_option(*writer) + "\n";
        auto result = std::make_shared<std::optional<Result<std::shared_ptr<Mapped>>>>();
        open_now(space->name, options, old->reader().floor(),
                 [result](Result<std::shared_ptr<Mapped>> made) { *result = std::move(made); });
        loop_->run_until([&] { return result->has_value(); });
        bool opened = result->has_value() && (*result)->ok();
        if (!has(old)) {
            host().event("closed-while-reopened");
            if (opened) close_now(***result, [](const Result<Nothing>&) {});
            continue;
        }
        if (opened) {
            spaces_.at((***result)->opening())->options = space->options;
            spaces_.erase(old->opening());
            host().event("reopened");
            if (events_.reopened(old, ***result)) continue;
            machine().fail("P8: more nodes are viewed than a client keeps apart");
        }
        if (result->has_value() && !opened && (*result)->failure().code == WEFT_EFENCED) {
            host().event("fenced-away");
            old->fenced_away.store(true, std::memory_order_release);
        }
    }
}

bool HostLink::try_resume(OpenSpace& space) {
    LinkEvents::Known known = events_.known(space.mapped);
    std::set<uint64_t> reservations(known.reservations.begin(), known.reservations.end());
    std::set<uint32_t> stock(known.slots.begin(), known.slots.end());
    uint64_t opening = space.mapped->opening();
    Result<Nothing> resumed =
        await<Nothing>([opening, reservations, stock](HostServer& of, Attached* attached) {
            bool there = attached != nullptr && of.node.with([&](Cache& cache, uint64_t now) {
                if (cache.namespace_of(attached->session, opening) == nullptr) return false;
                cache.keep_only(attached->session, opening, reservations, stock, now);
                return true;
            });
            if (!there) return Result<Nothing>(Failure{WEFT_ECLOSED, "not known"});
            return Result<Nothing>(Nothing{});
        });
    if (!resumed) return false;
    space.attached = true;
    host().event("resumed");
    events_.resumed(space.mapped);
    return true;
}

std::shared_ptr<Mapped> HostLink::mapped_of(const Proc& proc, const std::string& name,
                                            uint64_t version) {
    for (const ConnectionPtr& connection : network().connections) {
        // Also one that has ended, until the client notices; a closed mailbox's link is no more.
        if (connection->client != &proc || connection->noticed || connection->to_client->closed())
            continue;
        for (auto& [opening, space] : connection->link->spaces_) {
            if (space->name == name && space->mapped->version() == version) return space->mapped;
        }
    }
    return nullptr;
}

bool HostLink::lingers(const Proc& proc) {
    for (const ConnectionPtr& connection : network().connections) {
        if (connection->client != &proc || !connection->open) continue;
        const HostLink& link = *connection->link;
        for (const auto& [id, call] : link.under_way_) {
            if (call.mapped != nullptr && !link.spaces_.contains(call.mapped->opening()))
                return true;
        }
    }
    return false;
}

void HostLink::lose() {
    if (connection_ != nullptr) network().cut(connection_);
    for (auto outstanding = std::move(outstanding_); auto& [id, lost] : outstanding) lost();
    if (!session_) return;
    lose_lane();
    session_ = false;
    for (auto& [opening, space] : spaces_) space->attached = false;
    events_.lost();
}

void HostLink::lose_lane() {
    std::map<uint64_t, Call> lost;
    {
        std::lock_guard<std::mutex> guard(lock_);
        lane_open_ = false;
        lost.swap(under_way_);
    }
    for (auto& [id, call] : lost) {
        Reply reply;
        reply.status = -WEFT_EPEER;
        answered(std::move(call), std::move(reply));
    }
}

template <typename T>
void HostLink::ask(std::function<Result<T>(HostServer&, Attached*)> work, Then<T> then) {
    uint64_t id = next_++;
    if (connection_ == nullptr || !connection_->open) return then(unreachable());
    outstanding_[id] = [then] { then(unreachable()); };
    ConnectionPtr by = connection_;
    to_node(by, [by, id, work = std::move(work), then] {
        auto found = by->server->processes.find(by->instance);
        Attached* attached = found == by->server->processes.end() ? nullptr : found->second.get();
        auto result = std::make_shared<Result<T>>(work(*by->server, attached));
        to_client(by, [by, id, result, then] {
            if (by->link->outstanding_.erase(id) != 0) then(std::move(*result));
        });
    });
}

template <typename T>
Result<T> HostLink::await(std::function<Result<T>(HostServer&, Attached*)> work) {
    auto result = std::make_shared<std::optional<Result<T>>>();
    ask<T>(std::move(work), [result](Result<T> answer) { *result = std::move(answer); });
    loop_->run_until([&] { return result->has_value() || stopping_ || connection_->noticed; });
    if (!result->has_value()) return unreachable();
    return std::move(**result);
}

template <typename T>
Result<T> HostLink::call(uint64_t deadline, std::function<void(Then<T>)> start) {
    auto result = std::make_shared<std::optional<Result<T>>>();
    loop_->post([start = std::move(start), result] {
        start([result](Result<T> answer) {
            if (!result->has_value()) *result = std::move(answer);
            machine().wake(result.get(), true);
        });
    });
    while (!result->has_value() && machine().now() < deadline)
        machine().wait(result.get(), deadline);
    if (!result->has_value()) return Failure{WEFT_ETIMEOUT, "the node did not answer in time"};
    return std::move(**result);
}

/** What an open is answered with. */
struct Made {
    Opened opened;
    NamespaceConfig config;
    int index;
    uint64_t index_size;
    uint32_t page;
    std::vector<Sent> segments;
};

static Result<Made> open_at_node(HostServer& of, Attached* attached, const std::string& name,
                                 const std::string& options, uint64_t floor_known) {
    if (attached == nullptr) return unreachable();
    if (host().fails(host().set.memory_fails_one_in)) {
        host().event("allocation-failed");
        return Failure{WEFT_ENOMEM, "the machine has no memory"};
    }
    Made made;
    made.page = host().create(sizeof(ReaderPage), true);
    auto* page = reinterpret_cast<ReaderPage*>(host().file(made.page).begin);
    return of.node.with([&](Cache& cache, uint64_t now) -> Result<Made> {
        Result<Opened> opened =
            cache.open_namespace(attached->session, name, options, page, floor_known, now);
        if (!opened) return opened.failure();
        attached->may_write[opened->opening] = opened->may_write();
        Slots& slots = opened->space->slots();
        made.opened = *opened;
        made.config = opened->space->config();
        made.index = slots.index().reader.get();
        made.index_size = slots.index().mapping.size();
        of.spaces[name] = opened->space;
        for (auto& [id, segment] : slots.segments()) {
            if (!segment->retiring) made.segments.push_back(sent_of(*segment, opened->may_write()));
        }
        return made;
    });
}

void HostLink::open_now(const std::string& name, const std::string& options, uint64_t floor_known,
                        Then<std::shared_ptr<Mapped>> then) {
    if (!up()) return then(unreachable());
    ask<Made>(
        [name, options, floor_known](HostServer& of, Attached* attached) {
            return open_at_node(of, attached, name, options, floor_known);
        },
        [this, name, options, then](Result<Made> made) {
            if (!made) return then(made.failure());
            Result<fabric::Mapping> index = memory_->map(
                fabric::Descriptor(made->index), made->index_size, fabric::Access::read, false);
            if (!index) return then(index.failure());
            Result<fabric::Mapping> page =
                memory_->map(fabric::Descriptor(static_cast<int>(made->page * 2)),
                             sizeof(ReaderPage), fabric::Access::write, true);
            if (!page) return then(page.failure());
            struct Kept {
                fabric::Mapping index;
                fabric::Mapping page;
            };
            auto kept = std::make_shared<Kept>(std::move(*index), std::move(*page));
            auto mapped = std::make_shared<Mapped>(
                made->opened.opening, made->config, made->opened.version, kept->index.address(),
                reinterpret_cast<ReaderPage*>(kept->page.address()));
            mapped->keeper = kept;
            spaces_[made->opened.opening] =
                std::make_shared<OpenSpace>(OpenSpace{name, options, mapped});
            for (const Sent& segment : made->segments) map_segment(*mapped, segment);
            then(mapped);
        });
}

bool HostLink::map_segment(Mapped& mapped, const Sent& segment) {
    if (mapped.has_segment(segment.id)) return true;
    Result<fabric::Mapping> read =
        memory_->map(fabric::Descriptor(segment.read), segment.size, fabric::Access::read, false);
    if (!read) return false;
    fabric::Mapping write;
    if (segment.write >= 0) {
        Result<fabric::Mapping> mapping = memory_->map(fabric::Descriptor(segment.write),
                                                       segment.size, fabric::Access::write, false);
        if (!mapping) return false;
        write = std::move(*mapping);
    }
    mapped.add_segment(segment.id, segment.slot_bytes, std::move(*read), std::move(write), nullptr);
    return true;
}

bool HostLink::add_segment(uint64_t opening, const Sent& segment) {
    auto found = spaces_.find(opening);
    return found == spaces_.end() || map_segment(*found->second->mapped, segment);
}

void HostLink::drop_segment(uint64_t opening, uint32_t segment) {
    auto found = spaces_.find(opening);
    if (found != spaces_.end()) found->second->mapped->drop_segment(segment);
}

/** Before an answer that names slots is given out, their segments are mapped. */
void HostLink::need_segments(std::shared_ptr<Mapped> mapped, std::set<uint32_t> ids,
                             Mailbox::Work then) {
    auto found = spaces_.find(mapped->opening());
    if (ids.empty() || !up() || found == spaces_.end() || found->second->mapped != mapped)
        return then();
    host().event("segment-asked-for");
    uint32_t id = *ids.begin();
    ids.erase(ids.begin());
    ask<Sent>(
        [id, opening = mapped->opening()](HostServer& of, Attached* attached) -> Result<Sent> {
            if (attached == nullptr) return unreachable();
            return of.node.with([&](Cache& cache, uint64_t) -> Result<Sent> {
                Namespace* space = cache.namespace_of(attached->session, opening);
                Segment* segment = space == nullptr ? nullptr : space->slots().segment(id);
                if (segment == nullptr || segment->retiring) return unreachable();
                return sent_of(*segment, attached->may_write[opening]);
            });
        },
        [this, mapped, ids, then](Result<Sent> segment) {
            if (segment) map_segment(*mapped, *segment);
            need_segments(mapped, ids, then);
        });
}

void HostLink::answered(Call&& call, Reply&& reply) {
    if (call.mapped == nullptr) return call.done(std::move(reply));
    if (reply.status == -WEFT_EPEER) {
        events_.unanswered(call.mapped, *call.request);
        return refuse(call);
    }
    count_outlived(*call.mapped, *call.request, reply);
    std::set<uint32_t> ids = lacking(*call.mapped, reply);
    if (ids.empty()) return call.done(std::move(reply));
    struct Kept {
        Call call;
        Reply reply;
    };
    auto kept = std::make_shared<Kept>(std::move(call), std::move(reply));
    loop_->post([this, kept, ids] {
        need_segments(kept->call.mapped, ids, [kept] { kept->call.done(std::move(kept->reply)); });
    });
}

void HostLink::refuse(Call& call) {
    Reply reply;
    reply.status = call.mapped->fenced() ? -WEFT_EFENCED : -WEFT_EPEER;
    reply.message = "the node cannot be reached";
    call.done(std::move(reply));
}

void HostLink::run(const std::shared_ptr<Mapped>& mapped, Request& request, Done done) {
    Call call{mapped, &request, std::move(done)};
    bool gone = mapped != nullptr && mapped->gone.load(std::memory_order_acquire);
    std::unique_lock<std::mutex> guard(lock_);
    if (!gone && lane_open_) {
        uint64_t id = next_++;
        uint64_t opening = mapped == nullptr ? 0 : mapped->opening();
        under_way_[id] = std::move(call);
        ConnectionPtr by = connection_;
        guard.unlock();
        // A socket that has ended is found so by whoever reads.
        if (!by->open) return;
        auto copy = std::make_shared<Request>(request);
        by->to_node->post(by->lane_node_pipe.due(), [by, id, opening, copy] {
            auto found = by->server->processes.find(by->instance);
            if (!by->open || found == by->server->processes.end()) return;
            Done answer = [by, id](Reply&& reply) {
                auto kept = std::make_shared<Reply>(std::move(reply));
                if (by->answers_left != kNever && by->answers_left-- == 0) return network().cut(by);
                by->lane->post(by->lane_client_pipe.due(), [by, id, kept] {
                    if (!by->open) return;
                    HostLink& link = *by->link;
                    std::unique_lock<std::mutex> guard(link.lock_);
                    auto waiting = link.under_way_.find(id);
                    if (waiting == link.under_way_.end()) return;
                    Call call = std::move(waiting->second);
                    link.under_way_.erase(waiting);
                    guard.unlock();
                    link.answered(std::move(call), std::move(*kept));
                });
            };
            by->server->node.with([&](Cache& cache, uint64_t now) {
                cache.run(found->second->session, opening, std::move(*copy), answer, now);
                return 0;
            });
        });
        return;
    }
    guard.unlock();
    if (call.mapped == nullptr) return call.done(Reply());
    auto kept = std::make_shared<Call>(std::move(call));
    if (loop_->closed()) {
        Reply reply;
        reply.status = -WEFT_ECLOSED;
        return kept->done(std::move(reply));
    }
    loop_->post([this, kept] {
        events_.unanswered(kept->mapped, *kept->request);
        refuse(*kept);
    });
}

Result<std::shared_ptr<Mapped>> HostLink::open(const std::string& name, const std::string& options,
                                               uint64_t floor_known, uint64_t deadline) {
    auto given_up = std::make_shared<bool>(false);  // shared with the work, which may outlive this
    using Then = Then<std::shared_ptr<Mapped>>;
    Result<std::shared_ptr<Mapped>> opened =
        call<std::shared_ptr<Mapped>>(deadline, [=, this](Then then) {
            open_now(name, options, floor_known, [=, this](Result<std::shared_ptr<Mapped>> made) {
                if (*given_up && made) return close_now(*made, [](const Result<Nothing>&) {});
                then(std::move(made));
            });
        });
    *given_up = true;
    return opened;
}

bool HostLink::has(const std::shared_ptr<Mapped>& mapped) const {
    auto found = spaces_.find(mapped->opening());
    return found != spaces_.end() && found->second->mapped == mapped;
}

void HostLink::close_at_node(uint64_t opening, const Then<Nothing>& then) {
    ask<Nothing>(
        [opening](HostServer& of, Attached* attached) -> Result<Nothing> {
            if (attached == nullptr) return unreachable();
            return of.node.with([&](Cache& cache, uint64_t now) {
                attached->may_write.erase(opening);
                return cache.close_opening(attached->session, opening, now);
            });
        },
        then);
}

void HostLink::close_now(const std::shared_ptr<Mapped>& mapped, const Then<Nothing>& then) {
    if (!has(mapped)) {
        std::shared_ptr<Mapped> now = events_.became(mapped);
        return now == nullptr ? then(Nothing{}) : close_now(now, then);
    }
    auto found = spaces_.find(mapped->opening());
    bool attached = found->second->attached;
    spaces_.erase(found);
    if (!attached || !up()) return then(Nothing{});
    close_at_node(mapped->opening(), then);
}

Status HostLink::close(const std::shared_ptr<Mapped>& mapped, uint64_t deadline) {
    return call<Nothing>(deadline,
                         [=, this](const Then<Nothing>& then) { close_now(mapped, then); });
}

Result<std::string> HostLink::query(const std::shared_ptr<Mapped>& mapped, const std::string& words,
                                    uint64_t deadline) {
    uint64_t opening = mapped == nullptr ? 0 : mapped->opening();
    return call<std::string>(deadline, [=, this](Then<std::string> then) {
        ask<std::string>(
            [opening, words](HostServer& of, Attached* attached) -> Result<std::string> {
                if (attached == nullptr) return unreachable();
                return of.node.with([&](Cache& cache, uint64_t now) {
                    return cache.query(attached->session, opening, words, now);
                });
            },
            then);
    });
}

void HostLink::release(uint64_t handle) {
    auto* request = new Request;
    request->verb = Verb::release;
    request->items.assign(1, {{0, handle}, 0, kNoSlot, 0});
    run(nullptr, *request, [request](Reply&&) { delete request; });
}

/** Of a store that has no namespace open any more. */
void HostLink::stop(uint64_t deadline) {
    deadline = std::min(deadline, machine().now() + 1000 * kMs);
    Status closed = call<Nothing>(deadline, [this](Then<Nothing> then) {
        // Behind every close, also one for whose answer nobody has waited.
        if (!spaces_.empty())
            machine().fail("P9: " + std::to_string(spaces_.size()) +
                           " namespaces are closed, and the link keeps them open");
        if (!up()) return then(Nothing{});
        ask<Nothing>(
            [](HostServer& of, Attached* attached) -> Result<Nothing> {
                if (attached != nullptr) of.end(attached->instance);
                return Nothing{};
            },
            then);
    });
    stopping_ = true;
    loop_->close();
    if (loop_thread_.joinable()) loop_thread_.join();
    lose_lane();
    lane_->close();
    if (lane_thread_.joinable()) lane_thread_.join();
}

}  // namespace weft::seeds

namespace weft {

Result<std::unique_ptr<Link>> connect_link(const std::string&, const TokenSource& token,
                                           uint64_t timeout_ns, LinkEvents& events,
                                           const fabric::Log&) {
    auto link = std::make_unique<seeds::HostLink>(token.text, events);
    Status started = link->start(timeout_ns);
    if (!started) return started.failure();
    return std::unique_ptr<Link>(std::move(link));
}

}  // namespace weft
