// The way from a store to its node: the same calls whether the node is in this process (LocalLink)
// or behind a socket (RemoteLink).
//
// Invariants: every run is answered once, on any thread, also when the node goes away
// (-WEFT_EPEER); before an answer that names a slot arrives, the slot's segment is mapped. Any
// thread may call.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "core/node/mapped.h"
#include "core/write/request.h"

namespace weft {

class Lane;

class Link {
  public:
    virtual ~Link() = default;
    virtual Result<std::shared_ptr<Mapped>> open(const std::string& name,
                                                 const std::string& options, uint64_t floor_known,
                                                 uint64_t deadline) = 0;
    virtual Status close(const std::shared_ptr<Mapped>& mapped, uint64_t deadline) = 0;
    /** The request stays as it is until done is called. */
    virtual void run(const std::shared_ptr<Mapped>& mapped, Request& request, Done done) = 0;
    /** mapped: nullptr for the whole node. */
    virtual Result<std::string> query(const std::shared_ptr<Mapped>& mapped,
                                      const std::string& words, uint64_t deadline) = 0;
    /** Pins and claims, told without waiting. */
    virtual void release(uint64_t handle) = 0;
    /** Where whoever waits for an op may read answers; nullptr: they come by themselves. */
    virtual Lane* lane() { return nullptr; }
    /** Ends its session and its threads; every run has been answered then, and later ones are at
     * once. Waits, until the deadline for the node. */
    virtual void stop(uint64_t deadline) = 0;
    /** A member of "about": what this link is. */
    virtual std::string about() const = 0;
};

}  // namespace weft
