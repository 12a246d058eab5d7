// Reading and writing by Cap'n Proto's own message streams.
#include "core/node/lane_server.h"

#include "capi/weft.h"

namespace weft {

LaneServer::LaneServer(Node& node, Loop& loop, uint32_t session, kj::Own<kj::AsyncIoStream> stream)
    : node_(node),
      loop_(loop),
      session_(session),
      place_(std::make_shared<Place>(this)),
      stream_(kj::mv(stream)),
      here_(closed_in_children(*stream_)),
      // What arrives is copied out of the message before the next one is read.
      messages_(*stream_, [](capnp::MessageReader&) { return true; }),
      // After the end, or what is no message, the client sees the end and comes back by another
      // lane.
      reading_(read()
                   .catch_([](kj::Exception&&) {})
                   .then([this] {
                       stream_->abortRead();
                       stream_->shutdownWrite();
                   })
                   .eagerlyEvaluate([](kj::Exception&&) {})) {}

LaneServer::~LaneServer() noexcept { place_->lane = nullptr; }

kj::Promise<void> LaneServer::read() {
    for (;;) {
        {
            kj::Maybe<kj::Own<capnp::MessageReader>> next =
                co_await messages_.tryReadMessage(call_options());
            KJ_IF_MAYBE (message, next) {
                take((*message)->getRoot<rpc::LaneCall>());
            } else {
                co_return;
            }
        }
        while (unwritten_ > kUnwrittenMax || unwritten_bytes_ > kUnwrittenBytes) {
            auto written = kj::newPromiseAndFulfiller<void>();
            written_ = kj::mv(written.fulfiller);
            co_await written.promise;
        }
    }
}

void LaneServer::take(rpc::LaneCall::Reader call) {
    uint64_t id = call.getId();
    Request request;
    if (!from_rpc(call.getRequest(), request)) {
        Reply reply;
        reply.status = -WEFT_EINVAL;
        return answer(id, reply);
    }
    uint64_t arrived = fabric::boot_time();
    Latency& latency = node_.latencies()[static_cast<size_t>(request.verb)];
    // The answer comes at once on this thread, or later on any.
    Done done = [place = place_, id, &loop = loop_, &latency, arrived](Reply&& reply) {
        latency.observe(fabric::boot_time() - arrived);
        if (loop.on_thread()) {
            if (place->lane != nullptr) place->lane->answer(id, reply);
            return;
        }
        auto kept = std::make_shared<Reply>(std::move(reply));  // std::function wants copies
        loop.post([place, id, kept] {
            if (place->lane != nullptr) place->lane->answer(id, *kept);
        });
    };
    node_.with([&](Cache& cache, uint64_t now) {
        cache.run(session_, call.getOpening(), std::move(request), std::move(done), now);
        return 0;
    });
}

void LaneServer::answer(uint64_t id, const Reply& reply) {
    // Of one segment, which a client reads without an allocation.
    size_t words = 32 + 4 * (reply.items.size() + reply.stock.size()) + reply.message.size() / 8;
    auto message = kj::heap<capnp::MallocMessageBuilder>(static_cast<kj::uint>(words));
    auto out = message->initRoot<rpc::LaneAnswer>();
    out.setId(id);
    to_rpc(reply, out.initReply());
    size_t bytes = message->sizeInWords() * sizeof(capnp::word);
    unwritten_++;
    unwritten_bytes_ += bytes;
    writing_ = writing_
                   .then([this, message = kj::mv(message)]() mutable {
                       auto written = messages_.writeMessage(*message);
                       return written.attach(kj::mv(message));
                   })
                   .then([this, bytes] {
                       unwritten_--;
                       unwritten_bytes_ -= bytes;
                       KJ_IF_MAYBE (waits, written_) {
                           (*waits)->fulfill();
                           written_ = nullptr;
                       }
                   })
                   .eagerlyEvaluate([](kj::Exception&&) {});
}

}  // namespace weft
