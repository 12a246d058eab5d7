// Every function of weft.h, called while the node is stopped: each line says how long it kept its
// thread and what it returned, and the driver judges. What is opened before is as large a part of
// what a process can hold as one process needs: a view, a reservation, ops in flight.
//
// Invariant: nothing is asked of the node between the driver's "stopped" and its "go on" that is
// not timed.
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "client.h"

namespace reconnect {
namespace {

constexpr const char* kTimeout = ",timeout_ms=800";

/** Runs one call and says `NAME MILLISECONDS CODE`. */
int32_t timed(const std::string& name, const std::function<int32_t()>& call) {
    double before = now_ms();
    int32_t code = call();
    say(name + " " + std::to_string(now_ms() - before) + " " + std::to_string(code));
    return code;
}

/** Connects until the node's backlog is full: it accepts nobody, and more do not fit. */
std::vector<int> fill_backlog(const std::string& path) {
    std::vector<int> sockets;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    for (int i = 0; i < 1024; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) break;
        sockets.push_back(fd);
        if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 &&
            errno == EAGAIN)
            return sockets;
    }
    fail("the backlog of a stopped node was never full");
}

struct Open {
    explicit Open(const std::string& socket)
        : main("connect=unix:" + socket + kTimeout, "t/main"),
          second("connect=unix:" + socket + kTimeout, "t/second"),
          closing("connect=unix:" + socket + kTimeout, "t/closing") {
        for (uint64_t key = 1; key <= 4; key++) {
            std::vector<uint8_t> bytes = content(key);
            weft_event event = main.run(main.op(WEFT_OP_SAVE, key, bytes.data(), 4096));
            if (event.status < 0) fail("save: " + main.story(event));
        }
        weft_item item{};
        item.key_hi = 1;
        item.key_lo = 1;
        if (weft_view(main.store, main.space, 0, &item, 1, &view) != 1) fail("view");
        weft_event reserved = main.run(main.op(WEFT_OP_RESERVE, 50));
        if (reserved.status < 0) fail("reserve: " + main.story(reserved));
        reservation = reserved.handle;
        weft_op pinning = main.op(WEFT_OP_MATCH, 2);
        pinning.flags = WEFT_PIN;
        weft_event pinned = main.run(pinning);
        if (pinned.status < 0 || pinned.handle == 0) fail("pin: " + main.story(pinned));
        pin = pinned.handle;
    }
    Client main, second, closing;
    uint64_t view = 0, reservation = 0, pin = 0;
    std::vector<uint8_t> bytes = std::vector<uint8_t>(4096, 9);
};

/** An op of each kind; the time is from its submit to its event. */
void time_ops(Open& open) {
    Client& main = open.main;
    auto timed_op = [&](const std::string& name, weft_op op) {
        timed("submit:" + name, [&] { return weft_submit(main.queue, &op, 1); });
        timed("weft_reap:" + name, [&] {
            weft_event event{};
            int32_t count = weft_reap(main.queue, &event, 1, -1);
            return count == 1 ? event.status : -1000;
        });
    };
    weft_op following = main.op(WEFT_OP_WAIT, 50);
    weft_op claiming = main.op(WEFT_OP_WAIT, 90);
    claiming.flags = WEFT_CLAIM;
    weft_op committing = main.op(WEFT_OP_COMMIT, 0);
    committing.key_hi = 0;
    committing.offset = open.reservation;
    weft_op advancing = main.op(WEFT_OP_ADVANCE, 0);
    advancing.key_hi = 0;
    weft_op single = main.op(WEFT_OP_SAVE, 61, open.bytes.data(), 4096);
    single.timeout_ms = 100;
    timed_op("LOAD", main.op(WEFT_OP_LOAD, 77, open.bytes.data(), 4096));
    timed_op("LOAD there", main.op(WEFT_OP_LOAD, 3, open.bytes.data(), 4096));
    timed_op("SAVE", main.op(WEFT_OP_SAVE, 60, open.bytes.data(), 4096));
    timed_op("SAVE with a timeout of its own", single);
    timed_op("MATCH", main.op(WEFT_OP_MATCH, 3));
    timed_op("VIEW", main.op(WEFT_OP_VIEW, 78));
    timed_op("RESERVE", main.op(WEFT_OP_RESERVE, 62));
    timed_op("REMOVE", main.op(WEFT_OP_REMOVE, 4));
    timed_op("WAIT", following);
    timed_op("WAIT with CLAIM", claiming);
    timed_op("TOUCH", main.op(WEFT_OP_TOUCH, 3));
    timed_op("ADVANCE", advancing);
    timed_op("COMMIT", committing);
    timed_op("ABORT", main.op(WEFT_OP_ABORT, 62));
}

/** A queue that closes over ops in flight, and one whose op is cancelled. */
void time_queues(Open& open) {
    Client& main = open.main;
    weft_queue* queue = nullptr;
    timed("weft_queue_open", [&] { return weft_queue_open(main.store, "", &queue, nullptr); });
    timed("weft_queue_fd", [&] { return weft_queue_fd(queue) >= 0 ? 0 : -1; });
    weft_op op = main.op(WEFT_OP_WAIT, 50);
    op.tag = 7;
    op.timeout_ms = 600000;
    weft_op cancel{};
    cancel.kind = WEFT_OP_CANCEL;
    cancel.offset = 7;
    weft_op late = main.op(WEFT_OP_SAVE, 63, open.bytes.data(), 4096);
    late.timeout_ms = 600000;
    timed("weft_submit", [&] { return weft_submit(queue, &op, 1); });
    timed("weft_submit:CANCEL", [&] { return weft_submit(queue, &cancel, 1); });
    timed("weft_submit:late", [&] { return weft_submit(queue, &late, 1); });
    int32_t left = timed("weft_queue_close", [&] { return weft_queue_close(queue); });
    timed("weft_reap:closing", [&] {
        for (weft_event event{}; left > 0; left = weft_queue_close(queue)) {
            if (weft_reap(queue, &event, 1, 5000) != 1) return -1000;
        }
        return left;
    });
}

/** What needs no op. */
void time_calls(Open& open, const std::string& socket) {
    Client& main = open.main;
    weft_namespace space{};
    space.struct_size = sizeof space;
    char json[4096];
    weft_item items[4] = {};
    uint64_t view = 0, address = 0, base = reinterpret_cast<uintptr_t>(open.bytes.data());
    uint32_t region = 0, tokens[64] = {};
    for (uint64_t i = 0; i < 4; i++) items[i] = {1, i + 1, 0, 0, 0};
    timed("weft_namespace_open",
          [&] { return weft_namespace_open(main.store, "t/new", nullptr, &space, nullptr); });
    timed("weft_query",
          [&] { return weft_query(main.store, 0, "stats", json, sizeof json, nullptr); });
    timed("weft_query:space",
          [&] { return weft_query(main.store, main.space, "stats", json, sizeof json, nullptr); });
    timed("weft_query:about", [&] {
        return weft_query(main.store, 0, "about", json, sizeof json, nullptr) > 0 ? 0 : -1;
    });
    timed("weft_match", [&] { return weft_match(main.store, main.space, items, 4); });
    timed("weft_view", [&] { return weft_view(main.store, main.space, 0, items, 4, &view); });
    timed("weft_release", [&] { return weft_release(main.store, &open.pin, 1); });
    timed("weft_region_map", [&] {
        return weft_region_map(main.store, 1 << 20, nullptr, &region, &address, nullptr);
    });
    timed("weft_region_drop", [&] { return weft_region_drop(main.store, region); });
    timed("weft_region_adopt",
          [&] { return weft_region_adopt(main.store, base, 4096, -1, &region, nullptr); });
    weft_region_drop(main.store, region);
    timed("weft_pool_open", [&] {
        return weft_pool_open(main.store, "pages=1,bytes=4096,tensors=1", &base, 1, -1, &region,
                              nullptr);
    });
    weft_region_drop(main.store, region);
    timed("weft_keys", [&] {
        return weft_keys("scheme=vllm-sha256-cbor", nullptr, tokens, 64, 16, items, 4, nullptr);
    });
    timed("weft_key_of", [&] { return weft_key_of(open.bytes.data(), 16, items); });
    timed("weft_abi", [] { return weft_abi() > 0 ? 0 : -1; });
    timed("weft_version", [] { return weft_version() != nullptr ? 0 : -1; });
    timed("weft_code_name", [] { return weft_code_name(1) != nullptr ? 0 : -1; });
    timed("weft_namespace_close",
          [&] { return weft_namespace_close(open.second.store, open.second.space); });
    Client& closing = open.closing;
    weft_namespace_close(closing.store, closing.space);
    weft_queue_close(closing.queue);
    weft_region_drop(closing.store, closing.region);
    timed("weft_close", [&] { return weft_close(closing.store); });

    weft_store* store = nullptr;
    std::string connect = "connect=unix:" + socket + kTimeout;
    timed("weft_open", [&] { return weft_open(connect.c_str(), &store, nullptr); });
    std::vector<int> sockets = fill_backlog(socket);
    timed("weft_open:full", [&] { return weft_open(connect.c_str(), &store, nullptr); });
    std::string listen = "memory=16MiB,listen=unix:" + socket + ",state=" + socket + ".state";
    timed("weft_open:listen", [&] { return weft_open(listen.c_str(), &store, nullptr); });
    for (int fd : sockets) close(fd);
}

/** All that was there is there, and all that was held can be given back. */
void go_on(Open& open) {
    Client& main = open.main;
    // The store's timeout is short, and the machine may be busy: until it works, not at once.
    auto until_done = [&](const std::string& what, const weft_op& op) {
        for (double until = now_ms() + 60000;;) {
            weft_event event = main.run(op);
            if (event.status >= 0 || event.status == -WEFT_EEXISTS) return;
            if (now_ms() > until) fail(what + " after the stop: " + main.story(event));
        }
    };
    for (uint64_t key = 1; key <= 3; key++) {
        until_done("load", main.op(WEFT_OP_LOAD, key, open.bytes.data(), 4096));
        if (open.bytes != content(key)) fail("other bytes after the stop");
    }
    std::vector<uint8_t> more = content(99);
    until_done("save", main.op(WEFT_OP_SAVE, 99, more.data(), 4096));
    if (weft_release(main.store, &open.view, 1) < 0) fail("the view was lost");
    weft_release(main.store, &open.reservation, 1);
}

}  // namespace

int stopped(const std::string& socket) {
    Open open(socket);
    say("ready");
    wait_for("stopped");
    time_calls(open, socket);
    time_ops(open);
    time_queues(open);
    say("done");
    wait_for("go on");
    go_on(open);
    say("gone on");
    wait_for("end");
    return 0;
}

}  // namespace reconnect
