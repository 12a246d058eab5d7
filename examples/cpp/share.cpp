/**
 * share: two processes of a host, one cache. The first is the node: it owns the memory and listens.
 * The second connects, reads a block of the first in place, and saves one that the first then
 * reads.
 */
#include <algorithm>
#include <weft.hpp>

#include "process.h"

namespace {

constexpr size_t kBlockBytes = 1 << 20;
constexpr const char* kLayout = "parts=1,part_bytes=1048576";

bool all_are(const weft::View& view, std::byte value) {
    return view.size() == kBlockBytes &&
           std::all_of(view.begin(), view.end(), [value](std::byte b) { return b == value; });
}

void save(const weft::Store& store, const weft::Namespace& space, const std::string& name,
          std::byte value) {
    weft::Queue queue(store);
    const std::vector<std::byte> bytes(kBlockBytes, value);
    const weft_event event = queue.run(space.save(weft::Key::of(name), bytes.data(), bytes.size()));
    expect(event.status == 0 && event.detail == 1, name + " is published: " + store.story(event));
}

void second(const std::string& address) {
    const weft::Store store("connect=" + address);
    const weft::Namespace space(store, "demo/share", kLayout);
    weft_item item{};
    const weft::Key key = weft::Key::of("from the first");
    item.key_hi = key.hi;
    item.key_lo = key.lo;
    const weft::View view = space.view(&item, 1);  // no copy, no system call
    expect(view && std::all_of(reinterpret_cast<const std::byte*>(item.offset),
                               reinterpret_cast<const std::byte*>(item.offset) + kBlockBytes,
                               [](std::byte b) { return b == std::byte{1}; }),
           "the first one's block, in place");
    save(store, space, "from the second", std::byte{2});
    std::puts("read the first one's block in place, saved another");
}

void first() {
    const std::string address = new_address();
    const weft::Store node("memory=64MiB,listen=" + address);
    const weft::Namespace space(node, "demo/share", kLayout);
    save(node, space, "from the first", std::byte{1});
    Process process({address});
    process.finish();
    // Its saver has ended; the block stays.
    weft::Queue queue(node);
    const weft::View view = queue.view(space.op(WEFT_OP_VIEW, weft::Key::of("from the second")));
    expect(all_are(view, std::byte{2}), "the second one's block");
    std::puts("share: each process read what the other saved");
}

}  // namespace

int main(int argc, char** argv) try {
    argc > 1 ? second(argv[1]) : first();
    return 0;
} catch (const std::exception& problem) {
    std::fprintf(stderr, "share: %s\n", problem.what());
    return 1;
}
