// The settings that a seed draws, and the files.
#include "tests/sim/seeds/host.h"

#include <algorithm>
#include <cstdlib>

namespace weft::seeds {
namespace {

constexpr uint64_t kPage = 4096;
Host* the_host = nullptr;

}  // namespace

Host& host() { return *the_host; }

Host::Host(uint64_t seed, Histories& memory) : scheduler(seed, memory), memory(memory) {
    the_host = this;
    Random& random = scheduler.random();
    files_.reserve(4096);
    set.clients = static_cast<uint32_t>(random.between(2, 5));
    set.operations = static_cast<uint32_t>(random.between(10, 100));
    static constexpr uint32_t kParts[] = {1024, 4096, 64 << 10, 128 << 10};
    set.part_bytes = kParts[random.below(4)];
    set.parts = random.one_in(3) ? 2 : 1;
    // Memory is small by a quota, however small the blocks are; or the node's is, and the
    // namespaces take it from each other; or there is enough.
    uint64_t block = uint64_t{set.part_bytes} * set.parts;
    uint64_t scarce = random.below(4);
    set.memory = 16 << 20;
    set.keys = static_cast<uint32_t>(random.between(2, 16));
    if (scarce < 2) set.quota = (block * random.between(3, 10) + 4095) & ~uint64_t{4095};
    if (scarce == 2) {
        set.memory = random.one_in(2) ? 3 << 20 : 5 << 20;
        set.operations += 40;
        set.part_bytes = 128 << 10;
        set.keys = static_cast<uint32_t>(random.between(16, 40));
    }
    if (set.part_bytes <= 4096 && random.one_in(2))
        set.keys = static_cast<uint32_t>(random.between(16, 100));
    set.advance_one_in = random.one_in(2) ? 8 : 1;
    set.ttl_s = random.one_in(4) ? 1 : 0;
    draw_theme(random);
    static constexpr uint32_t kPieces[] = {1024, 8 << 10, 64 << 10};
    set.piece = kPieces[random.below(3)];
    set.follow_one_in = random.one_in(2) ? 1 : 4;
    set.state = !random.one_in(4);
    auto often = [&](uint32_t most) {
        return random.one_in(3) ? 0 : static_cast<uint32_t>(random.between(1, most));
    };
    set.kills = often(3);
    set.pauses = often(5);
    set.cuts = often(4);
    set.node_ends = often(2);
    static constexpr uint32_t kLate[] = {8, 30, 300};
    set.late_one_in = kLate[random.below(3)];
    set.map_fails_one_in = random.one_in(3) ? 20 : 0;
    set.memory_fails_one_in = random.one_in(3) ? 20 : 0;
    set.disk_fails_one_in = random.one_in(4) ? 3 : 0;
}

void Host::draw_theme(Random& random) {
    static constexpr Theme kThemes[] = {Theme::any, Theme::any,   Theme::any,   Theme::hot,
                                        Theme::hot, Theme::grows, Theme::turns, Theme::turns};
    set.theme = kThemes[random.below(8)];
    if (set.theme == Theme::hot) {
        set.keys = static_cast<uint32_t>(random.between(1, 4));
        set.replace_one_in = 1;
        set.rest_one_in = 40;
        set.operations += 150;
        // Nothing excuses a block that is not there; or a block soon comes back to the slot that it
        // was in.
        uint64_t block = uint64_t{set.part_bytes} * set.parts;
        set.quota = random.one_in(2) ? 0 : (block * (set.keys + 2) + 4095) & ~uint64_t{4095};
    }
    if (set.theme == Theme::grows) {
        set.parts = 1;
        set.part_bytes = 1024;
        set.memory = 16 << 20;
        set.quota = 0;
        set.ttl_s = 0;
        set.advance_one_in = 40;
        set.keys = static_cast<uint32_t>(random.between(60, 250));
        set.rest_one_in = 40;
        set.operations += 50;
    }
    if (set.theme == Theme::turns) {
        set.part_bytes = 128 << 10;
        set.memory = random.one_in(2) ? 3 << 20 : 5 << 20;
        set.quota = 0;
        set.keys = static_cast<uint32_t>(random.between(24, 60));
        set.operations += 40;
    }
}

Host::~Host() { the_host = nullptr; }

uint32_t Host::create(uint64_t size, bool words) {
    size = (size + kPage - 1) & ~(kPage - 1);
    File file;
    file.size = size;
    if (words) {
        file.begin = reinterpret_cast<std::byte*>(memory.words() + words_taken_);
        words_taken_ += size / sizeof(uint64_t);
        if (words_taken_ > Histories::kWords) abort();
    } else {
        file.begin = memory.bytes() + bytes_taken_;
        bytes_taken_ += size;
        if (bytes_taken_ > Histories::kBytesMax) abort();
    }
    files_.push_back(std::move(file));
    return static_cast<uint32_t>(files_.size() - 1);
}

File* Host::file_at(const void* address) {
    for (File& file : files_) {
        if (address >= file.begin && address < file.begin + file.size) return &file;
    }
    return nullptr;
}

uint64_t Host::node_bytes(uint32_t process) const {
    uint64_t bytes = 0;
    for (const File& file : files_) {
        bool data = file.begin >= memory.bytes() && file.begin < memory.bytes() + bytes_taken_;
        auto made = file.write.find(process);
        if (data && !file.punched && made != file.write.end() && made->second > 0)
            bytes += file.size;
    }
    return bytes;
}

void Host::unmap(const void* address) {
    File* file = file_at(address);
    if (file == nullptr || !scheduler.inside()) return;
    // Which of a process's mappings goes is all the same: the writer's is asked for by writes.
    uint32_t process = scheduler.process().id;
    uint32_t& read = file->read[process];
    uint32_t& write = file->write[process];
    if (read > 0) {
        read--;
    } else if (write > 0) {
        write--;
    }
}

void Host::punch(std::byte* address) {
    File* file = file_at(address);
    uint32_t own = scheduler.process().id;
    for (const auto& mappings : {file->read, file->write}) {
        for (auto [process, count] : mappings) {
            const Proc& other = scheduler.process(process);
            if (count > 0 && process != own && other.alive && other.closing == 0 && !lingers(other))
                scheduler.fail("P1: a segment is punched that process " + std::to_string(process) +
                               " still maps");
        }
    }
    file->punched = true;
}

void Host::access(const void* address, size_t size, bool write) {
    auto* at = static_cast<std::byte*>(const_cast<void*>(address));
    uint32_t process = scheduler.process().id;
    if (at >= memory.bytes() && at < memory.bytes() + bytes_taken_) {
        File* file = file_at(at);
        const char* what = write ? " written to" : " read";
        if (file == nullptr || at + size > file->begin + file->size || file->punched)
            scheduler.fail(std::string("P1: bytes of no live segment are") + what);
        uint32_t mappings =
            write ? file->write[process] : file->read[process] + file->write[process];
        if (mappings == 0)
            scheduler.fail(std::string("P4: bytes that the process has not mapped are") + what);
        bool ordered = write ? memory.write_bytes(at, size) : memory.read_bytes(at, size);
        if (!ordered)
            scheduler.fail(std::string("P1: block bytes are") + what +
                           " while another process may still use them");
        return;
    }
    if (!write) return;
    auto lent = lent_.upper_bound(at);
    if (lent == lent_.begin()) return;
    --lent;
    if (at < lent->first + lent->second.size && lent->second.ops == 0)
        scheduler.fail("P5: memory is written to after the event of the op that named it");
}

}  // namespace weft::seeds
