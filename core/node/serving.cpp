// The calls of core/node/rpc.capnp, answered. Each capability object names its session and opening
// and nothing else, so that what a client can reach is what it was given.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "capi/weft.h"
#include "core/node/peer.h"
#include "core/node/sending.h"

namespace weft {
namespace {

constexpr uint32_t kSegmentsAtOpen = 100;

void set_failure(rpc::Failure::Builder out, const Failure& failure) {
    out.setCode(failure.code);
    out.setMessage(failure.message);
}

class SpaceServer final : public rpc::Space::Server {
  public:
    SpaceServer(kj::Own<ClientProcess> process, kj::Own<Connection> connection, uint64_t opening)
        : process_(kj::mv(process)), connection_(kj::mv(connection)), opening_(opening) {}

    kj::Promise<void> query(QueryContext context) override {
        std::string words = context.getParams().getWords();
        Result<std::string> json = process_->server.node.with([&](Cache& cache, uint64_t now) {
            return cache.query(process_->session, opening_, words, now);
        });
        if (json) {
            context.getResults().setJson(*json);
        } else {
            set_failure(context.getResults().initFailure(), json.failure());
        }
        return kj::READY_NOW;
    }

    kj::Promise<void> segment(SegmentContext context) override {
        uint32_t id = context.getParams().getId();
        std::shared_ptr<SegmentToSend> found = process_->server.node.with(
            [&](Cache& cache, uint64_t) -> std::shared_ptr<SegmentToSend> {
                Namespace* space = cache.namespace_of(process_->session, opening_);
                Segment* segment = space == nullptr ? nullptr : space->slots().segment(id);
                uint32_t may = cache.rights_in(process_->session, opening_);
                if (segment == nullptr || segment->retiring || (may & (kRead | kWrite)) == 0)
                    return nullptr;
                return copy_of(*segment, (may & kWrite) != 0);
            });
        context.getResults().setFound(found != nullptr);
        if (found != nullptr)
            send_segment(context.getResults().initSegment(), *found, *process_, *connection_);
        return kj::READY_NOW;
    }

    kj::Promise<void> close(CloseContext context) override {
        Status closed = process_->server.node.with([&](Cache& cache, uint64_t now) {
            return cache.close_opening(process_->session, opening_, now);
        });
        process_->pages.erase(opening_);
        if (!closed) set_failure(context.getResults().initFailure(), closed.failure());
        return kj::READY_NOW;
    }

  private:
    kj::Own<ClientProcess> process_;
    kj::Own<Connection> connection_;  // by which this is asked
    uint64_t opening_;
};

class SessionServer final : public rpc::Session::Server {
  public:
    SessionServer(kj::Own<ClientProcess> process, kj::Own<Connection> connection)
        : process_(kj::mv(process)), connection_(kj::mv(connection)) {}

    kj::Promise<void> open(OpenContext context) override {
        auto params = context.getParams();
        auto results = context.getResults();
        Node& node = process_->server.node;
        Page page;
        Result<fabric::SharedFile> file =
            node.memory().create_data((sizeof(ReaderPage) + 4095) & ~uint64_t{4095}, false);
        if (!file) {
            set_failure(results.initFailure(), file.failure());
            return kj::READY_NOW;
        }
        page.file = std::move(*file);
        auto* shared = reinterpret_cast<ReaderPage*>(page.file.mapping.address());
        std::string name = params.getName();
        std::string options = params.getOptions();
        Result<Opened> opened = node.with([&](Cache& cache, uint64_t now) -> Result<Opened> {
            Result<Opened> made = cache.open_namespace(process_->session, name, options, shared,
                                                       params.getFloorKnown(), now);
            if (!made) return made;
            // Under the same lock, so that no segment is added between what is listed here and what
            // is pushed from now on.
            try {
                fill(results.initOpened(), *made);
                results.getOpened().setPage(file_of(*process_, *connection_, &page.file.writer));
            } catch (...) {
                // The cache must not look at the page once it is unmapped.
                Status closed = cache.close_opening(process_->session, made->opening, now);
                return Failure{WEFT_ENOMEM, "namespace " + name + ": no descriptor left"};
            }
            // The mapping is enough: openings cost the node no descriptor.
            page.file.reader = fabric::Descriptor();
            page.file.writer = fabric::Descriptor();
            process_->pages[made->opening] = std::move(page);
            return made;
        });
        if (!opened) {
            set_failure(results.initFailure(), opened.failure());
            return kj::READY_NOW;
        }
        auto out = results.getOpened();
        out.setPopulate(node.options().cache.prefault);
        out.setSpace(space_server(opened->opening));
        return kj::READY_NOW;
    }

    kj::Promise<void> resume(ResumeContext context) override {
        auto params = context.getParams();
        uint64_t opening = params.getOpening();
        std::set<uint64_t> known;
        std::set<uint32_t> stock;
        for (uint64_t id : params.getReservations()) known.insert(id);
        for (uint32_t slot : params.getStock()) stock.insert(slot);
        bool there = process_->server.node.with([&](Cache& cache, uint64_t now) {
            if (cache.namespace_of(process_->session, opening) == nullptr) return false;
            cache.keep_only(process_->session, opening, known, stock, now);
            return true;
        });
        if (there) {
            process_->unclaimed.erase(opening);
            context.getResults().setSpace(space_server(opening));
        } else {
            set_failure(context.getResults().initFailure(),
                        {WEFT_ECLOSED, "the opening is not known"});
        }
        return kj::READY_NOW;
    }

    kj::Promise<void> query(QueryContext context) override {
        std::string words = context.getParams().getWords();
        Node& node = process_->server.node;
        Result<std::string> json =
            words == "reload" ? reload(node) : node.with([&](Cache& cache, uint64_t now) {
                return cache.query(process_->session, 0, words, now);
            });
        if (json) {
            context.getResults().setJson(*json);
        } else {
            set_failure(context.getResults().initFailure(), json.failure());
        }
        return kj::READY_NOW;
    }

    kj::Promise<void> close(CloseContext) override {
        KJ_IF_MAYBE (closed, process_->closed) (*closed)->fulfill();
        return kj::READY_NOW;
    }

    kj::Promise<void> lane(LaneContext context) override {
        must_be_connected(*process_, *connection_);
        close_unclaimed();
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
            kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "no descriptor left"));
        SocketServer& server = process_->server;
        process_->lane = kj::heap<LaneServer>(
            server.node, server.loop, process_->session,
            KJ_ASSERT_NONNULL(server.streams).wrapSocketFd(kj::AutoCloseFd(ends[0])));
        context.getResults().setSocket(
            file_of(*process_, *connection_, fabric::Descriptor(ends[1])));
        return kj::READY_NOW;
    }

  private:
    /** Whose answer was lost on the way, of open or of close: the process does not know them. */
    void close_unclaimed() {
        for (uint64_t opening : std::exchange(process_->unclaimed, {})) {
            Status closed = process_->server.node.with([&](Cache& cache, uint64_t now) {
                return cache.close_opening(process_->session, opening, now);
            });
            process_->pages.erase(opening);
        }
    }
    rpc::Space::Client space_server(uint64_t opening) {
        return kj::heap<SpaceServer>(kj::addRef(*process_), kj::addRef(*connection_), opening);
    }
    Result<std::string> reload(Node& node) {
        bool admin = false;
        for (const Grant& grant : node.grants(process_->token, process_->uid))
            admin = admin || (grant.rights & kAdmin) != 0;
        if (!admin) return Failure{WEFT_EDENIED, "the token does not allow reload"};
        Status reloaded = node.reload();
        if (!reloaded) return reloaded.failure();
        return std::string("{\"reloaded\":true}");
    }

    void fill(rpc::Opened::Builder out, const Opened& opened) {
        Slots& slots = opened.space->slots();
        out.setOpening(opened.opening);
        out.setVersion(opened.version);
        out.setConfig(to_json(opened.space->config()).dump());
        out.setIndex(file_of(*process_, *connection_, &slots.index().reader));
        std::vector<Segment*> live;
        // More descriptors do not fit into one message; the process asks for the others.
        for (auto& [id, segment] : slots.segments()) {
            bool sent = opened.may_read() && !segment->retiring && live.size() < kSegmentsAtOpen;
            if (sent) live.push_back(segment.get());
        }
        auto list = out.initSegments(static_cast<uint32_t>(live.size()));
        for (uint32_t i = 0; i < live.size(); i++) {
            std::shared_ptr<SegmentToSend> copy = copy_of(*live[i], opened.may_write());
            if (copy != nullptr) send_segment(list[i], *copy, *process_, *connection_);
        }
    }

    kj::Own<ClientProcess> process_;
    kj::Own<Connection> connection_;  // by which this is asked
};

/** The process behind a pidfd as this PID namespace numbers it; 0: it is of another one, -1: it is
 * dead. Nothing: there is no descriptor left to ask with. */
std::optional<int> pid_of(int pidfd) {
    std::ifstream file("/proc/self/fdinfo/" + std::to_string(pidfd));
    if (!file) return std::nullopt;
    for (std::string word; file >> word;) {
        int pid = 0;
        if (word == "Pid:" && file >> pid) return pid;
    }
    return 0;
}

class NodeServer final : public rpc::Node::Server {
  public:
    NodeServer(SocketServer& server, kj::Own<Connection> connection)
        : server_(server), connection_(kj::mv(connection)) {}

    kj::Promise<void> login(LoginContext context) override {
        auto hello = context.getParams().getHello();
        auto results = context.getResults();
        if (!agree(hello, results)) co_return;
        std::string token = hello.getToken();
        uint32_t uid = connection_->uid();
        Grants grants = server_.node.grants(token, uid);
        if (grants.empty()) {
            std::string why = token.empty() ? "this node admits its own user alone (uid " +
                                                  std::to_string(geteuid()) + ", not " +
                                                  std::to_string(uid) + ") or wants a token"
                                            : "the token is not known";
            set_failure(results.initFailure(), {WEFT_EDENIED, why});
            co_return;
        }
        if (!hello.hasPidfd()) {
            set_failure(results.initFailure(), {WEFT_EINVAL, "login without a pidfd"});
            co_return;
        }
        kj::Maybe<int> fd = co_await hello.getPidfd().getFd();
        fabric::Descriptor pidfd;
        KJ_IF_MAYBE (number, fd) pidfd = fabric::Descriptor(fcntl(*number, F_DUPFD_CLOEXEC, 0));
        // What a process of another PID namespace says of itself cannot be checked by its number.
        if (connection_->pid() == 0) pidfd = connection_->pidfd();
        if (Status ours = check_pidfd(pidfd); !ours) {
            set_failure(results.initFailure(), ours.failure());
            co_return;
        }
        Result<kj::Own<ClientProcess>> process =
            process_of(hello.getInstance(), token, grants, std::move(pidfd));
        if (!process) {
            set_failure(results.initFailure(), process.failure());
            co_return;
        }
        (*process)->callback = hello.getProcess();
        (*process)->connection = kj::addRef(*connection_);
        server_.connected(**process, true);
        // What was written to the last one and not read is never carried out: the process has been
        // told that it was lost, and says next what it still holds.
        (*process)->lane = nullptr;
        connection_->logged_in();
        if (uid == geteuid() && !server_.node.options().tokens.empty()) {
            results.setWarning(
                "this process runs as the node's own user: tokens keep nothing from hostile code "
                "of it");
        }
        results.setSession(kj::heap<SessionServer>(kj::mv(*process), kj::addRef(*connection_)));
    }

  private:
    /** Is it a pidfd, of a live process, and of the one that connected? */
    Status check_pidfd(const fabric::Descriptor& pidfd) const {
        if (connection_->pid() == 0) {
            if (pidfd.valid()) return Nothing{};
            return Failure{WEFT_ENOTSUP,
                           "the client is of another PID namespace: the node's machine needs "
                           "Linux 6.5 for that, or the node to be in the client's namespace or in "
                           "one above it"};
        }
        // The kernel drops a descriptor that it has no number left for.
        if (!pidfd.valid())
            return Failure{WEFT_ENOMEM, "login: the node has no descriptor left for the pidfd"};
        // 0 sends nothing: it asks whether this is a pidfd, and the process alive.
        if (syscall(SYS_pidfd_send_signal, pidfd.get(), 0, nullptr, 0) != 0 && errno != EPERM)
            return Failure{WEFT_EINVAL, "login without a pidfd of a live process"};
        std::optional<int> of = pid_of(pidfd.get());
        if (!of) return Failure{WEFT_ENOMEM, "login: the node has no descriptor left"};
        if (*of == connection_->pid()) return Nothing{};
        return Failure{WEFT_EINVAL, "the pidfd is of process " + std::to_string(*of) +
                                        ", the connection of " +
                                        std::to_string(connection_->pid())};
    }

    /** The process that the instance is known as, with the rights of this login; or a new one. */
    Result<kj::Own<ClientProcess>> process_of(uint64_t instance, const std::string& token,
                                              const Grants& grants, fabric::Descriptor pidfd) {
        auto known = server_.processes.find(instance);
        if (known != server_.processes.end()) {
            ClientProcess& process = *known->second;
            if (process.uid != connection_->uid() || process.pid != connection_->pid())
                return Failure{WEFT_EBUSY,
                               "instance " + std::to_string(instance) + " is of another process"};
            server_.admit(process, token, grants);
            for (const auto& [opening, page] : process.pages) process.unclaimed.insert(opening);
            return kj::addRef(process);
        }
        uint32_t of_process = 0;
        uint32_t of_user = 0;
        for (const auto& [other, process] : server_.processes) {
            bool same = process->uid == connection_->uid();
            of_user += same ? 1 : 0;
            // Of another PID namespace nobody's number is known, and so nobody's count.
            bool known = connection_->pid() != 0;
            of_process += same && known && process->pid == connection_->pid() ? 1 : 0;
        }
        if (of_process >= SocketServer::kSessionsOfProcess ||
            of_user >= SocketServer::kSessionsOfUser) {
            return Failure{WEFT_EQUOTA,
                           std::to_string(of_process) + " sessions of a process, " +
                               std::to_string(of_user) + " of a user: the limits are " +
                               std::to_string(SocketServer::kSessionsOfProcess) + " and " +
                               std::to_string(SocketServer::kSessionsOfUser)};
        }
        auto process = kj::refcounted<ClientProcess>(server_, instance, token, connection_->uid(),
                                                     connection_->pid());
        process->pidfd = std::move(pidfd);
        int pid = connection_->pid();
        Result<uint32_t> session =
            server_.node.with([&, name = name_of_process(pid)](Cache& cache, uint64_t) {
                return cache.begin_session(*process, grants, pid, name);
            });
        if (!session) return session.failure();
        process->session = *session;
        server_.processes[instance] = kj::addRef(*process);
        KJ_IF_MAYBE (tasks, server_.tasks) (*tasks)->add(server_.watch(kj::addRef(*process)));
        return kj::mv(process);
    }

    bool agree(rpc::Hello::Reader hello, rpc::Node::LoginResults::Builder results) {
        std::string theirs = hello.getVersion();
        if (hello.getProtocol() != rpc::PROTOCOL_VERSION || hello.getLayout() != kLayoutVersion) {
            set_failure(results.initFailure(),
                        {WEFT_ENOTSUP,
                         "the node is weft " + std::string(weft_version()) + " (protocol " +
                             std::to_string(rpc::PROTOCOL_VERSION) + ", layout " +
                             std::to_string(kLayoutVersion) + "), the client " + theirs +
                             " (protocol " + std::to_string(hello.getProtocol()) + ", layout " +
                             std::to_string(hello.getLayout()) + "): upgrade the older one"});
            return false;
        }
        uint64_t now = fabric::boot_time();
        uint64_t apart =
            now > hello.getBootTime() ? now - hello.getBootTime() : hello.getBootTime() - now;
        // A login travels in far less; a time namespace is off by its whole offset.
        if (apart > 60 * fabric::kSecond) {
            set_failure(results.initFailure(),
                        {WEFT_ENOTSUP, "the boot clocks of node and client are " +
                                           std::to_string(apart / fabric::kSecond) +
                                           " s apart: they are in different time namespaces"});
            return false;
        }
        return true;
    }

    SocketServer& server_;
    kj::Own<Connection> connection_;
};

}  // namespace

rpc::Node::Client node_server(SocketServer& server, kj::Own<Connection> connection) {
    return kj::heap<NodeServer>(server, kj::mv(connection));
}

}  // namespace weft
