// Opening, closing, and what the deeds share.
#include "world.h"

#include <unistd.h>

#include <cstring>
#include <filesystem>

namespace faults {
namespace {

constexpr const char* kAny = "part_bytes=0,write_s=2";
constexpr const char* kParts = "parts=2,part_bytes=4096,write_s=2";

}  // namespace

World::World(bool client, const std::string& folder)
    : client_(client), folder_(folder), memory_(1 << 20) {
    std::filesystem::create_directories(folder_);
}

World::~World() {
    weft_event events[16];
    while (queue_ != nullptr && weft_queue_close(queue_) > 0) weft_reap(queue_, events, 16, 1000);
    for (const weft_namespace& space : {any_, parts_})
        if (space.space != 0) weft_namespace_close(store_, space.space);
    if (region_ != 0) weft_region_drop(store_, region_);
    if (store_ != nullptr) weft_close(store_);
    if (node_ != nullptr) weft_close(node_);
    std::filesystem::remove_all(folder_);
}

int32_t World::open() {
    int32_t code = 0;
    const std::string node =
        "memory=16MiB,log_level=error,listen=" + address() + ",state=" + folder_ + "/state";
    const std::string store =
        client_ ? "timeout_ms=3000,connect=" + address() : "memory=16MiB,timeout_ms=3000";
    if (client_ && node_ == nullptr) code = weft_open(node.c_str(), &node_, nullptr);
    if (code == 0 && store_ == nullptr) code = weft_open(store.c_str(), &store_, nullptr);
    any_.struct_size = parts_.struct_size = sizeof any_;
    if (code == 0 && any_.space == 0)
        code = weft_namespace_open(store_, "t/any", kAny, &any_, nullptr);
    if (code == 0 && parts_.space == 0)
        code = weft_namespace_open(store_, "t/parts", kParts, &parts_, nullptr);
    if (code == 0 && region_ == 0) code = weft_region_adopt(store_, 0, 0, -1, &region_, nullptr);
    if (code == 0 && queue_ == nullptr) code = weft_queue_open(store_, nullptr, &queue_, nullptr);
    return code;
}

weft_event World::run(weft_op op) {
    weft_event event{};
    event.status = weft_submit(queue_, &op, 1);
    if (event.status < 1) return event;
    if (int32_t reaped = weft_reap(queue_, &event, 1, 15000); reaped != 1)
        throw Wrong{"op " + std::to_string(op.kind) + " has no event: weft_reap gave " +
                    std::to_string(reaped)};
    return event;
}

weft_op World::any(uint16_t kind, uint64_t key, uint32_t flags) const {
    weft_op op{};
    op.kind = kind;
    op.key_hi = key * 0x9e3779b97f4a7c15;
    op.key_lo = key;
    op.flags = flags;
    op.space = any_.space;
    return op;
}

weft_op World::parts(uint16_t kind, uint64_t key, uint32_t flags) const {
    weft_op op = any(kind, key, flags);
    op.space = parts_.space;
    return op;
}

void World::fill(uint8_t* to, uint64_t key, uint32_t size) const {
    for (uint32_t at = 0; at < size; at++)
        to[at] = static_cast<uint8_t>(key * 31 + at * 7 + (at >> 8));
}

void World::compare(const uint8_t* from, uint64_t key, uint32_t size) const {
    for (uint32_t at = 0; at < size; at++)
        if (from[at] != static_cast<uint8_t>(key * 31 + at * 7 + (at >> 8)))
            throw Wrong{"key " + std::to_string(key) + ": byte " + std::to_string(at) + " of " +
                        std::to_string(size) + " is wrong"};
}

int32_t World::save(uint64_t key, uint32_t size, uint32_t flags) {
    weft_op op = any(WEFT_OP_SAVE, key, flags);
    fill(memory(), key, size);
    op.region = region_;
    op.offset = reinterpret_cast<uintptr_t>(memory());
    op.size = size;
    const int32_t status = run(op).status;
    return status == -WEFT_EEXISTS ? 0 : status;
}

int32_t World::load(uint64_t key, uint32_t size, uint32_t flags) {
    weft_op op = any(WEFT_OP_LOAD, key, flags);
    std::memset(memory(), 0xee, size);
    op.region = region_;
    op.offset = reinterpret_cast<uintptr_t>(memory());
    op.size = size;
    const weft_event event = run(op);
    if (event.status < 0) return event.status;
    if (event.value != size || event.handle != size)
        throw Wrong{"key " + std::to_string(key) + ": " + std::to_string(event.value) + " of " +
                    std::to_string(event.handle) + " bytes, not " + std::to_string(size)};
    compare(memory(), key, size);
    return 0;
}

std::string World::held() {
    std::string stats(1 << 16, '\0');
    const int32_t size =
        weft_query(store_, 0, "stats", stats.data(), static_cast<uint32_t>(stats.size()), nullptr);
    if (size < 0) return std::string("stats: ") + weft_code_name(size);
    stats.resize(static_cast<size_t>(size));
    std::string found;
    for (const char* name : {"attempts", "claims", "limbo", "pins", "quarantined", "waiting"}) {
        const std::string key = std::string("\"") + name + "\":";
        for (size_t at = 0; (at = stats.find(key, at)) != std::string::npos; at += key.size())
            if (stats[at + key.size()] != '0')
                found +=
                    std::string(found.empty() ? "" : ", ") + name + " " +
                    stats.substr(at + key.size(), stats.find_first_of(",}", at) - at - key.size());
    }
    return found;
}

}  // namespace faults
