// weft_bench_move [--quick]: loads and saves, embedded and through a node, beside memcpy of the
// same blocks.
//
// A load's reference copies the very bytes: from the addresses that views of such blocks give, to
// the same place. A save's reference copies the same source into an arena as large as the node's
// memory, whose places are taken in turn as the node takes its slots. Ours and the reference never
// use the same block in one turn, so that neither finds it in a cache.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "client.h"
#include "empty_call.h"
#include "figure.h"

namespace {

using bench::Client;
using bench::require;

constexpr uint32_t kBlockBytes = 1 << 20;
constexpr size_t kBatch = 32;
constexpr uint64_t kBlocks = 512;
constexpr uint32_t kSmallBytes = 256;
constexpr size_t kSmallBatch = 64;
const char* const kNodeMemory = "1GiB,prefault=yes";
constexpr size_t kNodeBytes = size_t{1} << 30;

/** Batches of blocks that are there, each later than the ones before. */
class Batches {
  public:
    std::vector<weft_item> next(size_t count, std::byte* to) {
        std::vector<weft_item> items(count);
        for (size_t i = 0; i < count; ++i) {
            const uint64_t index = (at_++ * 37) % kBlocks;
            bench::set_key(items[i], index);
            items[i].offset = to == nullptr ? 0 : reinterpret_cast<uintptr_t>(to + i * kBlockBytes);
            items[i].size = to == nullptr ? 0 : kBlockBytes;
            indices_.resize(count);
            indices_[i] = index;
        }
        return items;
    }
    uint64_t index(size_t i) const { return indices_[i]; }

  private:
    uint64_t at_ = 0;
    std::vector<uint64_t> indices_;
};

/** Loads of `count` blocks and memcpy of such blocks' views, each timed as ns a turn. */
bench::Pair time_loads(const Client& client, size_t count, size_t rounds) {
    std::vector<std::byte> place(count * kBlockBytes + 4096);
    std::byte* const to = place.data() + 4096 - reinterpret_cast<uintptr_t>(place.data()) % 4096;
    std::memset(to, 1, count * kBlockBytes);
    Batches batches;
    auto reference = [&] {
        std::vector<weft_item> items = batches.next(count, nullptr);
        uint64_t handle = 0;
        const int32_t viewed = weft_view(client.store(), client.space(), 0, items.data(),
                                         static_cast<uint32_t>(count), &handle);
        require(viewed == static_cast<int32_t>(count),
                "weft_view gave " + std::to_string(viewed) + " blocks");
        const uint64_t start = bench::now_ns();
        for (size_t i = 0; i < count; ++i) {
            std::memcpy(to + i * kBlockBytes, reinterpret_cast<const void*>(items[i].offset),
                        kBlockBytes);
        }
        const uint64_t took = bench::now_ns() - start;
        weft_release(client.store(), &handle, 1);
        return static_cast<double>(took);
    };
    bool checked = false;
    auto ours = [&] {
        const std::vector<weft_item> items = batches.next(count, to);
        const weft_op op = client.list(WEFT_OP_LOAD, items, 0);
        const uint64_t start = bench::now_ns();
        const weft_event event = client.run(op);
        const uint64_t took = bench::now_ns() - start;
        require(event.status >= 0 && event.value == count,
                "a load ended with " + std::string(weft_code_name(-event.status)));
        for (size_t i = 0; !checked && i < count; ++i) {
            require(bench::is_block(to + i * kBlockBytes, kBlockBytes, batches.index(i)),
                    "a load's bytes are wrong");
        }
        checked = true;
        return static_cast<double>(took);
    };
    // Touches every block once in this process: a mapping's first use of a page is a fault, for
    // either side.
    for (size_t i = 0; i < 2 * kBlocks / count; ++i) reference();
    return bench::in_turns(rounds, reference, ours);
}

void print_loads(const Client& client, const std::string& where, size_t rounds) {
    bench::figure_of("load 1 MiB, batch of 32, " + where, "ns", time_loads(client, kBatch, rounds),
                     bench::Target::ratio_at_least(0.90), "memcpy of the same blocks")
        .as_rate(kBatch * kBlockBytes)
        .print();
    bench::figure_of("load 1 MiB, single, " + where, "ns", time_loads(client, 1, rounds * 16),
                     bench::Target::ratio_at_most(1.15), "memcpy of such a block")
        .as_microseconds()
        .print();
}

/** Saves of fresh blocks, and copies of the same source into an arena of the node's size. */
bench::Pair time_saves(const Client& client, size_t rounds) {
    std::vector<std::byte> source(kBatch * kBlockBytes);
    for (size_t i = 0; i < kBatch; ++i)
        bench::fill_block(source.data() + i * kBlockBytes, kBlockBytes, i);
    const bench::Arena arena(kNodeBytes, bench::has_huge_pages("weft-data"));
    size_t at = 0;
    uint64_t key = uint64_t{1} << 40;
    auto reference = [&] {
        const uint64_t start = bench::now_ns();
        for (size_t i = 0; i < kBatch; ++i) {
            std::memcpy(arena.begin() + at, source.data() + i * kBlockBytes, kBlockBytes);
            at = (at + kBlockBytes) % arena.size();
        }
        return static_cast<double>(bench::now_ns() - start);
    };
    auto ours = [&] {
        std::vector<weft_item> items(kBatch);
        for (size_t i = 0; i < kBatch; ++i) {
            bench::set_key(items[i], key++);
            items[i].offset = reinterpret_cast<uintptr_t>(source.data() + i * kBlockBytes);
            items[i].size = kBlockBytes;
        }
        const weft_op op = client.list(WEFT_OP_SAVE, items, WEFT_CHAIN);
        const uint64_t start = bench::now_ns();
        const weft_event event = client.run(op);
        const uint64_t took = bench::now_ns() - start;
        require(event.status >= 0 && event.value == kBatch,
                "a save ended with " + std::string(weft_code_name(-event.status)));
        weft_item& last = items.back();
        uint64_t handle = 0;
        require(weft_view(client.store(), client.space(), 0, &last, 1, &handle) == 1 &&
                    std::memcmp(reinterpret_cast<const void*>(last.offset),
                                source.data() + (kBatch - 1) * kBlockBytes, 4096) == 0,
                "what was saved is not there, or other bytes");
        weft_release(client.store(), &handle, 1);
        return static_cast<double>(took);
    };
    // Once through the node's memory, so that every slot has been mapped and touched, and old
    // blocks make room from then on.
    for (size_t i = 0; i < 2 * kNodeBytes / (kBatch * kBlockBytes); ++i) ours();
    return bench::in_turns(rounds, reference, ours);
}

void print_saves(const Client& client, size_t rounds) {
    bench::figure_of("save 1 MiB with checksum, batch of 32, node", "ns",
                     time_saves(client, rounds), bench::Target::ratio_at_least(0.85),
                     "memcpy of the same blocks")
        .as_rate(kBatch * kBlockBytes)
        .print();
}

/** Saves of 64 small blocks, beside an empty op through the same node and the bare empty call. */
void print_small_saves(const Client& client, bench::EmptyCall& empty, size_t rounds) {
    std::vector<std::byte> source(kSmallBatch * kSmallBytes);
    for (size_t i = 0; i < kSmallBatch; ++i)
        bench::fill_block(source.data() + i * kSmallBytes, kSmallBytes, i);
    uint64_t key = uint64_t{1} << 41;
    auto timed = [](auto body) {
        const uint64_t start = bench::now_ns();
        body();
        return static_cast<double>(bench::now_ns() - start);
    };
    auto save = [&] {
        std::vector<weft_item> items(kSmallBatch);
        for (size_t i = 0; i < kSmallBatch; ++i) {
            bench::set_key(items[i], key++);
            items[i].offset = reinterpret_cast<uintptr_t>(source.data() + i * kSmallBytes);
            items[i].size = kSmallBytes;
        }
        const weft_op op = client.list(WEFT_OP_SAVE, items, WEFT_CHAIN);
        weft_event event{};
        const double took = timed([&] { event = client.run(op); });
        require(event.status >= 0 && event.value == kSmallBatch,
                "a small save ended with " + std::string(weft_code_name(-event.status)));
        return took;
    };
    auto call = [&] { return timed([&] { empty.call(); }); };
    weft_item absent{};
    bench::set_key(absent, uint64_t{1} << 43);
    auto nothing = [&] {
        weft_op op = client.op(WEFT_OP_REMOVE);
        op.key_hi = absent.key_hi;
        op.key_lo = absent.key_lo;
        op.region = 0;
        return timed([&] { client.run(op); });
    };
    bench::figure_of("save 64 blocks of 256 B, node", "ns", bench::in_turns(rounds, call, save),
                     bench::Target::ratio_at_most(1.5),
                     "an empty Cap'n Proto call to another process")
        .as_microseconds()
        .print();
    bench::figure_of("the same beside an op that finds nothing to do", "ns",
                     bench::in_turns(rounds, nothing, save), bench::Target::none(),
                     "REMOVE of an absent block, through the node")
        .as_microseconds()
        .print();
}

}  // namespace

int main(int argument_count, char** arguments) {
    const bool quick = argument_count > 1 && std::strcmp(arguments[1], "--quick") == 0;
    const size_t rounds = quick ? 30 : 150;
    bench::EmptyCall empty;  // forks: before any store
    {
        const Client embedded("memory=1GiB,prefault=yes", "bench/model", kBlockBytes);
        for (uint64_t first = 0; first < kBlocks; first += kBatch)
            embedded.save_blocks(first, kBatch, kBlockBytes);
        print_loads(embedded, "embedded", rounds);
    }
    {
        const bench::Node node(kNodeMemory, kBlocks, kBlockBytes);
        const Client client("connect=" + node.address(), "bench/model", kBlockBytes);
        print_loads(client, "node", rounds);
        print_saves(client, rounds);
    }
    const bench::Node node("256MiB,prefault=yes", 1000, kSmallBytes);
    const Client client("connect=" + node.address(), "bench/model", kSmallBytes);
    print_small_saves(client, empty, quick ? 300 : 3000);
    return 0;
}
