// Opening and closing a node, in the order that protocols 3 wants.
#include "core/node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "capi/weft.h"
#include "core/node/metrics_server.h"
#include "core/node/reserve.h"
#include "core/node/server.h"
#include "core/node/threads.h"

namespace weft {
namespace {

uint64_t random_word() {
    uint64_t word = 0;
    if (getrandom(&word, sizeof word, 0) != sizeof word)
        word = fabric::boot_time() * 0x9e3779b97f4a7c15;
    return word;
}

CacheOptions completed(CacheOptions options, bool ephemeral) {
    options.incarnation = random_word();
    options.began = fabric::boot_time();
    options.ephemeral = ephemeral;
    return options;
}

}  // namespace

Node::Node(const NodeOptions& options, const fabric::Log& log)
    : options_(options),
      log_(log),
      memory_(fabric::system_memory(&log_)),
      state_(options.state.empty() ? nullptr : std::make_unique<StateDirectory>(options.state)),
      cache_(completed(options.cache, options.state.empty()), *memory_, state_.get()) {}

Result<std::unique_ptr<Node>> Node::open(const NodeOptions& options, const fabric::Log& log) {
    std::unique_ptr<Node> node(new Node(options, log));
    Status started = node->start();
    if (!started) return started.failure();
    return node;
}

Status Node::start() {
    bool listens = !options_.listen.empty();
    if (state_ != nullptr) {
        Status prepared = state_->prepare();
        if (!prepared) return prepared;
    }
    if (listens || state_ != nullptr) {
        std::string path = state_ != nullptr ? options_.state + "/lock" : options_.listen + ".lock";
        Result<LockFile> lock = LockFile::take(path);
        if (!lock) return lock.failure();
        lock_file_ = std::move(*lock);
        if (!lock_file_.was_clean()) {
            log_.write(
                fabric::LogLevel::info,
                "the node before this one did not end cleanly: waiting for its leases to end");
            usleep(static_cast<useconds_t>(kLease / 1000));
        }
    }
    if (state_ != nullptr) {
        Result<std::string> text = state_->load();
        if (!text) return text.failure();
        Status restored = cache_.restore(*text);
        if (!restored) return restored;
    } else if (listens) {
        log_.write(fabric::LogLevel::info, "no state=: versions and floors end with this process");
    }
    Status tokens = reload();
    if (!tokens) return tokens;
    if (listens) {
        cache_.set_serve_until(fabric::boot_time() + kLease);
        Result<std::unique_ptr<Server>> server = Server::start(*this, options_.listen);
        if (!server) return server.failure();
        server_ = std::move(*server);
    }
    if (!options_.metrics.empty()) {
        Result<std::unique_ptr<MetricsServer>> metrics =
            MetricsServer::start(*this, options_.metrics);
        if (!metrics) return metrics.failure();
        metrics_ = std::move(*metrics);
    }
    timer_ = start_thread("weft-time", [this] { keep_time(); });
    return Nothing{};
}

std::string Node::metrics_address() const { return metrics_ == nullptr ? "" : metrics_->address(); }

Node::~Node() {
    metrics_.reset();
    {
        std::lock_guard<std::mutex> guard(stop_lock_);
        stopping_ = true;
    }
    stop_.notify_all();
    if (timer_.joinable()) timer_.join();
    {
        std::lock_guard<std::mutex> guard(lock_);
        cache_.set_serve_until(0);
    }
    if (server_ != nullptr) server_->stop();
    lock_file_.mark_clean();
}

void Node::keep_time() {
    bool listens = !options_.listen.empty();
    for (;;) {
        std::unique_lock<std::mutex> guard(stop_lock_);
        if (stop_.wait_for(guard, std::chrono::nanoseconds(kTick), [this] { return stopping_; }))
            return;
        guard.unlock();
        with([&](Cache& cache, uint64_t now) {
            if (listens) cache.set_serve_until(now + kLease);
            cache.tick(now);
            return 0;
        });
    }
}

Status Node::reload() {
    if (options_.tokens.empty()) return Nothing{};
    std::ifstream file(options_.tokens);
    std::stringstream text;
    text << file.rdbuf();
    if (!file) return Failure{WEFT_EINVAL, "tokens=" + options_.tokens + ": cannot be read"};
    Result<Tokens> tokens = Tokens::parse(text.str());
    if (!tokens) return Failure{WEFT_EINVAL, options_.tokens + ": " + tokens.failure().message};
    {
        std::lock_guard<std::mutex> guard(lock_);
        tokens_ = std::move(*tokens);
    }
    if (server_ != nullptr) server_->tokens_changed();
    return Nothing{};
}

Grants Node::grants(const std::string& token, uint32_t uid) {
    if (options_.tokens.empty()) {
        return uid == geteuid() ? Grants{{"*", kAllRights}} : Grants{};
    }
    std::lock_guard<std::mutex> guard(lock_);
    return tokens_.find(token);
}

std::thread start_thread(const char* name, std::function<void()> body) {
    // Signals are the host's: library threads take none. Those that a fault raises are never
    // another thread's: blocked, they would end the process past every handler, a sanitizer's too.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread thread([name, body = std::move(body)] {
        pthread_setname_np(pthread_self(), name);
        Reserve::Inside all_its_life;
        body();
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return thread;
}

}  // namespace weft
