// A folder of a test's own on the real disk.
//
// Invariants: it is new and empty, its path is short enough for a socket in it, and it goes with
// all that is in it.
#pragma once
#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace weft {

class Folder {
  public:
    Folder() {
        char name[] = "/tmp/weft-unit-XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        path = name;
    }
    ~Folder() { std::filesystem::remove_all(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string path;
};

}  // namespace weft
