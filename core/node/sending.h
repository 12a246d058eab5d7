// What goes to a client as descriptors: pages, indexes, lanes, and segments, in answers and on
// their own. On the loop's thread, but for `copy_of` and the two of ClientProcess, which the cache
// calls.
//
// Invariants: a descriptor stays open until the message that carries it was written (Connection);
// none is handed to who asks by a connection that is not the process's any more.
#pragma once
#include <memory>

#include "core/node/socket_server.h"

namespace weft {

/** What a process asked before it ended may be heard after its end has been, and what it asked by a
 * connection after its next one's login. Throws. */
void must_be_connected(const ClientProcess& process, const Connection& connection);

/** A file for a process, by the connection that it was asked for. Throws where it may not be. */
rpc::File::Client file_of(ClientProcess& process, Connection& connection, fabric::Descriptor fd);
rpc::File::Client file_of(ClientProcess& process, Connection& connection,
                          const fabric::Descriptor* fd);

/** A segment on its way to a process: what is needed of it, copied under the node's lock. */
struct SegmentToSend {
    uint32_t id;
    uint64_t slot_bytes;
    uint64_t size;
    fabric::Descriptor read;
    fabric::Descriptor write;
};

/** nullptr: no descriptor is left. */
std::shared_ptr<SegmentToSend> copy_of(const Segment& segment, bool write);
void send_segment(rpc::Segment::Builder out, const SegmentToSend& segment, ClientProcess& process,
                  Connection& connection);

}  // namespace weft
