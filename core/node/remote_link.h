// The link to a node behind a UNIX socket: one thread with a KJ event loop that connects, logs in,
// opens, and reconnects by itself.
//
// Invariants: what is in flight when the connection ends is answered with -WEFT_EPEER; after a
// reconnect every opening is resumed where the node still knows it, else opened anew and handed to
// the store as another Mapped (`reopened`), which is also told when the node is gone (`lost`).
#pragma once
#include <memory>
#include <string>

#include "core/node/link.h"
#include "core/node/token_source.h"
#include "fabric/log/log.h"

namespace weft {

/** What a store wants to know of its link. Called on the link's thread. */
class LinkEvents {
  public:
    virtual ~LinkEvents() = default;
    virtual void lost() = 0;
    /** The node did not come back at once: memory of it that nobody views can go. */
    virtual void unreachable() = 0;
    /** The same node again: what was mapped holds. */
    virtual void resumed(const std::shared_ptr<Mapped>& mapped) = 0;
    /** False: it cannot be taken, since views of too many earlier nodes are held. */
    virtual bool reopened(const std::shared_ptr<Mapped>& before,
                          const std::shared_ptr<Mapped>& now) = 0;
    /** What an opening that nobody has became where the node came back before its end was heard of;
     * nullptr: nothing. It is the caller's to end. */
    virtual std::shared_ptr<Mapped> became(const std::shared_ptr<Mapped>& before) = 0;
    /** What of an opening the process still knows, told to the node when it is attached again. */
    struct Known {
        std::vector<uint64_t> reservations;
        std::vector<uint32_t> slots;  // of its stock
    };
    virtual Known known(const std::shared_ptr<Mapped>& of) = 0;
    /** The request may have been carried out or not: its answer is lost. */
    virtual void unanswered(const std::shared_ptr<Mapped>& of, const Request& request) = 0;
};

Result<std::unique_ptr<Link>> connect_link(const std::string& path, const TokenSource& token,
                                           uint64_t timeout_ns, LinkEvents& events,
                                           const fabric::Log& log);

}  // namespace weft
