// The bodies of client.h. A node is another program, started with exec, because a store does not
// cross fork; what this process knows of its own mappings it reads from /proc.
#include "client.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "figure.h"

namespace bench {
namespace {

uint64_t mixed(uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

std::string folder() {
    const char* temporary = std::getenv("TMPDIR");
    return temporary != nullptr ? temporary : "/tmp";
}

/** The program NAME beside this one. */
std::string beside(const std::string& name) {
    char self[4096] = {};
    require(readlink("/proc/self/exe", self, sizeof self - 1) > 0, "readlink /proc/self/exe");
    const std::string path = self;
    return path.substr(0, path.rfind('/') + 1) + name;
}

/** The sum in bytes of a kB field over the mappings whose head line holds `name`, each only while
 * `counts`. */
uint64_t smaps_sum(const std::string& name, const std::string& field) {
    std::ifstream smaps("/proc/self/smaps");
    std::string line;
    bool counts = false;
    uint64_t sum = 0;
    while (std::getline(smaps, line)) {
        const size_t space = line.find(' ');
        if (line.compare(space - 1, 1, ":") != 0) {
            counts = line.find(name) != std::string::npos;
        } else if (counts && line.starts_with(field + ":")) {
            sum += std::strtoull(line.c_str() + field.size() + 1, nullptr, 10) * 1024;
        }
    }
    return sum;
}

}  // namespace

void set_key(weft_item& item, uint64_t index) {
    item.key_hi = mixed(index * 2 + 0x9e3779b97f4a7c15);
    item.key_lo = mixed(index * 2 + 0x9e3779b97f4a7c16);
}

void fill_block(void* bytes, size_t size, uint64_t index) {
    auto* out = static_cast<unsigned char*>(bytes);
    for (size_t at = 0; at < size; at += 8) {
        const uint64_t word = (index + 1) * 0x9e3779b97f4a7c15 + at;
        std::memcpy(out + at, &word, std::min<size_t>(8, size - at));
    }
}

bool is_block(const void* bytes, size_t size, uint64_t index) {
    const auto* in = static_cast<const unsigned char*>(bytes);
    for (size_t at = 0; at < size; at += 8) {
        const uint64_t word = (index + 1) * 0x9e3779b97f4a7c15 + at;
        if (std::memcmp(in + at, &word, std::min<size_t>(8, size - at)) != 0) return false;
    }
    return true;
}

Arena::Arena(size_t size, bool huge) : size_(size) {
    const int fd = memfd_create("bench-arena", MFD_CLOEXEC);
    require(fd >= 0 && ftruncate(fd, static_cast<off_t>(size)) == 0,
            "memfd of " + std::to_string(size) + " bytes");
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    require(at != MAP_FAILED, "mmap of " + std::to_string(size) + " bytes");
    close(fd);
    madvise(at, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    std::memset(at, 1, size);
    begin_ = static_cast<std::byte*>(at);
}

Arena::~Arena() { munmap(begin_, size_); }

bool has_huge_pages(const std::string& name) {
    return smaps_sum("memfd:" + name, "ShmemPmdMapped") * 2 > smaps_sum("memfd:" + name, "Rss");
}

uint64_t private_bytes() { return smaps_sum("", "Anonymous"); }

Node::Node(const std::string& memory, uint64_t count, uint32_t bytes) {
    static int serial = 0;
    const std::string path =
        folder() + "/bench-" + std::to_string(getpid()) + "-" + std::to_string(serial++) + ".sock";
    address_ = "unix:" + path;
    int to_child[2];
    int from_child[2];
    require(pipe2(to_child, O_CLOEXEC) == 0 && pipe2(from_child, O_CLOEXEC) == 0, "pipe2");
    const std::string program = beside("weft_bench_node");
    const std::string number = std::to_string(count);
    const std::string size = std::to_string(bytes);
    pid_ = fork();
    require(pid_ >= 0, "fork");
    if (pid_ == 0) {
        dup2(to_child[0], STDIN_FILENO);
        dup2(from_child[1], STDOUT_FILENO);
        execl(program.c_str(), program.c_str(), address_.c_str(), memory.c_str(), number.c_str(),
              size.c_str(), nullptr);
        _exit(127);
    }
    close(to_child[0]);
    close(from_child[1]);
    stop_ = to_child[1];
    FILE* words = fdopen(from_child[0], "r");
    unsigned long before = 0;
    unsigned long after = 0;
    require(words != nullptr && std::fscanf(words, "ready %lu %lu", &before, &after) == 2,
            program + " did not say that it is ready");
    std::fclose(words);
    private_before_ = before;
    private_after_ = after;
}

Node::~Node() {
    close(stop_);
    int status = 0;
    waitpid(pid_, &status, 0);
    require(status == 0, "the node ended with status " + std::to_string(status));
}

Client::Client(const std::string& options, const std::string& name, uint32_t bytes) {
    weft_error error{};
    error.struct_size = sizeof error;
    require(weft_open(options.c_str(), &store_, &error) == 0,
            "weft_open: " + std::string(error.message));
    weft_namespace opened{};
    opened.struct_size = sizeof opened;
    const std::string layout = "parts=1,block_tokens=16,part_bytes=" + std::to_string(bytes);
    require(weft_namespace_open(store_, name.c_str(), layout.c_str(), &opened, &error) == 0,
            "weft_namespace_open " + name + ": " + error.message);
    space_ = opened.space;
    require(weft_region_adopt(store_, 0, 0, -1, &region_, &error) == 0,
            "weft_region_adopt: " + std::string(error.message));
    require(weft_queue_open(store_, nullptr, &queue_, &error) == 0,
            "weft_queue_open: " + std::string(error.message));
}

Client::~Client() {
    while (weft_queue_close(queue_) > 0) {
        weft_event event{};
        weft_reap(queue_, &event, 1, 1000);
    }
    weft_region_drop(store_, region_);
    weft_namespace_close(store_, space_);
    weft_close(store_);
}

weft_op Client::op(uint16_t kind) const {
    weft_op made{};
    made.kind = kind;
    made.space = space_;
    made.region = region_;
    return made;
}

weft_op Client::list(uint16_t kind, const std::vector<weft_item>& items, uint32_t flags) const {
    weft_op made = op(kind);
    made.flags = WEFT_LIST | flags;
    made.key_hi = items.size();
    made.key_lo = region_;
    made.offset = reinterpret_cast<uintptr_t>(items.data());
    return made;
}

weft_event Client::run(const weft_op& op) const {
    require(weft_submit(queue_, &op, 1) == 1, "weft_submit took no op");
    weft_event event{};
    require(weft_reap(queue_, &event, 1, 60000) == 1, "no event within a minute");
    return event;
}

void Client::save_blocks(uint64_t first, size_t count, uint32_t bytes) const {
    std::vector<unsigned char> content(count * bytes);
    std::vector<weft_item> items(count);
    for (size_t i = 0; i < count; ++i) {
        unsigned char* block = content.data() + i * bytes;
        fill_block(block, bytes, first + i);
        set_key(items[i], first + i);
        items[i].offset = reinterpret_cast<uintptr_t>(block);
        items[i].size = bytes;
    }
    const weft_event event = run(list(WEFT_OP_SAVE, items, WEFT_CHAIN));
    require(event.status >= 0 && event.value == count,
            "saving " + std::to_string(count) + " blocks ended with " +
                weft_code_name(-event.status) + " after " + std::to_string(event.value));
}

}  // namespace bench
