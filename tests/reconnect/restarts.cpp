// A client whose node ends and comes back, again and again, killed or in order: after each time the
// same namespaces, queues and ids work, with nothing done by the client; ops in between end within
// their timeout with a code that says so. Nothing of earlier nodes stays: descriptors and mappings
// are as many at the end as after the first time.
#include <dirent.h>
#include <unistd.h>

#include <fstream>

#include "client.h"

namespace reconnect {
namespace {

size_t entries(const char* folder) {
    size_t count = 0;
    DIR* open = opendir(folder);
    if (open == nullptr) fail(folder);
    while (readdir(open) != nullptr) count++;
    closedir(open);
    return count;
}

size_t mappings() {
    std::ifstream file("/proc/self/maps");
    size_t count = 0;
    for (std::string line; std::getline(file, line); count++) {
        // The heap's and the threads' are not ours to count: what is of a node is a memfd.
        if (line.find("memfd:") == std::string::npos) count--;
    }
    return count;
}

/** Saves and loads one block, as soon as that works. Judges every end until then. */
void until_it_works(const Client& client, uint64_t key) {
    std::vector<uint8_t> bytes = content(key), got(4096);
    double until = now_ms() + 60000;
    for (;;) {
        double before = now_ms();
        weft_op saving = client.op(WEFT_OP_SAVE, key, bytes.data(), 4096);
        saving.timeout_ms = 500;
        weft_event event = client.run(saving);
        if (event.status >= 0 || event.status == -WEFT_EEXISTS) {
            event = client.run(client.op(WEFT_OP_LOAD, key, got.data(), 4096));
            if (event.status >= 0) {
                if (got != bytes) fail("other bytes than were saved");
                return;
            }
        }
        if (now_ms() - before > 15000) fail("an op ended 15 s after it was submitted");
        bool named = event.status == -WEFT_EPEER || event.status == -WEFT_ETIMEOUT ||
                     event.status == -WEFT_EMISS;
        if (!named) fail("an op ended with " + std::string(weft_code_name(-event.status)));
        if (now_ms() > until) fail("not within a minute: " + client.story(event));
    }
}

}  // namespace

int restarts(const std::string& socket, int count) {
    Client client("connect=unix:" + socket + ",timeout_ms=2000", "t/main");
    until_it_works(client, 1);
    say("ready");
    size_t descriptors = 0, mapped = 0;
    for (int i = 0; i < count; i++) {
        wait_for("restarted");
        // Of this node's life: the blocks of the one before went with it.
        until_it_works(client, static_cast<uint64_t>(i) + 2);
        if (i == 0) descriptors = entries("/proc/self/fd"), mapped = mappings();
        say("works");
    }
    if (entries("/proc/self/fd") != descriptors)
        fail("descriptors: " + std::to_string(entries("/proc/self/fd")) + ", once " +
             std::to_string(descriptors));
    // What a copy under way held of a node that is gone goes within a second or two.
    for (double until = now_ms() + 20000; mappings() != mapped && now_ms() < until;) usleep(20000);
    if (mappings() != mapped)
        fail("mappings: " + std::to_string(mappings()) + ", once " + std::to_string(mapped));
    say("as before");
    wait_for("end");
    return 0;
}

}  // namespace reconnect
