// What a store's threads ask of a node: ops by the lane, questions by the loop.
#include "core/node/remote.h"

namespace weft {

/** The lane gave a call back, on whatever thread. */
void RemoteLink::answered(Lane::Call&& call, Reply&& reply) {
    if (call.mapped == nullptr) return call.done(std::move(reply));
    // A call that was written while another node came went to that one, which knows no such
    // opening. Acquire: pairs with Store::lost, which was before that node's lane.
    bool astray =
        reply.status == -WEFT_ECLOSED && call.mapped->gone.load(std::memory_order_acquire);
    if (reply.status == -WEFT_EPEER || astray) {
        events_.unanswered(call.mapped, *call.request);
        return refuse(call);
    }
    if (lacking(*call.mapped, reply).empty()) return call.done(std::move(reply));
    struct Kept {
        Lane::Call call;
        Reply reply;
    };
    // std::function wants copies; shared with the post alone.
    auto kept = std::make_shared<Kept>(std::move(call), std::move(reply));
    bool posted = loop_.post([this, kept] {
        spawn(need_segments(kept->call.mapped, kept->reply).then([kept] {
            kept->call.done(std::move(kept->reply));
        }));
    });
    if (!posted) kept->call.done(std::move(kept->reply));
}

/** Answers a call that reaches nobody. */
void RemoteLink::refuse(Lane::Call& call) {
    Reply reply;
    reply.status = call.mapped->fenced() ? -WEFT_EFENCED : -WEFT_EPEER;
    reply.message = unreachable();
    call.done(std::move(reply));
}

void RemoteLink::run(const std::shared_ptr<Mapped>& mapped, Request& request, Done done) {
    Lane::Call call{mapped, &request, std::move(done)};
    Lane::Sent sent = Lane::Sent::no_socket;
    // Acquire: pairs with Store::lost. Only a short cut: a lane without a socket says so too.
    if (!mapped->gone.load(std::memory_order_acquire)) sent = lane_->call(call);
    if (sent == Lane::Sent::yes) return;
    if (sent == Lane::Sent::too_many) {
        Reply reply;
        reply.status = -WEFT_EQUOTA;
        reply.message = "the node does not answer: as many calls wait for it as may";
        return call.done(std::move(reply));
    }
    // On the loop's thread, since this may run inside a short call.
    auto kept = std::make_shared<Lane::Call>(std::move(call));  // shared with the refusal below
    bool posted = loop_.post([this, kept] {
        events_.unanswered(kept->mapped, *kept->request);
        refuse(*kept);
    });
    if (posted) return;
    Reply reply;
    reply.status = -WEFT_ECLOSED;
    kept->done(std::move(reply));
}

Result<std::string> RemoteLink::query(const std::shared_ptr<Mapped>& mapped,
                                      const std::string& words, uint64_t deadline) {
    return call<std::string>(
        deadline,
        [this, mapped,
         words](const std::shared_ptr<Waiting<std::string>>& waiting) -> kj::Promise<void> {
            auto answer = [waiting](auto&& response) {
                if (response.hasFailure()) {
                    waiting->answer(failure_of(response.getFailure()));
                } else {
                    waiting->answer(std::string(response.getJson().cStr()));
                }
            };
            if (mapped != nullptr) {
                OpenSpace* space = find(mapped);
                if (space != nullptr) {
                    KJ_IF_MAYBE (live, space->capability) {
                        auto request = live->queryRequest();
                        request.setWords(words);
                        return request.send().then(kj::mv(answer));
                    }
                }
            } else {
                KJ_IF_MAYBE (live, session_) {
                    auto request = live->queryRequest();
                    request.setWords(words);
                    return request.send().then(kj::mv(answer));
                }
            }
            waiting->answer(Failure{WEFT_EPEER, unreachable()});
            return kj::READY_NOW;
        });
}

/** By the lane too, so that it is before whatever is asked next. A node that is gone has nothing to
 * release. */
void RemoteLink::release(uint64_t handle) {
    std::unique_ptr<Request> request;
    {
        std::lock_guard<std::mutex> guard(releases_lock_);
        if (!releases_.empty()) {
            request = std::move(releases_.back());
            releases_.pop_back();
        }
    }
    if (request == nullptr) request = std::make_unique<Request>();
    request->verb = Verb::release;
    request->items.assign(1, {{0, handle}, 0, kNoSlot, 0});
    Request* asked = request.release();
    auto done = [this, asked](Reply&&) {
        std::lock_guard<std::mutex> guard(releases_lock_);
        releases_.emplace_back(asked);
    };
    Lane::Call call{nullptr, asked, done};
    if (lane_->call(call) != Lane::Sent::yes) done(Reply());
}

}  // namespace weft
