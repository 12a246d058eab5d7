// Sockets that listen: on a path of this host, or on an address of the IP protocols.
//
// Invariants: nothing here waits for anybody, neither for a peer that is stopped nor for a name
// service; what fails names the option and its value.
#pragma once
#include <sys/stat.h>

#include <string>

#include "core/base/result.h"
#include "fabric/memory/memory.h"

namespace weft {

/** A socket at `path`, which only `mode` may connect to. A file that nobody listens on is taken
 * over; a live one is WEFT_EBUSY and names its holder. key: the option that says it. */
Result<fabric::Descriptor> listen_unix(const std::string& key, const std::string& path,
                                       mode_t mode);

/** HOST:PORT, where HOST is a number (IPv6 in brackets), localhost, or * for all; port 0 is any
 * that is free. address_out: what it became. */
Result<fabric::Descriptor> listen_tcp(const std::string& key, const std::string& address,
                                      std::string& address_out);

}  // namespace weft
