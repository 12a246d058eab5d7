// Read from /proc, which every kernel has that has pidfds.
#include "core/node/peer.h"

#include <fstream>

namespace weft {

std::string name_of_process(int pid) {
    if (pid <= 0) return "";
    std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
    std::string name;
    std::getline(file, name);
    // It is its process's to choose, and is printed: nothing but what prints, in ASCII.
    for (char& letter : name) {
        if (letter < ' ' || letter > '~') letter = '?';
    }
    return name;
}

}  // namespace weft
