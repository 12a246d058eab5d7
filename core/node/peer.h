// What the operating system says of another process, for people who look at a node.
#pragma once
#include <string>

namespace weft {

/** The name by which ps and top know it, at most 15 bytes; empty: it cannot be read. */
std::string name_of_process(int pid);

}  // namespace weft
