/**
 * ranks: a block of two parts, each saved by a process of its own, as the ranks of a
 * tensor-parallel engine do. They name one writer, so that their parts join; nobody sees the block
 * before both are in.
 */
#include <algorithm>
#include <weft.hpp>

#include "process.h"

namespace {

constexpr size_t kPartBytes = 524288;
constexpr const char* kLayout = "parts=2,part_bytes=524288,writer=engine-0";
const char* const kName = "a block of two parts";

bool part_is_right(weft::Queue& queue, const weft::Namespace& space, uint16_t part) {
    weft_op op = space.op(WEFT_OP_VIEW, weft::Key::of(kName));
    op.part = part;
    const weft::View view = queue.view(op);
    return view && view.size() == kPartBytes &&
           std::all_of(view.begin(), view.end(),
                       [part](std::byte b) { return b == std::byte(part + 1); });
}

void rank(const std::string& address, uint16_t part) {
    const weft::Store store("connect=" + address);
    const weft::Namespace space(store, "demo/ranks", kLayout);
    weft::Queue queue(store);
    const weft::Key key = weft::Key::of(kName);

    const std::vector<std::byte> share(kPartBytes, std::byte(part + 1));
    weft_op save = space.save(key, share.data(), share.size());
    save.part = part;
    const weft_event saved = queue.run(save);
    expect(saved.status == 0, "the part is saved: " + store.story(saved));

    // A rank that ended here would take its part along: the block belongs to nobody until it is
    // whole.
    const weft_event whole = queue.run(space.op(WEFT_OP_WAIT, key));
    expect(whole.status == 0, "the other part comes: " + store.story(whole));
    expect(part_is_right(queue, space, static_cast<uint16_t>(1 - part)), "the other rank's part");
    std::printf("part %u saved%s, the other's read\n", part,
                saved.detail == 1 ? ", which published the block" : "");
}

void engine() {
    const std::string address = new_address();
    const weft::Store node("memory=64MiB,listen=" + address);
    const weft::Namespace space(node, "demo/ranks", kLayout);
    Process rank_0({address, "0"});
    Process rank_1({address, "1"});
    rank_0.finish();
    rank_1.finish();
    weft::Queue queue(node);
    expect(part_is_right(queue, space, 0) && part_is_right(queue, space, 1), "both parts");
    std::puts("ranks: two processes saved one block together");
}

}  // namespace

int main(int argc, char** argv) try {
    argc > 2 ? rank(argv[1], static_cast<uint16_t>(std::atoi(argv[2]))) : engine();
    return 0;
} catch (const std::exception& problem) {
    std::fprintf(stderr, "ranks: %s\n", problem.what());
    return 1;
}
