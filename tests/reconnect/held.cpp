// A client that is in the middle of copies when its node is killed: others of its calls go on with
// the node's successor meanwhile, the copies end as if nothing had been, and what was mapped of the
// node that is gone goes when the last of them, and the last view, has ended.
//
// Invariant: the copies are held up by the memory that they touch, not by their length.
#include <cstring>
#include <fstream>
#include <set>
#include <thread>

#include "client.h"
#include "tests/unit/held_memory.h"

namespace reconnect {
namespace {

/** The memory of nodes that this process has mapped, by inode. */
std::set<std::string> node_memory() {
    std::ifstream file("/proc/self/maps");
    std::set<std::string> inodes;
    for (std::string line; std::getline(file, line);) {
        size_t name = line.find("/memfd:weft-data");
        if (name == std::string::npos) continue;
        size_t end = line.find_last_not_of(' ', name - 1) + 1;
        inodes.insert(
            line.substr(line.rfind(' ', end - 1) + 1, end - line.rfind(' ', end - 1) - 1));
    }
    return inodes;
}

bool any_of(const std::set<std::string>& before) {
    for (const std::string& inode : node_memory()) {
        if (before.count(inode) != 0) return true;
    }
    return false;
}

void until_gone(const std::set<std::string>& before, const std::string& what) {
    for (double until = now_ms() + 30000; any_of(before);) {
        if (now_ms() > until) fail("memory of the node that is gone stays mapped after " + what);
        usleep(20000);
    }
}

/** With the successor: what is new, and what was open before. */
void go_on(const Client& client, uint64_t key) {
    std::vector<uint8_t> bytes = content(key);
    weft_event event{};
    // In place: a copy would wait behind the one that is held.
    for (double until = now_ms() + 60000;;) {
        event = client.run(client.op(WEFT_OP_RESERVE, key));
        if (event.status == 0) break;
        if (now_ms() > until) fail("no reservation with the successor: " + client.story(event));
    }
    std::memcpy(reinterpret_cast<void*>(event.value), bytes.data(), bytes.size());
    weft_op commit = client.op(WEFT_OP_COMMIT, 0);
    commit.key_hi = 0;
    commit.offset = event.handle;
    event = client.run(commit);
    if (event.status != 0) fail("commit: " + client.story(event));
    weft_item item{};
    item.key_hi = 1;
    item.key_lo = key;
    uint64_t view = 0;
    for (double until = now_ms() + 60000;
         weft_view(client.store, client.space, 0, &item, 1, &view) != 1;) {
        if (now_ms() > until) fail("no view of what was saved with the successor");
        usleep(1000);
    }
    if (std::memcmp(reinterpret_cast<void*>(item.offset), bytes.data(), bytes.size()) != 0)
        fail("other bytes than were saved");
    if (weft_release(client.store, &view, 1) < 0) fail("release");
    weft_namespace opened{};
    opened.struct_size = sizeof opened;
    if (weft_namespace_open(client.store, "t/more", "part_bytes=4096", &opened, nullptr) < 0 ||
        weft_namespace_close(client.store, opened.space) < 0)
        fail("a namespace does not open and close meanwhile");
}

/** Waits for the word of the node's end, goes on, and lets the copy end. */
weft_event across_a_restart(const Client& client, weft::HeldMemory& held, weft_queue* queue,
                            const weft_op& op, uint64_t key) {
    held.hold();
    if (weft_submit(queue, &op, 1) != 1) fail("an op was not taken");
    if (!held.reached()) fail("nobody copies");
    say("held");
    wait_for("restarted");
    go_on(client, key);
    held.release();
    weft_event event{};
    if (weft_reap(queue, &event, 1, 60000) != 1) fail("the op that was held has no event");
    return event;
}

}  // namespace

int held(const std::string& socket) {
    Client client("connect=unix:" + socket + ",timeout_ms=60000", "t/main");
    weft::HeldMemory memory;
    std::vector<uint8_t> bytes = content(1);
    weft_event event = client.run(client.op(WEFT_OP_SAVE, 1, bytes.data(), 4096));
    if (event.status < 0) fail("save: " + client.story(event));
    weft_queue* queue = nullptr;  // whose copies are the copying thread's
    if (weft_queue_open(client.store, "inline_bytes=0", &queue, nullptr) < 0) fail("a queue");
    weft_item item{};
    item.key_hi = 1;
    item.key_lo = 1;
    uint64_t view = 0;
    if (weft_view(client.store, client.space, 0, &item, 1, &view) != 1) fail("view");

    std::set<std::string> before = node_memory();
    if (before.empty()) fail("nothing is mapped of the node");
    event =
        across_a_restart(client, memory, queue, client.op(WEFT_OP_LOAD, 1, memory.data(), 4096), 2);
    if (event.status != 0 || std::memcmp(memory.data(), bytes.data(), bytes.size()) != 0)
        fail("the load that was held: " + client.story(event));
    if (std::memcmp(reinterpret_cast<void*>(item.offset), bytes.data(), bytes.size()) != 0)
        fail("other bytes in the view");
    if (weft_release(client.store, &view, 1) < 0) fail("the view was lost");
    until_gone(before, "a load and a view");

    // A slot of the stock is filled: its node is gone, so it becomes no block.
    before = node_memory();
    event =
        across_a_restart(client, memory, queue, client.op(WEFT_OP_SAVE, 3, memory.data(), 4096), 4);
    if (event.status != -WEFT_EPEER)
        fail("the save that was held ended with " + std::to_string(event.status));
    until_gone(before, "a save");
    if (weft_queue_close(queue) != 0) fail("the queue does not close");
    say("gone on");
    wait_for("end");
    return 0;
}

}  // namespace reconnect
