// The node's end of a lane: reads a client's calls and writes their answers, as core/node/lane.h
// has it.
//
// Invariants: all of it is on the loop's thread, but an answer may be made on any; calls run in the
// order in which they came; while many answers wait to be written no more calls are read, so that a
// client that does not read them costs no more than these.
#pragma once
#include <capnp/serialize-async.h>
#include <kj/async-io.h>

#include <memory>

#include "core/node/convert.h"
#include "core/node/loop.h"
#include "core/node/node.h"

namespace weft {

class LaneServer {
  public:
    LaneServer(Node& node, Loop& loop, uint32_t session, kj::Own<kj::AsyncIoStream> stream);
    ~LaneServer() noexcept;
    KJ_DISALLOW_COPY_AND_MOVE(LaneServer);

  private:
    static constexpr uint32_t kUnwrittenMax = 1024;              // answers
    static constexpr size_t kUnwrittenBytes = size_t{16} << 20;  // of theirs, and one more
    /** Answers may come when the lane is gone. */
    struct Place {
        LaneServer* lane;
    };
    kj::Promise<void> read();
    void take(rpc::LaneCall::Reader call);
    void answer(uint64_t id, const Reply& reply);

    Node& node_;
    Loop& loop_;
    uint32_t session_;
    std::shared_ptr<Place> place_;  // shared with answers to come; looked at on the loop's thread
    kj::Own<kj::AsyncIoStream> stream_;
    fabric::ClosedInChildren here_;
    capnp::BufferedMessageStream messages_;
    uint32_t unwritten_ = 0;
    size_t unwritten_bytes_ = 0;
    kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> written_;  // while reading waits for it
    kj::Promise<void> writing_ = kj::READY_NOW;
    kj::Promise<void> reading_;
};

}  // namespace weft
