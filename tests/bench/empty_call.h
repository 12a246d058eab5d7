// The reference of what costs one round trip: an empty Cap'n Proto call, with the library that Weft
// is built with, to a process of its own over a UNIX socket.
//
// Invariants: the server process starts before this one opens a store; it ends when the connection
// does.
#pragma once

#include <sys/types.h>

#include <memory>

namespace bench {

/** The server's process and this thread's connection to it. One thread. */
class EmptyCall {
  public:
    EmptyCall();
    ~EmptyCall();
    EmptyCall(const EmptyCall&) = delete;
    EmptyCall& operator=(const EmptyCall&) = delete;
    /** One call and its answer. */
    void call();

  private:
    struct Connection;
    pid_t server_ = -1;
    std::unique_ptr<Connection> connection_;
};

}  // namespace bench
