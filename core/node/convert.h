// Between the values of core/write/request.h and their Cap'n Proto form. What arrives is copied out
// before anything looks at it, and lists longer than an op can have are refused.
#pragma once
#include <capnp/message.h>

#include "core/node/rpc.capnp.h"
#include "core/write/request.h"

namespace weft {

constexpr uint32_t kItemsMax = 1'048'576;
constexpr uint32_t kDescriptorsPerMessage = 250;  // the kernel's limit is 253

/** Of what a client reads: it knows its node. */
inline capnp::ReaderOptions reader_options() {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = uint64_t{32} << 20;
    return options;
}

/** Of a call on a lane: a list of kItemsMax items is 48 MiB. */
inline capnp::ReaderOptions call_options() {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = uint64_t{8} << 20;
    return options;
}

void to_rpc(const Request& request, rpc::Request::Builder out);
/** False: malformed. */
bool from_rpc(rpc::Request::Reader in, Request& out);
void to_rpc(const Reply& reply, rpc::Reply::Builder out);
void from_rpc(rpc::Reply::Reader in, Reply& out);

}  // namespace weft
