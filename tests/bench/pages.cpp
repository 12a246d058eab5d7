// weft_bench_pages [--quick]: blocks to and from an engine's paged memory, a pool of 32 layers, all
// layers of 32 pages in one op, beside memcpy of the same runs of bytes.
//
// The reference of a load copies from the addresses that views of such blocks give, run by run,
// into the same pages; that of a save copies the pages' runs into an arena as large as the node's
// memory, whose places are taken in turn. Neither makes a checksum.
#include <cstring>
#include <string>
#include <vector>

#include "client.h"
#include "figure.h"

namespace {

using bench::Client;
using bench::require;

constexpr uint32_t kBlockBytes = 1 << 20;
constexpr size_t kLayers = 32;
constexpr size_t kRun = kBlockBytes / kLayers;
constexpr size_t kBatch = 32;
constexpr size_t kPages = 2 * kBatch;
constexpr uint64_t kBlocks = 512;
constexpr size_t kNodeBytes = size_t{1} << 30;

/** The engine's memory: layer behind layer, the pages of each in a row. */
struct Engine {
    explicit Engine(const Client& client) : bytes(kLayers * kPages * kRun), store(client.store()) {
        std::vector<uint64_t> bases;
        for (size_t layer = 0; layer < kLayers; ++layer)
            bases.push_back(reinterpret_cast<uintptr_t>(run(layer, 0)));
        std::memset(bytes.data(), 1, bytes.size());
        const std::string layout =
            "pages=" + std::to_string(kPages) + ",bytes=" + std::to_string(kRun);
        require(
            weft_pool_open(store, layout.c_str(), bases.data(), kLayers, -1, &region, nullptr) >= 0,
            "the pool cannot be opened");
    }
    ~Engine() { weft_region_drop(store, region); }
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    std::byte* run(size_t layer, size_t page) {
        return bytes.data() + (layer * kPages + page) * kRun;
    }
    std::vector<std::byte> bytes;
    weft_store* store;
    uint32_t region = 0;
};

/** Pages are never in the order of blocks. */
size_t page_of(size_t i) { return (i * 7 + 3) % kPages; }

bench::Pair time_loads(const Client& client, size_t rounds) {
    Engine engine(client);
    uint64_t at = 0;
    auto next = [&] {
        std::vector<weft_item> items(kBatch);
        for (size_t i = 0; i < kBatch; ++i) {
            bench::set_key(items[i], (at++ * 37) % kBlocks);
            items[i].offset = page_of(i);
        }
        return items;
    };
    auto reference = [&] {
        std::vector<weft_item> items = next();
        uint64_t handle = 0;
        require(weft_view(client.store(), client.space(), 0, items.data(), kBatch, &handle) ==
                    int32_t{kBatch},
                "weft_view misses blocks");
        const uint64_t start = bench::now_ns();
        for (size_t i = 0; i < kBatch; ++i) {
            const auto* from = reinterpret_cast<const std::byte*>(items[i].offset);
            for (size_t layer = 0; layer < kLayers; ++layer)
                std::memcpy(engine.run(layer, page_of(i)), from + layer * kRun, kRun);
        }
        const uint64_t took = bench::now_ns() - start;
        weft_release(client.store(), &handle, 1);
        return static_cast<double>(took);
    };
    auto ours = [&] {
        const uint64_t first = (at * 37) % kBlocks;
        const std::vector<weft_item> items = next();
        weft_op op = client.list(WEFT_OP_LOAD, items, 0);
        op.region = engine.region;
        const uint64_t start = bench::now_ns();
        const weft_event event = client.run(op);
        const uint64_t took = bench::now_ns() - start;
        require(event.status >= 0 && event.value == kBatch, "a load ended early");
        std::vector<std::byte> block;
        for (size_t layer = 0; layer < kLayers; ++layer) {
            const std::byte* run = engine.run(layer, page_of(0));
            block.insert(block.end(), run, run + kRun);
        }
        require(bench::is_block(block.data(), kBlockBytes, first), "a page's bytes are wrong");
        return static_cast<double>(took);
    };
    for (size_t i = 0; i < 2 * kBlocks / kBatch; ++i) reference();
    return bench::in_turns(rounds, reference, ours);
}

bench::Pair time_saves(const Client& client, size_t rounds) {
    Engine engine(client);
    const bench::Arena arena(kNodeBytes, bench::has_huge_pages("weft-data"));
    size_t at = 0;
    uint64_t key = uint64_t{1} << 42;
    auto reference = [&] {
        const uint64_t start = bench::now_ns();
        for (size_t i = 0; i < kBatch; ++i) {
            for (size_t layer = 0; layer < kLayers; ++layer)
                std::memcpy(arena.begin() + at + layer * kRun, engine.run(layer, page_of(i)), kRun);
            at = (at + kBlockBytes) % arena.size();
        }
        return static_cast<double>(bench::now_ns() - start);
    };
    auto ours = [&] {
        std::vector<weft_item> items(kBatch);
        for (size_t i = 0; i < kBatch; ++i) {
            bench::set_key(items[i], key++);
            items[i].offset = page_of(i);
        }
        weft_op op = client.list(WEFT_OP_SAVE, items, WEFT_CHAIN);
        op.region = engine.region;
        const uint64_t start = bench::now_ns();
        const weft_event event = client.run(op);
        require(event.status >= 0 && event.value == kBatch, "a save ended early");
        return static_cast<double>(bench::now_ns() - start);
    };
    // Once through the node's memory, so that every slot has been mapped and touched.
    for (size_t i = 0; i < 2 * kNodeBytes / (kBatch * kBlockBytes); ++i) ours();
    return bench::in_turns(rounds, reference, ours);
}

}  // namespace

int main(int argument_count, char** arguments) {
    const bool quick = argument_count > 1 && std::strcmp(arguments[1], "--quick") == 0;
    const size_t rounds = quick ? 30 : 150;
    const bench::Node node("1GiB,prefault=yes", kBlocks, kBlockBytes);
    const Client client("connect=" + node.address(), "bench/model", kBlockBytes);
    bench::figure_of("load 32 blocks of 1 MiB into a pool's pages, 32 layers", "ns",
                     time_loads(client, rounds), bench::Target::ratio_at_least(0.90),
                     "memcpy of the same runs of 32 KiB")
        .as_rate(kBatch * kBlockBytes)
        .print();
    bench::figure_of("save 32 pages of a pool, 32 layers, with checksum", "ns",
                     time_saves(client, rounds), bench::Target::none(),
                     "memcpy of the same runs of 32 KiB")
        .as_rate(kBatch * kBlockBytes)
        .print();
    return 0;
}
