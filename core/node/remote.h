// The link to a node behind a socket, for the files remote_*.cpp alone: remote_link.cpp has the
// life of the connection, remote_spaces.cpp the openings and their segments, remote_calls.cpp what
// the store's threads ask.
//
// Invariants: those of remote_link.h; where nothing else is said a member belongs to the loop's
// thread, and work comes there by `call` or a post.
#pragma once
#include <capnp/rpc-twoparty.h>

#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "capi/weft.h"
#include "core/node/convert.h"
#include "core/node/lane.h"
#include "core/node/loop.h"
#include "core/node/mapped.h"
#include "core/node/remote_link.h"
#include "fabric/clock/clock.h"

namespace weft {

inline Failure failure_of(rpc::Failure::Reader in) {
    return {in.getCode(), in.getMessage().cStr()};
}

/** A failure as an exception, for `live` to take apart again. */
void throw_failure(const Failure& failure);

kj::Promise<fabric::Descriptor> descriptor_of(rpc::File::Client file);

/** One namespace opening as the loop's thread knows it. */
struct OpenSpace {
    std::string name;
    std::string options;
    std::shared_ptr<Mapped> mapped;  // shared with the store's space
    kj::Maybe<rpc::Space::Client> capability;
    bool populate = false;
};

/** Hands a result of the loop's thread to the one caller who waits for it, if it still does. */
template <typename T>
struct Waiting {
    std::promise<Result<T>> promise;
    // By the answer, or by the caller who waits no more: whose exchange finds false decides. That
    // is by the exchange's atomicity alone, and any order would do: what the answer holds is handed
    // on by the promise, and a caller who gave up reads nothing of it.
    std::atomic<bool> settled{false};
    /** False: nobody gets it. */
    bool answer(Result<T> result) {
        if (settled.exchange(true)) return false;
        promise.set_value(std::move(result));
        return true;
    }
    /** False: the answer is there, or is being set: get waits for it. */
    bool give_up() { return !settled.exchange(true); }
};

class RemoteLink final : public Link {
  public:
    RemoteLink(std::string path, TokenSource token, LinkEvents& events, const fabric::Log& log);
    ~RemoteLink() noexcept override { loop_.stop(); }
    void stop(uint64_t deadline) override;
    Status start(uint64_t timeout_ns);

    Result<std::shared_ptr<Mapped>> open(const std::string& name, const std::string& options,
                                         uint64_t floor_known, uint64_t deadline) override;
    Status close(const std::shared_ptr<Mapped>& mapped, uint64_t deadline) override;
    void run(const std::shared_ptr<Mapped>& mapped, Request& request, Done done) override;
    Result<std::string> query(const std::shared_ptr<Mapped>& mapped, const std::string& words,
                              uint64_t deadline) override;
    void release(uint64_t handle) override;
    Lane* lane() override { return lane_.get(); }
    std::string about() const override { return "client of unix:" + path_; }

  private:
    class Callbacks;
    struct Connection {
        kj::Own<kj::AsyncIoStream> stream;
        fabric::ClosedInChildren here;
        kj::Own<capnp::TwoPartyClient> client;
    };

    kj::Promise<void> live(kj::AsyncIoContext& io);
    kj::Promise<void> no_answer(kj::Timer& timer);
    kj::Promise<void> connect_once(kj::AsyncIoContext& io, Connection& connection);
    kj::Promise<void> reopen_all();
    kj::Promise<bool> try_resume(OpenSpace& space);
    kj::Promise<Result<std::shared_ptr<Mapped>>> open_now(std::string name, std::string options,
                                                          uint64_t floor_known);
    kj::Promise<Result<Nothing>> close_now(std::shared_ptr<Mapped> mapped);
    kj::Promise<bool> add_segment(std::shared_ptr<Mapped> mapped, rpc::Segment::Reader segment,
                                  bool populate);
    kj::Promise<void> open_lane();
    kj::Promise<void> need_segments(std::shared_ptr<Mapped> mapped, const Reply& reply);
    void answered(Lane::Call&& call, Reply&& reply);
    void refuse(Lane::Call& call);
    OpenSpace* find(const std::shared_ptr<Mapped>& mapped);
    void lose();
    void note_why(const std::string& words);
    std::string unreachable();
    void spawn(kj::Promise<void> promise);

    template <typename T, typename F>
    Result<T> call(uint64_t deadline, const F& start);

    std::string path_;
    const TokenSource token_;
    LinkEvents& events_;
    fabric::Log log_;
    std::unique_ptr<fabric::Memory> memory_;
    uint64_t instance_ = 0;
    uint64_t login_most_ = 0;  // ns, of a connection; see kLoginLeast
    fabric::Descriptor pidfd_;
    // The rest belongs to the loop's thread.
    std::map<uint64_t, std::shared_ptr<OpenSpace>>
        spaces_;  // by opening; shared with calls under way
    kj::Maybe<rpc::Session::Client> session_;
    kj::Maybe<kj::Own<kj::TaskSet>> tasks_;
    std::shared_ptr<Waiting<Nothing>> first_login_;  // shared with the opener
    kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> lane_ended_;
    Loop loop_;
    std::mutex why_lock_;       // guards why_
    std::string why_;           // the last connection failed; empty: it stands
    std::mutex releases_lock_;  // guards releases_
    std::vector<std::unique_ptr<Request>> releases_;  // memory of those that were answered
    std::unique_ptr<Lane> lane_;                      // ends before the loop, which it posts to
};

template <typename T, typename F>
Result<T> RemoteLink::call(uint64_t deadline, const F& start) {
    auto waiting =
        std::make_shared<Waiting<T>>();  // shared with the work, which may outlive this wait
    std::future<Result<T>> result = waiting->promise.get_future();
    bool posted = loop_.post([this, waiting, start] {
        spawn(start(waiting).catch_([waiting](kj::Exception&& exception) {
            kj::Exception::Type type = exception.getType();
            int32_t code = type == kj::Exception::Type::DISCONNECTED ? WEFT_EPEER
                           : type == kj::Exception::Type::OVERLOADED ? WEFT_ENOMEM
                                                                     : WEFT_EINTERNAL;
            waiting->answer(Failure{code, exception.getDescription().cStr()});
        }));
    });
    if (!posted) return Failure{WEFT_ECLOSED, "the store is closed"};
    uint64_t now = fabric::boot_time();
    auto left = std::chrono::nanoseconds(deadline > now ? deadline - now : 0);
    if (result.wait_for(left) != std::future_status::ready && waiting->give_up()) {
        return Failure{WEFT_ETIMEOUT, "the node at unix:" + path_ + " did not answer in time"};
    }
    return result.get();
}

}  // namespace weft
