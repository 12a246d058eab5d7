// What a process asks of a node and what the node answers: plain values, the same whether they
// cross a socket or a function call.
//
// Invariants: every request gets exactly one reply, maybe later; items of a reply stand in the
// order of the request's.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/index/layout.h"

namespace weft {

enum class Verb : uint16_t {
    stock,    // give me `size` slots for blocks of items[0].size bytes
    publish,  // these stock slots are filled: publish them; I save `size` blocks at a time
    reserve,  // open the part of each block for writing in place (user = true) or a range of it
              // (SAVE of a range)
    commit,   // reservation: the bytes are final
    abort,    // reservation, or by key what this writer has not published
    locate,   // where is the block (LOAD, VIEW); or why is it not there
    wait,  // until it is published, or followed far enough; with WEFT_CLAIM the right to compute it
    match,  // count, pin
    touch,  // expiry
    remove,
    advance,
    release,  // pins and claims: items' key.lo
};
constexpr uint32_t kVerbs = 12;

/** Memory of lists up to so many items is kept from one request to the next. */
constexpr size_t kKeptItems = 1024;

struct RequestItem {
    Key key;
    uint64_t size = 0;
    uint32_t slot = kNoSlot;
    uint64_t checksum = 0;  // of the bytes that this item brings; 0: not known
};

struct Request {
    Verb verb = Verb::match;
    uint32_t flags = 0;  // WEFT_LIST, ... as in the op
    uint32_t part = 0;
    uint64_t start = 0;
    uint64_t size = 0;
    uint64_t number = 0;      // reservation, version or claim
    uint64_t deadline = 0;    // CLOCK_BOOTTIME ns
    uint32_t ttl_s = 0;       // with WEFT_FOLLOW the follower's number
    bool user = false;        // reserve: the caller writes in place
    bool view = false;        // locate: for a VIEW, which opens a followed block at once
    bool has_parent = false;  // CHAIN: the block before items[0]
    Key parent;
    std::vector<RequestItem> items;
    std::vector<uint64_t> room;  // for its message; zeros between two uses
};

/** What a publish says, with WEFT_EHELD, of bytes that belong to a larger part which this writer
 * has open: they are to be saved as a range of it. */
constexpr uint64_t kJoins = 1;

struct ReplyItem {
    int32_t status = 0;  // 0 or a negated code
    uint32_t slot = kNoSlot;
    uint64_t gen = 0;
    uint64_t value = 0;  // bytes; with WEFT_EMISS the reason; of publish and commit: 1 if this
                         // published the block
    uint64_t place = 0;  // segment << 32 | index
};

struct Reply {
    int32_t status = 0;
    uint32_t detail = 0;
    uint64_t value = 0;
    uint64_t handle = 0;
    std::string message;
    std::vector<ReplyItem> items;
    std::vector<ReplyItem> stock;  // slots that are the process's from now on
};

using Done = std::function<void(Reply&&)>;

/** A request on its way: its items are settled one by one, and the last one answers it. */
struct Pending {
    uint64_t opening = 0;
    Request request;
    Reply reply;
    Done done;
    std::vector<bool> waited;  // the item has waited for somebody
    uint32_t left = 0;         // items not settled
    bool waits = false;        // some of them wait for somebody
    uint64_t order = 0;        // first come
};
using PendingPtr = std::shared_ptr<Pending>;  // held by the queue of each key that it waits for

}  // namespace weft
