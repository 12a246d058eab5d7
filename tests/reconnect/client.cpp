// reconnect_client MODE SOCKET ...: see client.h; each mode is a file.
#include "client.h"

#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace reconnect {

void fail(const std::string& words) {
    std::fprintf(stderr, "reconnect_client: %s\n", words.c_str());
    std::exit(1);
}

void say(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

void wait_for(const std::string& word) {
    std::string line;
    if (!std::getline(std::cin, line) || line != word)
        fail("expected \"" + word + "\", not \"" + line + "\"");
}

Client::Client(const std::string& options, const std::string& name) {
    weft_error error{};
    error.struct_size = sizeof error;
    weft_namespace opened{};
    opened.struct_size = sizeof opened;
    if (weft_open(options.c_str(), &store, &error) < 0 ||
        weft_namespace_open(store, name.c_str(), "part_bytes=4096", &opened, &error) < 0 ||
        weft_queue_open(store, nullptr, &queue, &error) < 0 ||
        weft_region_adopt(store, 0, 0, -1, &region, &error) < 0)
        fail(options + ": " + error.message);
    space = opened.space;
}

weft_op Client::op(uint32_t kind, uint64_t key, void* bytes, uint32_t size) const {
    weft_op op{};
    op.kind = static_cast<uint16_t>(kind);
    op.space = space;
    op.key_hi = 1;
    op.key_lo = key;
    if (bytes != nullptr) {
        op.region = region;
        op.offset = reinterpret_cast<uintptr_t>(bytes);
        op.size = size;
    }
    return op;
}

weft_event Client::run(const weft_op& op) const {
    if (weft_submit(queue, &op, 1) != 1) fail("an op was not taken");
    weft_event event{};
    if (weft_reap(queue, &event, 1, -1) != 1) fail("an op has no event");
    return event;
}

std::string Client::story(const weft_event& event) const {
    char json[1024];
    std::string query = "error id=" + std::to_string(event.handle);
    int32_t length = weft_query(store, 0, query.c_str(), json, sizeof json, nullptr);
    return length < 0 ? "" : json;
}

std::vector<uint8_t> content(uint64_t key) {
    return std::vector<uint8_t>(4096, static_cast<uint8_t>(key * 37 + 11));
}

}  // namespace reconnect

int main(int argc, char** argv) {
    std::string mode = argc > 2 ? argv[1] : "";
    if (mode == "stopped") return reconnect::stopped(argv[2]);
    if (mode == "restarts" && argc > 3) return reconnect::restarts(argv[2], std::atoi(argv[3]));
    if (mode == "held") return reconnect::held(argv[2]);
    if (mode == "forks") return reconnect::forks(argv[2]);
    reconnect::fail("usage: reconnect_client stopped|held|forks SOCKET | restarts SOCKET COUNT");
}
