// What is tried on what a node gave, and on the node; each returns what it could do and must not,
// or could not do and must, in words.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "tests/hostile/raw_client.h"

namespace weft::hostile {

/** On every file that the client holds. folder: where it may make files. */
std::vector<std::string> try_files(const RawClient& client, const std::string& folder);
/** On the node's process. */
std::vector<std::string> try_node(int pid);
/** The names of the memory files among this process's descriptors. */
std::vector<std::string> memory_files();
/** The files behind the client's descriptors. */
std::set<uint64_t> inodes(const RawClient& client);

}  // namespace weft::hostile
