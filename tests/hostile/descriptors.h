// Every descriptor that this process has or was ever sent, and which of them it may not have.
//
// Invariants: recvmsg is this program's own, so that nothing comes unseen, also what the library
// closes again unread; what the process had before it connected is not counted.
#pragma once
#include <string>
#include <vector>

#include "tests/hostile/raw_client.h"

namespace weft::hostile {

/** What is neither a file that a namespace of this client's consists of, nor its connection, nor a
 * lane; in words. */
std::vector<std::string> foreign_descriptors(const RawClient& client);

}  // namespace weft::hostile
