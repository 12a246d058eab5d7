// A program that is a node itself and forks: before anybody is connected, and when a client is. The
// children say what they still have open of it, and live on when it is killed; its successor and
// its clients must not wait for them.
#include <dirent.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "client.h"

namespace reconnect {
namespace {

/** Descriptors whose names say that they are a node's: its memory, its lock, its sockets. */
std::string kept() {
    std::string all;
    DIR* open = opendir("/proc/self/fd");
    if (open == nullptr) fail("/proc/self/fd");
    while (const dirent* entry = readdir(open)) {
        char name[256] = {};
        std::string path = std::string("/proc/self/fd/") + entry->d_name;
        if (readlink(path.c_str(), name, sizeof name - 1) < 0) continue;
        std::string what = name;
        for (const char* part : {"memfd:weft", ".state/lock", "/state/lock", "socket:"}) {
            // A client that this process is as well has eventfds and the like, which matter to
            // nobody.
            if (what.find(part) != std::string::npos) all += " " + what;
        }
    }
    closedir(open);
    return all;
}

/** Forks a child that stays until it is killed, or its standard input ends. */
void fork_one(const Client& node, int descriptors_before) {
    int ends[2];
    if (pipe(ends) != 0) fail("pipe");
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child > 0) {
        close(ends[1]);
        char word = 0;
        if (read(ends[0], &word, 1) != 1) fail("the child did not come so far");
        close(ends[0]);
        return;
    }
    // The driver kills it; a driver that is gone does not.
    alarm(600);
    weft_item item{};
    if (weft_match(node.store, node.space, &item, 1) != -WEFT_EFORKED) fail("no WEFT_EFORKED");
    std::string left = kept();
    if (!left.empty()) fail("a child keeps" + left);
    // What is opened next has the numbers that were closed, and is nobody else's.
    int mine = dup(0);
    if (mine < 0 || mine > descriptors_before) fail("descriptors are still open");
    say("child " + std::to_string(getpid()));
    if (write(ends[1], "x", 1) != 1) fail("write");
    for (;;) pause();
}

}  // namespace

int forks(const std::string& socket) {
    int before = dup(0);
    close(before);
    size_t slash = socket.rfind('/');
    Client node(
        "memory=64MiB,listen=unix:" + socket + ",state=" + socket.substr(0, slash) + "/state",
        "t/main");
    std::vector<uint8_t> bytes = content(1);
    if (node.run(node.op(WEFT_OP_SAVE, 1, bytes.data(), 4096)).status != 0) fail("save");
    fork_one(node, before + 2);
    say("ready");
    wait_for("fork");
    fork_one(node, before + 2);
    wait_for("end");
    return 0;
}

}  // namespace reconnect
