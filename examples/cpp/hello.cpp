/**
 * hello: a private cache in this process. The blocks of a prompt are named by its tokens, saved in
 * one op, matched, and read in place.
 */
#include <cstring>
#include <numeric>
#include <weft.hpp>

#include "process.h"

int main() try {
    constexpr size_t kBlockBytes = 65536;  // what 16 tokens leave behind in some model
    const weft::Store store("memory=64MiB");
    const weft::Namespace space(
        store, "demo/hello", "block_tokens=16,parts=1,part_bytes=" + std::to_string(kBlockBytes));
    weft::Queue queue(store);

    // A prompt of 70 tokens has 4 full blocks; each key stands for all tokens up to its block's
    // end.
    std::vector<uint32_t> tokens(70);
    std::iota(tokens.begin(), tokens.end(), 1000u);
    std::vector<weft_item> blocks =
        weft::keys("scheme=vllm-sha256-cbor", tokens.data(), tokens.size(), 16);
    expect(blocks.size() == 4, "4 full blocks");
    expect(space.match(blocks.data(), blocks.size()) == 0, "an empty cache matches nothing");

    // The engine computes them (here: a byte each) and saves all four.
    std::vector<std::byte> computed(blocks.size() * kBlockBytes);
    for (size_t i = 0; i < blocks.size(); i++) {
        std::memset(&computed[i * kBlockBytes], static_cast<int>(i + 1), kBlockBytes);
        blocks[i].offset = reinterpret_cast<uintptr_t>(&computed[i * kBlockBytes]);
        blocks[i].size = kBlockBytes;
    }
    const weft_event saved =
        queue.run(space.list(WEFT_OP_SAVE, blocks.data(), blocks.size(), WEFT_CHAIN));
    expect(saved.status == 0 && saved.value == 4, "4 blocks are saved: " + store.story(saved));

    // The next prompt begins alike: its lead blocks are there, and are read where they lie.
    tokens[40] = 7;
    std::vector<weft_item> next =
        weft::keys("scheme=vllm-sha256-cbor", tokens.data(), tokens.size(), 16);
    const size_t hit = space.match(next.data(), next.size());
    expect(hit == 2, "the first 2 blocks are the same");
    const weft::View views = space.view(next.data(), hit);
    expect(views.event().value == 2, "2 views");
    for (size_t i = 0; i < hit; i++)
        expect(std::memcmp(reinterpret_cast<const void*>(next[i].offset),
                           &computed[i * kBlockBytes], kBlockBytes) == 0,
               "a view has the saved bytes");

    // What is not there is a miss, with its reason.
    std::vector<std::byte> room(kBlockBytes);
    const weft_event miss =
        queue.run(space.load({next[3].key_hi, next[3].key_lo}, room.data(), room.size()));
    expect(miss.status == -WEFT_EMISS && miss.detail == WEFT_MISS_ABSENT, "a miss: absent");
    std::printf("hello: %zu of %zu blocks reused, read in place; block 3: %s\n", hit, next.size(),
                store.story(miss).c_str());
    return 0;
} catch (const std::exception& problem) {
    std::fprintf(stderr, "hello: %s\n", problem.what());
    return 1;
}
