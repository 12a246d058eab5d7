// The serving side of core/node/rpc.capnp. Each capability object names its session and opening and
// nothing else, so that what a client can reach is what it was given.
#include "core/node/server.h"

#include <capnp/rpc-twoparty.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "capi/weft.h"
#include "core/node/convert.h"
#include "core/node/loop.h"
#include "core/node/node.h"

namespace weft {
namespace {

constexpr uint32_t kSegmentsAtOpen = 100;

class FileServer final : public rpc::File::Server {
  public:
    explicit FileServer(fabric::Descriptor fd) : fd_(std::move(fd)) {}
    kj::Maybe<int> getFd() override { return fd_.get(); }

  private:
    fabric::Descriptor fd_;
};

rpc::File::Client file_of(const fabric::Descriptor& fd) {
    Result<fabric::Descriptor> copy = fd.duplicate();
    if (!copy) kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "no descriptor left"));
    return kj::heap<FileServer>(std::move(*copy));
}

void set_failure(rpc::Failure::Builder out, const Failure& failure) {
    out.setCode(failure.code);
    out.setMessage(failure.message);
}

/** A process's page in one namespace, as the node has it mapped. */
struct Page {
    fabric::SharedFile file;
};

class SocketServer;

/** One process: its session in the cache, its pages, and the connection that it has right now, if
 * any. */
class ClientProcess final : public Process, public kj::Refcounted {
  public:
    ClientProcess(SocketServer& server, uint64_t instance, std::string token, uint32_t uid)
        : server(server), instance(instance), token(std::move(token)), uid(uid) {}
    ~ClientProcess() noexcept override = default;
    bool push_segment(uint64_t opening, const Segment& segment) override;
    bool drop_segment(uint64_t opening, uint32_t segment) override;

    SocketServer& server;
    uint64_t instance;
    std::string token;
    uint32_t uid;
    uint32_t session = 0;
    fabric::Descriptor pidfd;
    kj::Maybe<rpc::Process::Client> callback;  // on the loop's thread
    std::map<uint64_t, Page> pages;
    std::map<uint64_t, bool> may_write;
};

class SocketServer final : public Server {
  public:
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
    kj::Promise<void> serve(kj::Own<kj::AsyncIoStream> stream, uint32_t uid, int pid);
    kj::Promise<void> watch(kj::Own<ClientProcess> process);
    /** The way back to a process, if it still lives and is connected. On the loop's thread. What is
     * posted names a process by its instance: it may be gone when its turn comes. */
    kj::Maybe<rpc::Process::Client&> callback_of(uint64_t instance);

    Node& node;
    Loop loop;
    std::map<uint64_t, kj::Own<ClientProcess>> processes;  // by instance; on the loop's thread
    kj::Maybe<kj::Own<kj::TaskSet>> tasks;
    kj::Maybe<kj::UnixEventPort&> port;

  private:
    std::string path_;
    fabric::Descriptor socket_;
};

kj::Maybe<rpc::Process::Client&> SocketServer::callback_of(uint64_t instance) {
    auto found = processes.find(instance);
    if (found == processes.end()) return nullptr;
    KJ_IF_MAYBE (to, found->second->callback) return *to;
    return nullptr;
}

/** A segment on its way to a process: what is needed of it, copied under the node's lock. */
struct SegmentToSend {
    uint32_t id;
    uint64_t slot_bytes;
    uint64_t size;
    fabric::Descriptor read;
    fabric::Descriptor write;
};

std::shared_ptr<SegmentToSend> copy_of(const Segment& segment, bool write) {
    // Shared between the post and its promise alone.
    auto copy = std::make_shared<SegmentToSend>();
    copy->id = segment.id;
    copy->slot_bytes = segment.slot_bytes;
    copy->size = segment.file.mapping.size();
    Result<fabric::Descriptor> read = segment.file.reader.duplicate();
    if (!read) return nullptr;
    copy->read = std::move(*read);
    if (write) {
        Result<fabric::Descriptor> writer = segment.file.writer.duplicate();
        if (!writer) return nullptr;
        copy->write = std::move(*writer);
    }
    return copy;
}

void send_segment(rpc::Segment::Builder out, const SegmentToSend& segment) {
    out.setId(segment.id);
    out.setSlotBytes(segment.slot_bytes);
    out.setSize(segment.size);
    out.setRead(file_of(segment.read));
    if (segment.write.valid()) out.setWrite(file_of(segment.write));
}

bool ClientProcess::push_segment(uint64_t opening, const Segment& segment) {
    auto may = may_write.find(opening);
    std::shared_ptr<SegmentToSend> copy = copy_of(segment, may != may_write.end() && may->second);
    if (copy == nullptr) return false;  // it will ask when it needs it
    server.loop.post([of = &server, instance = instance, opening, copy] {
        KJ_IF_MAYBE (to, of->callback_of(instance)) {
            auto request = to->addSegmentRequest();
            request.setOpening(opening);
            send_segment(request.initSegment(), *copy);
            auto done = request.send().then([of, opening, id = copy->id](auto&&) {
                of->node.with([&](Cache& cache, uint64_t now) {
                    cache.confirm_segment(opening, id, now);
                    return 0;
                });
            });
            KJ_IF_MAYBE (set, of->tasks) (*set)->add(kj::mv(done));
        }
    });
    return false;
}

bool ClientProcess::drop_segment(uint64_t opening, uint32_t id) {
    server.loop.post([of = &server, instance = instance, opening, id] {
        KJ_IF_MAYBE (to, of->callback_of(instance)) {
            auto request = to->dropSegmentRequest();
            request.setOpening(opening);
            request.setId(id);
            auto done = request.send().then([of, opening, id](auto&&) {
                of->node.with([&](Cache& cache, uint64_t now) {
                    cache.confirm_drop(opening, id, now);
                    return 0;
                });
            });
            KJ_IF_MAYBE (set, of->tasks) (*set)->add(kj::mv(done));
        }
    });
    return false;
}

class SpaceServer final : public rpc::Space::Server {
  public:
    SpaceServer(kj::Own<ClientProcess> process, uint64_t opening)
        : process_(kj::mv(process)), opening_(opening) {}

    kj::Promise<void> run(RunContext context) override {
        Request request;
        if (!from_rpc(context.getParams().getRequest(), request)) {
            context.getResults().initReply().setStatus(-WEFT_EINVAL);
            return kj::READY_NOW;
        }
        context.releaseParams();
        // The answer comes at once on this thread, or later on any.
        auto paf = kj::newPromiseAndFulfiller<Reply>();
        auto fulfiller = std::make_shared<kj::Own<kj::PromiseFulfiller<Reply>>>(
            kj::mv(paf.fulfiller));  // shared with one post
        Loop& loop = process_->server.loop;
        Done done = [fulfiller, &loop](Reply&& reply) {
            if (loop.on_thread()) {
                (*fulfiller)->fulfill(kj::mv(reply));
            } else {
                // All that is of KJ goes over to the loop's thread, and ends there: what this
                // thread still holds of it is empty. std::function wants copies.
                struct Answer {
                    kj::Own<kj::PromiseFulfiller<Reply>> fulfiller;
                    Reply reply;
                };
                auto answer = std::make_shared<Answer>(kj::mv(*fulfiller), std::move(reply));
                loop.post([answer = std::move(answer)] {
                    answer->fulfiller->fulfill(kj::mv(answer->reply));
                });
            }
        };
        process_->server.node.with([&](Cache& cache, uint64_t now) {
            cache.run(process_->session, opening_, std::move(request), std::move(done), now);
            return 0;
        });
        return paf.promise.then(
            [context](Reply&& reply) mutable { to_rpc(reply, context.getResults().initReply()); });
    }

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
        auto may = process_->may_write.find(opening_);
        bool write = may != process_->may_write.end() && may->second;
        std::shared_ptr<SegmentToSend> found = process_->server.node.with(
            [&](Cache& cache, uint64_t) -> std::shared_ptr<SegmentToSend> {
                Namespace* space = cache.namespace_of(process_->session, opening_);
                Segment* segment = space == nullptr ? nullptr : space->slots().segment(id);
                return segment == nullptr || segment->retiring ? nullptr : copy_of(*segment, write);
            });
        context.getResults().setFound(found != nullptr);
        if (found != nullptr) send_segment(context.getResults().initSegment(), *found);
        return kj::READY_NOW;
    }

    kj::Promise<void> close(CloseContext context) override {
        Status closed = process_->server.node.with([&](Cache& cache, uint64_t now) {
            process_->may_write.erase(opening_);
            return cache.close_opening(process_->session, opening_, now);
        });
        process_->pages.erase(opening_);
        if (!closed) set_failure(context.getResults().initFailure(), closed.failure());
        return kj::READY_NOW;
    }

  private:
    kj::Own<ClientProcess> process_;
    uint64_t opening_;
};

class SessionServer final : public rpc::Session::Server {
  public:
    explicit SessionServer(kj::Own<ClientProcess> process) : process_(kj::mv(process)) {}

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
            process_->may_write[made->opening] = made->may_write;
            try {
                fill(results.initOpened(), *made);
                results.getOpened().setPage(file_of(page.file.writer));
            } catch (...) {
                // The cache must not look at the page once it is unmapped.
                process_->may_write.erase(made->opening);
                Status closed = cache.close_opening(process_->session, made->opening, now);
                return Failure{WEFT_ENOMEM, "namespace " + name + ": no descriptor left"};
            }
            process_->pages[made->opening] = std::move(page);
            return made;
        });
        if (!opened) {
            set_failure(results.initFailure(), opened.failure());
            return kj::READY_NOW;
        }
        auto out = results.getOpened();
        out.setPopulate(node.options().cache.prefault);
        out.setSpace(kj::heap<SpaceServer>(kj::addRef(*process_), opened->opening));
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
            context.getResults().setSpace(kj::heap<SpaceServer>(kj::addRef(*process_), opening));
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

    kj::Promise<void> release(ReleaseContext context) override {
        Request request;
        request.verb = Verb::release;
        for (uint64_t handle : context.getParams().getHandles())
            request.items.push_back({{0, handle}, 0, kNoSlot, 0});
        process_->server.node.with([&](Cache& cache, uint64_t now) {
            cache.run(process_->session, 0, std::move(request), [](Reply&&) {}, now);
            return 0;
        });
        return kj::READY_NOW;
    }

  private:
    Result<std::string> reload(Node& node) {
        bool admin = false;
        for (const Grant& grant : node.grants(process_->token, process_->uid))
            admin = admin || (grant.rights & kAdmin) != 0;
        if (!admin) return Failure{WEFT_EDENIED, "the token does not allow reload"};
        Status reloaded = node.reload();
        if (!reloaded) return reloaded.failure();
        return std::string("{\"reloaded\":true}");
    }

    static void fill(rpc::Opened::Builder out, const Opened& opened) {
        Slots& slots = opened.space->slots();
        out.setOpening(opened.opening);
        out.setVersion(opened.version);
        out.setConfig(to_json(opened.space->config()).dump());
        out.setIndex(file_of(slots.index().reader));
        std::vector<Segment*> live;
        // More descriptors do not fit into one message; the process asks for the others.
        for (auto& [id, segment] : slots.segments()) {
            if (!segment->retiring && live.size() < kSegmentsAtOpen) live.push_back(segment.get());
        }
        auto list = out.initSegments(static_cast<uint32_t>(live.size()));
        for (uint32_t i = 0; i < live.size(); i++) {
            std::shared_ptr<SegmentToSend> copy = copy_of(*live[i], opened.may_write);
            if (copy != nullptr) send_segment(list[i], *copy);
        }
    }

    kj::Own<ClientProcess> process_;
};

/** The process behind a pidfd as this PID namespace numbers it; 0: it is of another one, -1: it is
 * dead. */
int pid_of(int pidfd) {
    std::ifstream file("/proc/self/fdinfo/" + std::to_string(pidfd));
    for (std::string word; file >> word;) {
        int pid = 0;
        if (word == "Pid:" && file >> pid) return pid;
    }
    return 0;
}

class NodeServer final : public rpc::Node::Server {
  public:
    NodeServer(SocketServer& server, uint32_t uid, int pid)
        : server_(server), uid_(uid), pid_(pid) {}

    kj::Promise<void> login(LoginContext context) override {
        auto hello = context.getParams().getHello();
        auto results = context.getResults();
        if (!agree(hello, results)) co_return;
        std::string token = hello.getToken();
        Grants grants = server_.node.grants(token, uid_);
        if (grants.empty()) {
            std::string why = token.empty() ? "this node admits its own user alone (uid " +
                                                  std::to_string(geteuid()) + ", not " +
                                                  std::to_string(uid_) + ") or wants a token"
                                            : "the token is not known";
            set_failure(results.initFailure(), {WEFT_EDENIED, why});
            co_return;
        }
        kj::Maybe<int> fd = co_await hello.getPidfd().getFd();
        int pidfd = -1;
        KJ_IF_MAYBE (number, fd) pidfd = dup(*number);
        // 0 sends nothing: it asks whether this is a pidfd, and the process alive.
        bool alive = pidfd >= 0 &&
                     (syscall(SYS_pidfd_send_signal, pidfd, 0, nullptr, 0) == 0 || errno == EPERM);
        if (!alive) {
            if (pidfd >= 0) close(pidfd);
            set_failure(results.initFailure(), {WEFT_EINVAL, "login without a pidfd"});
            co_return;
        }
        if (int of = pid_of(pidfd); of != pid_) {
            close(pidfd);
            set_failure(results.initFailure(),
                        {WEFT_EINVAL, "the pidfd is of process " + std::to_string(of) +
                                          ", the connection of " + std::to_string(pid_)});
            co_return;
        }
        auto known = server_.processes.find(hello.getInstance());
        if (known != server_.processes.end() && known->second->token == token &&
            known->second->uid == uid_) {
            close(pidfd);
            known->second->callback = hello.getProcess();
            results.setSession(kj::heap<SessionServer>(kj::addRef(*known->second)));
            co_return;
        }
        auto process = kj::refcounted<ClientProcess>(server_, hello.getInstance(), token, uid_);
        process->pidfd = fabric::Descriptor(pidfd);
        process->callback = hello.getProcess();
        Result<uint32_t> session = server_.node.with(
            [&](Cache& cache, uint64_t) { return cache.begin_session(*process, grants, 0); });
        if (!session) {
            set_failure(results.initFailure(), session.failure());
            co_return;
        }
        process->session = *session;
        server_.processes[hello.getInstance()] = kj::addRef(*process);
        KJ_IF_MAYBE (tasks, server_.tasks) (*tasks)->add(server_.watch(kj::addRef(*process)));
        if (uid_ == geteuid() && !server_.node.options().tokens.empty()) {
            results.setWarning(
                "this process runs as the node's own user: tokens keep nothing from hostile code "
                "of it");
        }
        results.setSession(kj::heap<SessionServer>(kj::mv(process)));
    }

  private:
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
    uint32_t uid_;
    int pid_;  // who connected
};

/** Waits for the end of the process, then gives up what it held. */
kj::Promise<void> SocketServer::watch(kj::Own<ClientProcess> process) {
    kj::UnixEventPort::FdObserver observer(KJ_ASSERT_NONNULL(port), process->pidfd.get(),
                                           kj::UnixEventPort::FdObserver::OBSERVE_READ);
    pollfd look{process->pidfd.get(), POLLIN, 0};
    if (poll(&look, 1, 0) == 0) co_await observer.whenBecomesReadable();
    node.with([&](Cache& cache, uint64_t now) {
        cache.end_session(process->session, now);
        return 0;
    });
    process->callback = nullptr;
    processes.erase(process->instance);
}

kj::Promise<void> SocketServer::serve(kj::Own<kj::AsyncIoStream> stream, uint32_t uid, int pid) {
    auto& capability_stream = kj::downcast<kj::AsyncCapabilityStream>(*stream);
    capnp::TwoPartyVatNetwork network(capability_stream, kDescriptorsPerMessage,
                                      capnp::rpc::twoparty::Side::SERVER, reader_options());
    auto system = capnp::makeRpcServer(network, kj::heap<NodeServer>(*this, uid, pid));
    co_await network.onDisconnect();
}

class LogErrors final : public kj::TaskSet::ErrorHandler {
  public:
    explicit LogErrors(const fabric::Log& log) : log_(log) {}
    void taskFailed(kj::Exception&& exception) override {
        // A connection that ended takes its calls with it; that is not news.
        if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
        log_.write(fabric::LogLevel::warning,
                   kj::str("a connection failed: ", exception.getDescription()).cStr());
    }

  private:
    const fabric::Log& log_;
};

kj::Promise<void> SocketServer::accept_all(kj::AsyncIoContext& io) {
    LogErrors errors(node.log());
    port = io.unixEventPort;
    tasks = kj::heap<kj::TaskSet>(errors);
    KJ_DEFER({
        tasks = nullptr;
        // The cache still names these processes; only their connections end here.
        for (auto& [instance, process] : processes) process->callback = nullptr;
    });
    auto receiver = io.lowLevelProvider->wrapListenSocketFd(
        socket_.get(), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC);
    for (;;) {
        kj::AuthenticatedStream accepted;
        bool failed = false;
        try {
            accepted = co_await receiver->acceptAuthenticated();
        } catch (...) {
            failed = true;  // no descriptor left, say: the next one may do better
        }
        if (failed) {
            co_await io.provider->getTimer().afterDelay(100 * kj::MILLISECONDS);
            continue;
        }
        uint32_t uid = UINT32_MAX;
        int pid = 0;
        if (auto* local = dynamic_cast<kj::LocalPeerIdentity*>(accepted.peerIdentity.get())) {
            KJ_IF_MAYBE (id, local->getCredentials().uid) uid = static_cast<uint32_t>(*id);
            KJ_IF_MAYBE (id, local->getCredentials().pid) pid = *id;
        }
        KJ_ASSERT_NONNULL(tasks)->add(serve(kj::mv(accepted.stream), uid, pid));
    }
}

/** A socket file that nobody listens on is taken over; a live one names its holder. */
Status replace_dead_socket(const std::string& path, const sockaddr_un& address) {
    fabric::Descriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        ucred holder{};
        socklen_t size = sizeof holder;
        getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &holder, &size);
        return Failure{WEFT_EBUSY, "listen=unix:" + path + ": process " +
                                       std::to_string(holder.pid) + " listens there"};
    }
    if (errno != ECONNREFUSED)
        return Failure{WEFT_EINVAL, "listen=unix:" + path + ": " + strerror(errno)};
    unlink(path.c_str());
    return Nothing{};
}

Status SocketServer::listen() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof address.sun_path) {
        return Failure{WEFT_EINVAL, "listen=unix:" + path_ + ": the path is longer than " +
                                        std::to_string(sizeof address.sun_path - 1)};
    }
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    socket_ = fabric::Descriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    auto failed = [&](const char* what) {
        return Failure{WEFT_EINVAL, "listen=unix:" + path_ + ": " + what + ": " + strerror(errno)};
    };
    if (!socket_.valid()) return failed("socket");
    // With tokens other users may connect; without, uids are checked at login all the same.
    if (bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        if (errno != EADDRINUSE) return failed("bind");
        Status ours = replace_dead_socket(path_, address);
        if (!ours) return ours;
        if (bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
            return failed("bind");
    }
    chmod(path_.c_str(), node.options().tokens.empty() ? 0600 : 0666);
    if (::listen(socket_.get(), 128) != 0) return failed("listen");
    loop.start("weft-node", [this](kj::AsyncIoContext& io) { return accept_all(io); });
    return Nothing{};
}

void SocketServer::tokens_changed() {
    loop.post([this] {
        for (auto& [instance, process] : processes) {
            Grants grants = node.grants(process->token, process->uid);
            node.with([&](Cache& cache, uint64_t) {
                cache.set_grants(process->session, grants);
                return 0;
            });
        }
    });
}

}  // namespace

Result<std::unique_ptr<Server>> Server::start(Node& node, const std::string& path) {
    auto server = std::make_unique<SocketServer>(node, path);
    Status listening = server->listen();
    if (!listening) return listening.failure();
    return std::unique_ptr<Server>(std::move(server));
}

}  // namespace weft
