// A node's ears: one thread with a KJ event loop that accepts connections on a UNIX socket and
// serves core/node/rpc.capnp.
//
// Invariants: it never copies block bytes and never blocks but for the node's lock; what a process
// holds ends when its pidfd says that it is dead, never because its connection ended.
#pragma once
#include <memory>
#include <string>

#include "core/base/result.h"

namespace weft {

class Node;

class Server {
  public:
    virtual ~Server() = default;
    static Result<std::unique_ptr<Server>> start(Node& node, const std::string& path);
    virtual void tokens_changed() = 0;
    /** Ends every connection and the thread; the socket file goes. */
    virtual void stop() = 0;
};

}  // namespace weft
