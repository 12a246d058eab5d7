// A running node: the cache under its lock, the thread that keeps time, the state on disk, and the
// server where it listens. It decides nothing; it calls the cache with the clock's instants and
// gives answers out after it let go of the lock.
//
// Invariants: serve_until never lies further ahead than kLease; it is 0 before the clean mark is
// written (protocols 3).
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "core/cache.h"
#include "core/node/state.h"
#include "fabric/clock/clock.h"
#include "fabric/log/log.h"

namespace weft {

class MetricsServer;
class Server;

struct NodeOptions {
    CacheOptions cache;
    std::string listen;   // path of a UNIX socket; empty: private
    std::string state;    // directory; empty: ephemeral
    std::string tokens;   // file; empty: the node's own user has all rights
    std::string metrics;  // address; empty: none
};

class Node {
  public:
    static constexpr uint64_t kLease = fabric::kSecond;
    static constexpr uint64_t kTick = fabric::kSecond / 4;

    static Result<std::unique_ptr<Node>> open(const NodeOptions& options, const fabric::Log& log);
    ~Node();

    /** Calls f(cache, now) under the lock, then gives the answers out. */
    template <typename F>
    auto with(F f) {
        std::unique_lock<std::mutex> guard(lock_);
        auto result = f(cache_, fabric::boot_time());
        std::vector<Cache::Answer> answers = cache_.take_replies();
        guard.unlock();
        for (Cache::Answer& answer : answers) answer.done(std::move(answer.reply));
        return result;
    }
    fabric::Memory& memory() { return *memory_; }
    const fabric::Log& log() const { return log_; }
    const NodeOptions& options() const { return options_; }
    /** Any thread. */
    Latencies& latencies() { return cache_.latencies(); }
    /** Where metrics are served, as one may connect; empty: nowhere. */
    std::string metrics_address() const;
    /** Reads tokens= again. What held before goes on when the file is bad. */
    Status reload();
    /** The grants of a token; empty: not known. With no tokens file: all rights for the node's own
     * user. */
    Grants grants(const std::string& token, uint32_t uid);

  private:
    Node(const NodeOptions& options, const fabric::Log& log);
    Status start();
    void keep_time();

    NodeOptions options_;
    fabric::Log log_;
    std::unique_ptr<fabric::Memory> memory_;
    LockFile lock_file_;
    std::unique_ptr<StateDirectory> state_;
    std::mutex lock_;  // guards cache_ and tokens_
    Cache cache_;
    Tokens tokens_;
    std::mutex stop_lock_;  // guards stopping_
    std::condition_variable stop_;
    bool stopping_ = false;
    std::thread timer_;
    std::unique_ptr<Server> server_;
    std::unique_ptr<MetricsServer> metrics_;
};

}  // namespace weft
