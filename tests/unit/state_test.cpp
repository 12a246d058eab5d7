// What a node keeps on disk: the lock with its clean mark, and the text that is replaced whole.
#include "core/node/state.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <fstream>

#include "capi/weft.h"
#include "tests/unit/folder.h"

using namespace weft;

namespace {

void write_file(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::trunc) << text;
}

}  // namespace

TEST_CASE("only a node that ended cleanly leaves a clean mark, and taking the lock removes it") {
    Folder folder;
    std::string path = folder.path + "/lock";
    {
        Result<LockFile> lock = LockFile::take(path);
        REQUIRE(lock.ok());
        CHECK(lock->was_clean());  // no node before it
        lock->mark_clean();
    }
    {
        Result<LockFile> lock = LockFile::take(path);
        REQUIRE(lock.ok());
        CHECK(lock->was_clean());
        // It dies: no mark.
    }
    Result<LockFile> lock = LockFile::take(path);
    REQUIRE(lock.ok());
    CHECK_FALSE(lock->was_clean());
}

TEST_CASE("a node that died while it took the lock left no clean mark") {
    Folder folder;
    std::string path = folder.path + "/lock";
    write_file(path, "");
    Result<LockFile> lock = LockFile::take(path);
    REQUIRE(lock.ok());
    CHECK_FALSE(lock->was_clean());
}

TEST_CASE("a lock that is held names its holder") {
    Folder folder;
    std::string path = folder.path + "/lock";
    Result<LockFile> held = LockFile::take(path);
    REQUIRE(held.ok());
    Result<LockFile> second = LockFile::take(path);
    REQUIRE_FALSE(second.ok());
    CHECK(second.failure().code == WEFT_EBUSY);
    CHECK(second.failure().message.find(std::to_string(getpid())) != std::string::npos);
}

TEST_CASE("a saved text is there whole for the next node, and a missing one is empty") {
    Folder folder;
    StateDirectory state(folder.path + "/state");
    REQUIRE(state.prepare().ok());
    REQUIRE(state.prepare().ok());
    CHECK(*state.load() == "");
    std::string text(100'000, 'y');
    REQUIRE(state.save("short").ok());
    REQUIRE(state.save(text).ok());
    CHECK(*StateDirectory(folder.path + "/state").load() == text);
    REQUIRE(state.save("short").ok());
    CHECK(*state.load() == "short");
}

TEST_CASE("a text that cannot be saved is an error that names the file") {
    StateDirectory state("/nonexistent/weft");
    Status saved = state.save("x");
    REQUIRE_FALSE(saved.ok());
    CHECK(saved.failure().message.find("/nonexistent/weft") != std::string::npos);
}
