// Which descriptors the child of a fork keeps.
#include "fabric/memory/forked.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fabric/memory/memory.h"

using namespace weft;

namespace {

int open_one() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

/** Whether a child has it, once it has closed what it must not keep. */
bool child_has(int fd) {
    pid_t child = fork();
    if (child == 0) {
        fabric::close_after_fork();
        _exit(fcntl(fd, F_GETFD) >= 0 ? 1 : 0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WEXITSTATUS(status) == 1;
}

}  // namespace

TEST_CASE("the child of a fork closes what is not for it, and nothing else") {
    fabric::Descriptor marked(open_one());
    fabric::Descriptor other(open_one());
    marked.not_for_children();
    CHECK_FALSE(child_has(marked.get()));
    CHECK(child_has(other.get()));
    CHECK(fcntl(marked.get(), F_GETFD) >= 0);  // the parent keeps it
    fabric::Descriptor moved = std::move(marked);
    CHECK_FALSE(child_has(moved.get()));
}

TEST_CASE("a number that was not for children is another's once it has been closed") {
    fabric::Descriptor marked(open_one());
    marked.not_for_children();
    int number = marked.get();
    marked = fabric::Descriptor();
    int reused = open_one();
    REQUIRE(reused == number);
    CHECK(child_has(reused));
    {
        fabric::ClosedInChildren here(reused);
        CHECK_FALSE(child_has(reused));
        fabric::ClosedInChildren there = std::move(here);
        CHECK_FALSE(child_has(reused));
        there = fabric::ClosedInChildren();
        CHECK(child_has(reused));
    }
    close(reused);
}

TEST_CASE("a node's memory is not for its children") {
    Result<fabric::SharedFile> file = fabric::system_memory()->create_data(4096, false);
    REQUIRE(file.ok());
    CHECK_FALSE(child_has(file->reader.get()));
    CHECK_FALSE(child_has(file->writer.get()));
}
