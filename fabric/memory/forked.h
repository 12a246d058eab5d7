// What a process must not share with the children that it forks: a lock that a successor waits
// for, sockets on which a peer waits for the end of the other, memory that is to be freed. A store
// does not cross fork, but its descriptors do (O_CLOEXEC is for exec): so the child closes them.
// It closes its own copies only, which lets go of no lock, ends no connection and unlinks nothing.
//
// Invariants: a number is on the list only while its descriptor is open: it is put there behind the
// opening and taken off before the close, so that a child never closes what is another's; one that
// is forked right between keeps it. The list is static, since a handler of pthread_atfork has no
// argument; any thread.
#pragma once
#include <utility>

namespace weft::fabric {

void close_in_children(int fd);
void keep_in_children(int fd);
/** In the child: closes what is on the list. Asks nothing but close of the system, and takes no
 * lock. */
void close_after_fork();

/** A descriptor that somebody else owns, who closes it when this has gone. */
class ClosedInChildren {
  public:
    ClosedInChildren() = default;
    explicit ClosedInChildren(int fd) : fd_(fd) { close_in_children(fd_); }
    ~ClosedInChildren() { keep_in_children(fd_); }
    ClosedInChildren(ClosedInChildren&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    ClosedInChildren& operator=(ClosedInChildren&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }

  private:
    int fd_ = -1;
};

}  // namespace weft::fabric
