// A connection to the node's socket, and what one may cost: bytes of answers that its client does
// not read, calls that it never finishes, descriptors on their way to it, time until it has said
// who it is.
//
// Invariants: of a client that reads no answers no more calls are read; one that keeps the answers
// of too many calls from being forgotten (Cap'n Proto: it sends no Finish) is cut off; a descriptor
// that was sent stays open until the message with it has been written, or its number could have
// become another file's, and the client would get that one instead. All of it is on the loop's
// thread.
#pragma once
#include <capnp/rpc-twoparty.h>
#include <capnp/rpc.capnp.h>
#include <capnp/serialize-async.h>
#include <kj/refcount.h>

#include <unordered_map>
#include <vector>

#include "core/node/loop.h"
#include "fabric/memory/memory.h"

namespace weft {

class Connection final : public capnp::MessageStream, public kj::Refcounted {
  public:
    static constexpr size_t kUnreadBytes = size_t{4} << 20;  // of answers; then it is not read from
    static constexpr size_t kUnreadMost = 2048;              // answers, however small
    static constexpr size_t kUnfinishedBytes = size_t{32} << 20;  // of questions and their answers
    static constexpr size_t kCallBytes = 2048;   // one whose answer is small; measured
    static constexpr size_t kBuriedMost = 1024;  // descriptors on their way
    static constexpr uint64_t kMessageWords = uint64_t{1}
                                              << 17;  // the largest that is taken: 1 MiB
    // Of calls not answered yet. Answers may be hundreds of times as large, and only what is
    // answered counts above.
    static constexpr size_t kCallWords = size_t{1} << 12;
    static constexpr uint32_t kDescriptorsTaken = 1;  // with one message: a pidfd

    Connection(kj::Own<kj::AsyncIoStream> stream, uint32_t uid, int pid);
    ~Connection() noexcept override = default;

    /** Serves until the client is gone, or too late with its login. */
    kj::Promise<void> serve(capnp::Capability::Client node, kj::Timer& timer);
    /** The client sees its end. Nothing may serve any more. */
    void close() {
        here_ = fabric::ClosedInChildren();
        stream_ = nullptr;
    }
    void logged_in() { logged_in_ = true; }
    uint32_t uid() const { return uid_; }
    int pid() const { return pid_; }
    /** Who connected, from the kernel (Linux 6.5); none where it does not say. */
    fabric::Descriptor pidfd();
    /** A message that is being made carries this number. */
    void carries(int descriptor) { leaving_[descriptor].messages++; }
    /** Closes it, when no message that carries it waits any more. */
    void bury(fabric::Descriptor descriptor);

    kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(
        kj::ArrayPtr<kj::AutoCloseFd> fdSpace, capnp::ReaderOptions options,
        kj::ArrayPtr<capnp::word> scratchSpace) override;
    kj::Promise<void> writeMessage(
        kj::ArrayPtr<const int> fds,
        kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override;
    kj::Promise<void> writeMessages(
        kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) override;
    kj::Maybe<int> getSendBufferSize() override { return messages_.getSendBufferSize(); }
    kj::Promise<void> end() override { return messages_.end(); }
    using capnp::MessageStream::tryReadMessage;
    using capnp::MessageStream::writeMessage;

  private:
    bool full() const;
    bool corked() const;
    void read_on();
    void heard(capnp::rpc::Message::Reader message);
    void said(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments);
    void finished(uint32_t question);
    void left(const std::vector<int>& descriptors);
    kj::Promise<void> counted(kj::Promise<void> write, std::vector<int> descriptors);

    kj::Own<kj::AsyncIoStream> stream_;
    fabric::ClosedInChildren here_;  // a client sees the node's end
    capnp::AsyncCapabilityMessageStream messages_;
    uint32_t uid_;
    int pid_;
    bool logged_in_ = false;
    bool broken_ = false;                                  // a write failed
    uint32_t writes_ = 0;                                  // under way
    kj::Maybe<capnp::TwoPartyVatNetwork&> network_;        // while it serves
    kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> room_;  // while reading waits for it
    std::unordered_map<uint32_t, size_t> unfinished_;      // questions, and what each costs
    size_t unfinished_bytes_ = 0;
    /** A descriptor in messages that are not written yet, and itself once nobody else has it. */
    struct Leaving {
        uint32_t messages = 0;
        fabric::Descriptor buried;
    };
    std::unordered_map<int, Leaving> leaving_;  // by number
    size_t buried_ = 0;                         // of them
    kj::Promise<void> flush_ = kj::READY_NOW;
};

}  // namespace weft
