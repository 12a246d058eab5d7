/**
 * stream: a reader follows a writer layer by layer, so that decode can start on the first layers
 * while prefill still writes the last. Here they go in step, which proves that nothing waits for
 * the end: each layer is written only after the reader has read the one before.
 */
#include <algorithm>
#include <weft.hpp>

#include "process.h"

namespace {

constexpr uint32_t kLayers = 8;
constexpr size_t kLayerBytes = 131072;
constexpr const char* kLayout = "parts=1,layers=8,part_bytes=1048576";
const char* const kName = "a prompt's block";

/** Follows: opens a view of what is still being written, then waits for each layer to be final. */
void decode(const std::string& address) {
    const weft::Store store("connect=" + address);
    const weft::Namespace space(store, "demo/stream", kLayout);
    weft::Queue queue(store);
    const weft::Key key = weft::Key::of(kName);
    const weft::View view = queue.view(space.op(WEFT_OP_VIEW, key, WEFT_FOLLOW));
    expect(bool(view), "a view of a block being written: " + store.story(view.event()));
    for (uint32_t layer = 0; layer < kLayers; layer++) {
        weft_op wait = space.op(WEFT_OP_WAIT, key, WEFT_FOLLOW);
        wait.start = uint32_t(layer * kLayerBytes);
        wait.size = kLayerBytes;
        const weft_event event = queue.run(wait);
        expect(event.status == 0, "the layer comes: " + store.story(event));
        const std::byte* from = view.data() + wait.start;
        expect(std::all_of(from, from + kLayerBytes,
                           [layer](std::byte b) { return b == std::byte(layer + 1); }),
               "the layer's bytes");
        std::printf("layer %u read, %llu bytes are final\n", layer,
                    static_cast<unsigned long long>(event.value));
        std::fflush(stdout);
    }
    // What was read counts only if the block was published: had the writer given up, this would say
    // so.
    const weft_event whole = queue.run(space.op(WEFT_OP_WAIT, key));
    expect(whole.status == 0, "the block is published: " + store.story(whole));
}

void prefill() {
    const std::string address = new_address();
    const weft::Store node("memory=64MiB,listen=" + address);
    const weft::Namespace space(node, "demo/stream", kLayout);
    weft::Queue queue(node);
    weft::Reservation block = queue.reserve(space.op(WEFT_OP_RESERVE, weft::Key::of(kName)));
    expect(block && block.size() == kLayers * kLayerBytes, "memory to write in place");
    Process reader({address});
    for (uint32_t layer = 0; layer < kLayers; layer++) {
        std::fill_n(block.data() + layer * kLayerBytes, kLayerBytes, std::byte(layer + 1));
        const weft_event final = block.commit_more((layer + 1) * kLayerBytes);
        expect(final.status == 0, "the layer is final: " + node.story(final));
        expect(!reader.line().empty(), "the reader reads it");
    }
    const weft_event published = block.commit();
    expect(published.status == 0 && published.detail == 1,
           "it is published: " + node.story(published));
    reader.finish();
    std::puts("stream: every layer was read before the next was written");
}

}  // namespace

int main(int argc, char** argv) try {
    argc > 1 ? decode(argv[1]) : prefill();
    return 0;
} catch (const std::exception& problem) {
    std::fprintf(stderr, "stream: %s\n", problem.what());
    return 1;
}
