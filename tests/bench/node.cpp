// weft_bench_node ADDRESS MEMORY COUNT BYTES: the process that owns the blocks which the other
// programs read. It listens at ADDRESS, saves COUNT blocks of BYTES (bench/model), says `ready`
// with its private memory in bytes before and after, and ends when its standard input does.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "client.h"
#include "figure.h"

int main(int argument_count, char** arguments) {
    bench::require(argument_count == 5, "usage: weft_bench_node ADDRESS MEMORY COUNT BYTES");
    const std::string options = "memory=" + std::string(arguments[2]) + ",listen=" + arguments[1];
    const uint64_t count = std::strtoull(arguments[3], nullptr, 10);
    const auto bytes = static_cast<uint32_t>(std::strtoul(arguments[4], nullptr, 10));
    const bench::Client client(options, "bench/model", bytes);
    // One list first: what a first list costs once is not a block's metadata.
    constexpr uint64_t kListBlocks = 1000;
    const uint64_t list =
        std::max<uint64_t>(1, std::min(kListBlocks, (uint64_t{64} << 20) / bytes));
    uint64_t before = 0;
    for (uint64_t first = 0; first < count; first += list) {
        client.save_blocks(first, std::min(list, count - first), bytes);
        if (first == 0) before = bench::private_bytes();
    }
    std::printf("ready %lu %lu\n", before, bench::private_bytes());
    std::fflush(stdout);
    char byte = 0;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    return 0;
}
