// weft_bench_look [--quick]: view + release of one block, and match of a chain, in another
// process's memory, at 1,000,000 and at 1,000 blocks of 256 B, beside the bare table with the same
// keys in the same order.
#include <cstring>
#include <string>
#include <vector>

#include "bare_table.h"
#include "client.h"
#include "figure.h"

namespace {

using bench::BareTable;
using bench::Client;
using bench::require;

constexpr uint32_t kBlockBytes = 256;
constexpr size_t kRun = 64;  // look-ups between two readings of the clock
constexpr uint32_t kChain = 1000;

/** Keys of random blocks, made ahead of each run so that making them is not timed. */
class Draw {
  public:
    explicit Draw(uint64_t count) : count_(count) {}
    uint64_t next(uint64_t below) {
        state_ = state_ * 6364136223846793005 + 1442695040888963407;
        return (state_ >> 33) % below;
    }
    const std::vector<weft_item>& run() {
        for (auto& item : items_) bench::set_key(item, next(count_));
        return items_;
    }

  private:
    uint64_t count_;
    uint64_t state_ = 42;
    std::vector<weft_item> items_ = std::vector<weft_item>(kRun);
};

/** Every 1,000th view is checked by content, outside the timed part. */
void check_view(const Client& client, Draw& draw, uint64_t count) {
    const uint64_t index = draw.next(count);
    weft_item item{};
    bench::set_key(item, index);
    uint64_t handle = 0;
    require(weft_view(client.store(), client.space(), 0, &item, 1, &handle) == 1,
            "a block is missing");
    require(item.size == kBlockBytes &&
                bench::is_block(reinterpret_cast<void*>(item.offset), item.size, index),
            "a view's bytes are wrong");
    require(weft_release(client.store(), &handle, 1) >= 0, "a view could not be released");
}

bench::Pair time_views(const Client& client, BareTable& table, uint64_t count, size_t rounds) {
    Draw draw(count);
    auto bare = [&] {
        const auto& items = draw.run();
        uint64_t found = 0;
        const uint64_t start = bench::now_ns();
        for (const weft_item& item : items) {
            found += table.acquire(item.key_hi, item.key_lo) >= 0;
            table.release();
        }
        const uint64_t end = bench::now_ns();
        require(found == kRun, "the bare table lost its blocks");
        return static_cast<double>(end - start) / kRun;
    };
    auto ours = [&] {
        std::vector<weft_item> items = draw.run();
        uint64_t found = 0;
        const uint64_t start = bench::now_ns();
        for (weft_item& item : items) {
            uint64_t handle = 0;
            found += weft_view(client.store(), client.space(), 0, &item, 1, &handle) == 1;
            weft_release(client.store(), &handle, 1);
        }
        const uint64_t end = bench::now_ns();
        require(found == kRun, "weft_view found " + std::to_string(found) + " of " +
                                   std::to_string(kRun) + " blocks");
        return static_cast<double>(end - start) / kRun;
    };
    for (int i = 0; i < 100; ++i) check_view(client, draw, count);
    bench::Pair pair = bench::in_turns(rounds, bare, ours);
    for (int i = 0; i < 100; ++i) check_view(client, draw, count);
    return pair;
}

bench::Pair time_matches(const Client& client, const BareTable& table, uint64_t count,
                         size_t rounds) {
    Draw draw(count - kChain);
    std::vector<weft_item> items(kChain);
    auto timed = [&](auto match) {
        const uint64_t first = draw.next(count - kChain);
        for (uint32_t i = 0; i < kChain; ++i) bench::set_key(items[i], first + i);
        const uint64_t start = bench::now_ns();
        match();
        return static_cast<double>(bench::now_ns() - start) / 1000;
    };
    auto bare = [&] {
        uint32_t matched = 0;
        const double took = timed([&] { matched = table.match(items.data(), kChain); });
        require(matched == kChain, "the bare table lost its blocks");
        return took;
    };
    auto ours = [&] {
        int32_t matched = 0;
        const double took = timed(
            [&] { matched = weft_match(client.store(), client.space(), items.data(), kChain); });
        require(matched == static_cast<int32_t>(kChain),
                "weft_match counted " + std::to_string(matched));
        return took;
    };
    return bench::in_turns(rounds, bare, ours);
}

void measure(uint64_t count, const std::string& memory, bool quick, double limit) {
    const bench::Node node(memory, count, kBlockBytes);
    const Client client("connect=" + node.address(), "bench/model", kBlockBytes);
    uint64_t ignored = 0;
    weft_item item{};
    bench::set_key(item, 0);
    require(weft_view(client.store(), client.space(), 0, &item, 1, &ignored) == 1,
            "block 0 is missing");
    weft_release(client.store(), &ignored, 1);
    BareTable table(count, bench::has_huge_pages("weft-index"));
    const std::string blocks = count == 1000 ? "1,000 blocks" : "1,000,000 blocks";
    bench::figure_of("view + release, " + blocks, "ns",
                     time_views(client, table, count, quick ? 1000 : 8000),
                     bench::Target::ratio_at_most(limit), "bare table look-up with fence and clock")
        .print();
    if (count <= kChain) return;
    bench::figure_of("match of 1,000 chained keys, " + blocks, "us",
                     time_matches(client, table, count, quick ? 200 : 2000),
                     bench::Target::ratio_at_most(1.75), "bare batched look-up")
        .print();
}

}  // namespace

int main(int argument_count, char** arguments) {
    const bool quick = argument_count > 1 && std::strcmp(arguments[1], "--quick") == 0;
    measure(1000000, "2GiB", quick, 2.2);
    measure(1000, "256MiB", quick, 3.0);
    return 0;
}
