// The message stream under a connection's RPC, which holds reading back and descriptors open.
#include "core/node/connection.h"

namespace weft {
namespace {

constexpr auto kLoginMost = 10 * kj::SECONDS;

}  // namespace

Connection::Connection(kj::Own<kj::AsyncIoStream> stream, uint32_t uid, int pid)
    : stream_(kj::mv(stream)),
      messages_(kj::downcast<kj::AsyncCapabilityStream>(*stream_)),
      uid_(uid),
      pid_(pid) {}

kj::Promise<void> Connection::serve(capnp::Capability::Client node, kj::Timer& timer) {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = kMessageWords;
    capnp::TwoPartyVatNetwork network(*this, kDescriptorsTaken, capnp::rpc::twoparty::Side::SERVER,
                                      options);
    network_ = network;
    KJ_DEFER({
        network_ = nullptr;
        buried_.clear();
    });
    auto system = capnp::makeRpcServer(network, kj::mv(node));
    system.setFlowLimit(kCallWords);
    auto late = timer.afterDelay(kLoginMost).then([this]() -> kj::Promise<void> {
        if (logged_in_) return kj::NEVER_DONE;
        return kj::READY_NOW;
    });
    co_await network.onDisconnect().exclusiveJoin(kj::mv(late));
}

bool Connection::full() const {
    // Only what is being written makes room some day.
    if (writes_ == 0) return false;
    KJ_IF_MAYBE (network, network_) {
        return network->getCurrentQueueSize() > kUnreadBytes || buried_.size() > kBuriedMost;
    }
    return false;
}

kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> Connection::tryReadMessage(
    kj::ArrayPtr<kj::AutoCloseFd> fdSpace, capnp::ReaderOptions options,
    kj::ArrayPtr<capnp::word> scratchSpace) {
    while (full()) {
        auto room = kj::newPromiseAndFulfiller<void>();
        room_ = kj::mv(room.fulfiller);
        co_await room.promise;
    }
    co_return co_await messages_.tryReadMessage(fdSpace, options, scratchSpace);
}

kj::Promise<void> Connection::counted(kj::Promise<void> write) {
    writes_++;
    KJ_DEFER({
        writes_--;
        KJ_IF_MAYBE (waits, room_) {
            (*waits)->fulfill();
            room_ = nullptr;
        }
    });
    co_await write;
    // When the RPC system has counted the message out as well.
    flush_ = kj::evalLast([this] {
                 KJ_IF_MAYBE (network, network_) {
                     if (network->getCurrentQueueSize() == 0) buried_.clear();
                 }
             }).eagerlyEvaluate(nullptr);
}

kj::Promise<void> Connection::writeMessage(
    kj::ArrayPtr<const int> fds, kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
    return counted(messages_.writeMessage(fds, segments));
}

kj::Promise<void> Connection::writeMessages(
    kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) {
    return counted(messages_.writeMessages(messages));
}

void Connection::bury(fabric::Descriptor descriptor) {
    KJ_IF_MAYBE (network, network_) {
        if (network->getCurrentQueueSize() > 0) buried_.push_back(std::move(descriptor));
    }
}

}  // namespace weft
