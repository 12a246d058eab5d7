// The message stream under a connection's RPC, which holds reading back and descriptors open, and
// counts what is not finished.
#include "core/node/connection.h"

#include <sys/socket.h>

namespace weft {
namespace {

constexpr auto kLoginMost = 10 * kj::SECONDS;
constexpr int kPeerPidfd = 77;  // SO_PEERPIDFD: the C library's headers may be older than it

}  // namespace

Connection::Connection(kj::Own<kj::AsyncIoStream> stream, uint32_t uid, int pid)
    : stream_(kj::mv(stream)),
      here_(closed_in_children(*stream_)),
      messages_(kj::downcast<kj::AsyncCapabilityStream>(*stream_)),
      uid_(uid),
      pid_(pid) {}

fabric::Descriptor Connection::pidfd() {
    int fd = -1;
    kj::uint size = sizeof fd;
    try {
        stream_->getsockopt(SOL_SOCKET, kPeerPidfd, &fd, &size);
    } catch (...) {
        fd = -1;  // an older kernel, or no descriptor is left
    }
    return fabric::Descriptor(fd);
}

kj::Promise<void> Connection::serve(capnp::Capability::Client node, kj::Timer& timer) {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = kMessageWords;
    capnp::TwoPartyVatNetwork network(*this, kDescriptorsTaken, capnp::rpc::twoparty::Side::SERVER,
                                      options);
    network_ = network;
    KJ_DEFER({
        network_ = nullptr;
        leaving_.clear();
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
        return network->getCurrentQueueSize() > kUnreadBytes ||
               network->getCurrentQueueCount() > kUnreadMost || buried_ > kBuriedMost;
    }
    return false;
}

bool Connection::corked() const {
    // Answers are written when nothing else is to be done: a client that never stops asking would
    // put that off for ever. (KJ's evalLast is last come, first served; waiting by it as well would
    // not do.)
    if (broken_) return false;
    KJ_IF_MAYBE (network, network_) {
        return writes_ == 0 && network->getCurrentQueueSize() > 0;
    }
    return false;
}

kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> Connection::tryReadMessage(
    kj::ArrayPtr<kj::AutoCloseFd> fdSpace, capnp::ReaderOptions options,
    kj::ArrayPtr<capnp::word> scratchSpace) {
    while (full() || corked()) {
        auto room = kj::newPromiseAndFulfiller<void>();
        room_ = kj::mv(room.fulfiller);
        co_await room.promise;
    }
    kj::Maybe<capnp::MessageReaderAndFds> read =
        co_await messages_.tryReadMessage(fdSpace, options, scratchSpace);
    KJ_IF_MAYBE (message, read) {
        heard(message->reader->getRoot<capnp::rpc::Message>());
    }
    co_return kj::mv(read);
}

void Connection::heard(capnp::rpc::Message::Reader message) {
    if (message.isFinish()) return finished(message.getFinish().getQuestionId());
    if (!message.isCall() && !message.isBootstrap()) return;
    uint32_t question = message.isCall() ? message.getCall().getQuestionId()
                                         : message.getBootstrap().getQuestionId();
    // A message that could not be sent keeps its own for ever.
    if (buried_ > 2 * kBuriedMost) {
        kj::throwFatalException(
            KJ_EXCEPTION(OVERLOADED, "descriptors that have not left", buried_, kBuriedMost));
    }
    if (unfinished_bytes_ > kUnfinishedBytes) {
        kj::throwFatalException(KJ_EXCEPTION(
            OVERLOADED,
            "calls that were not finished, and the bytes that they and their answers take",
            unfinished_.size(), unfinished_bytes_, kUnfinishedBytes));
    }
    if (unfinished_.emplace(question, kCallBytes).second) unfinished_bytes_ += kCallBytes;
}

void Connection::said(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
    capnp::SegmentArrayMessageReader reader(segments);
    auto message = reader.getRoot<capnp::rpc::Message>();
    if (!message.isReturn()) return;
    uint32_t question = message.getReturn().getAnswerId();
    if (message.getReturn().getNoFinishNeeded()) return finished(question);
    auto found = unfinished_.find(question);
    if (found == unfinished_.end()) return;
    size_t bytes = 0;
    for (const auto& segment : segments) bytes += segment.asBytes().size();
    found->second += bytes;
    unfinished_bytes_ += bytes;
}

void Connection::finished(uint32_t question) {
    auto found = unfinished_.find(question);
    if (found == unfinished_.end()) return;
    unfinished_bytes_ -= found->second;
    unfinished_.erase(found);
}

void Connection::read_on() {
    KJ_IF_MAYBE (waits, room_) {
        (*waits)->fulfill();
        room_ = nullptr;
    }
}

void Connection::left(const std::vector<int>& descriptors) {
    for (int number : descriptors) {
        auto found = leaving_.find(number);
        if (found == leaving_.end() || --found->second.messages > 0) continue;
        if (found->second.buried.valid()) buried_--;
        leaving_.erase(found);
    }
}

kj::Promise<void> Connection::counted(kj::Promise<void> write, std::vector<int> descriptors) {
    writes_++;
    read_on();
    bool written = false;
    KJ_DEFER({
        writes_--;
        // Nothing is written any more; that the client is gone is seen by reading.
        if (!written) broken_ = true;
        read_on();
    });
    co_await write;
    written = true;
    left(descriptors);
    // When the RPC system has counted the message out as well: who looked before that saw one that
    // is still to be written.
    flush_ = kj::evalLast([this] { read_on(); }).eagerlyEvaluate(nullptr);
}

kj::Promise<void> Connection::writeMessage(
    kj::ArrayPtr<const int> fds, kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
    said(segments);
    return counted(messages_.writeMessage(fds, segments), {fds.begin(), fds.end()});
}

kj::Promise<void> Connection::writeMessages(
    kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) {
    for (const auto& message : messages) said(message);
    return counted(messages_.writeMessages(messages), {});
}

void Connection::bury(fabric::Descriptor descriptor) {
    auto found = leaving_.find(descriptor.get());
    if (found == leaving_.end()) return;
    found->second.buried = std::move(descriptor);
    buried_++;
}

}  // namespace weft
