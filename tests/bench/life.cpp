// weft_bench_life [--quick]: what a node and its clients cost beside their work: metadata a block,
// a client's first view, and the CPU of a node whose clients are idle.
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "client.h"
#include "figure.h"

namespace {

using bench::Client;
using bench::require;

constexpr uint64_t kBlocks = 1000000;
constexpr uint32_t kBlockBytes = 256;
constexpr int kIdleClients = 4;

/** Bytes that another process's memfds called `name` take, each file once. */
uint64_t memfd_bytes(pid_t pid, const std::string& name) {
    const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
    DIR* listing = opendir(folder.c_str());
    require(listing != nullptr, folder);
    std::vector<ino_t> seen;
    uint64_t sum = 0;
    while (const dirent* entry = readdir(listing)) {
        const std::string path = folder + "/" + entry->d_name;
        char target[256] = {};
        struct stat status{};
        if (readlink(path.c_str(), target, sizeof target - 1) < 0 ||
            stat(path.c_str(), &status) != 0)
            continue;
        if (std::strstr(target, ("/memfd:" + name).c_str()) == nullptr) continue;
        bool new_file = true;
        for (ino_t inode : seen) new_file = new_file && inode != status.st_ino;
        seen.push_back(status.st_ino);
        if (new_file) sum += static_cast<uint64_t>(status.st_blocks) * 512;
    }
    closedir(listing);
    return sum;
}

/** Ns that all threads of a process have run. */
uint64_t cpu_ns(pid_t pid) {
    const std::string folder = "/proc/" + std::to_string(pid) + "/task";
    DIR* listing = opendir(folder.c_str());
    require(listing != nullptr, folder);
    uint64_t sum = 0;
    while (const dirent* entry = readdir(listing)) {
        std::ifstream schedule(folder + "/" + entry->d_name + "/schedstat");
        uint64_t ran = 0;
        if (schedule >> ran) sum += ran;
    }
    closedir(listing);
    return sum;
}

std::string load_average() {
    double load[1] = {};
    char text[40] = "?";
    if (getloadavg(load, 1) == 1) std::snprintf(text, sizeof text, "load average %.2f", load[0]);
    return text;
}

void first_view(const Client& client) {
    weft_item item{};
    bench::set_key(item, 7);
    uint64_t handle = 0;
    require(weft_view(client.store(), client.space(), 0, &item, 1, &handle) == 1,
            "a block is missing");
    require(bench::is_block(reinterpret_cast<const void*>(item.offset), kBlockBytes, 7),
            "a view's bytes are wrong");
    weft_release(client.store(), &handle, 1);
}

void print_opens(const bench::Node& node, const std::string& blocks, size_t rounds) {
    bench::Samples samples;
    for (size_t i = 0; i <= rounds; ++i) {
        const uint64_t start = bench::now_ns();
        const Client client("connect=" + node.address(), "bench/model", kBlockBytes);
        first_view(client);
        if (i > 0) samples.add(static_cast<double>(bench::now_ns() - start) / 1e6);
    }
    bench::Figure figure;
    figure.name = "client open + first view, " + blocks;
    figure.unit = "ms";
    figure.value = samples.median();
    figure.low = samples.quantile(0.1);
    figure.high = samples.quantile(0.9);
    figure.target = bench::Target::value_at_most(10);
    figure.against = load_average();
    figure.print();
}

void print_metadata(const bench::Node& node) {
    const uint64_t index = memfd_bytes(node.pid(), "weft-index");
    const uint64_t private_growth = node.private_after() - node.private_before();
    require(index != 0, "the node has no memfd called weft-index");
    bench::Figure figure;
    figure.name = "metadata a block, 1,000,000 blocks of 256 B";
    figure.unit = "B";
    figure.value = static_cast<double>(index + private_growth) / kBlocks;
    figure.low = figure.high = figure.value;
    figure.target = bench::Target::value_at_most(128);
    figure.against = std::to_string(index / kBlocks) + " B in index memfds and " +
                     std::to_string(private_growth / kBlocks) + " B of the node's private memory";
    figure.print();
}

/** CPU of the node while four processes hold a store each and do nothing. */
void print_idle(const bench::Node& node, unsigned seconds) {
    pid_t clients[kIdleClients];
    int ready[2];
    require(pipe(ready) == 0, "pipe");
    for (pid_t& pid : clients) {
        pid = fork();
        require(pid >= 0, "fork");
        if (pid == 0) {
            const Client client("connect=" + node.address(), "bench/model", kBlockBytes);
            first_view(client);
            require(write(ready[1], "r", 1) == 1, "write");
            for (;;) pause();
        }
    }
    for (int i = 0; i < kIdleClients; ++i) {
        char byte = 0;
        require(read(ready[0], &byte, 1) == 1, "an idle client did not start");
    }
    sleep(1);
    uint64_t clients_before = 0;
    uint64_t clients_after = 0;
    for (pid_t pid : clients) clients_before += cpu_ns(pid);
    const uint64_t node_before = cpu_ns(node.pid());
    const uint64_t start = bench::now_ns();
    sleep(seconds);
    const uint64_t took = bench::now_ns() - start;
    const uint64_t node_ran = cpu_ns(node.pid()) - node_before;
    for (pid_t pid : clients) clients_after += cpu_ns(pid);
    for (pid_t pid : clients) {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
    }
    auto percent = [&](uint64_t ran) {
        return 100.0 * static_cast<double>(ran) / static_cast<double>(took);
    };
    bench::Figure figure;
    figure.name = "CPU of a node with 4 idle clients";
    figure.unit = "% of a core";
    figure.value = figure.low = figure.high = percent(node_ran);
    figure.target = bench::Target::value_at_most(0.2);
    char remark[120];
    std::snprintf(remark, sizeof remark, "over %u s; each client %.3f %%; %s", seconds,
                  percent((clients_after - clients_before) / kIdleClients), load_average().c_str());
    figure.against = remark;
    figure.print();
}

}  // namespace

int main(int argument_count, char** arguments) {
    const bool quick = argument_count > 1 && std::strcmp(arguments[1], "--quick") == 0;
    {
        const bench::Node node("256MiB", 1000, kBlockBytes);
        print_idle(node, quick ? 10 : 100);  // forks: before this process opens a store
        print_opens(node, "1,000 blocks", quick ? 20 : 100);
    }
    const bench::Node node("2GiB", kBlocks, kBlockBytes);
    print_metadata(node);
    print_opens(node, "1,000,000 blocks", quick ? 20 : 100);
    return 0;
}
