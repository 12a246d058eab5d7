/**
 * embeddings: objects of any size by content. An image is encoded once; whoever has the same image
 * again finds its embedding by the image's own bytes, asks how large it is, and loads it.
 */
#include <cmath>
#include <weft.hpp>

#include "process.h"

namespace {

constexpr size_t kWidth = 256;  // numbers per patch

/** Stands for a vision encoder: 1 row of kWidth numbers for each 1,024 bytes of image. */
std::vector<float> encode(const std::string& image) {
    std::vector<float> rows((image.size() + 1023) / 1024 * kWidth);
    for (size_t i = 0; i < rows.size(); i++)
        rows[i] =
            std::sin(static_cast<float>(i % 1000) + static_cast<float>(image[i % image.size()]));
    return rows;
}

/** The embedding of an image; `encoded` counts how many were not in the cache. */
std::vector<float> embedding(const weft::Store& store, const weft::Namespace& space,
                             weft::Queue& queue, const std::string& image, int& encoded) {
    weft_item item{};
    const weft::Key key = weft::Key::of(image);
    item.key_hi = key.hi;
    item.key_lo = key.lo;
    const weft_event found = queue.run(space.list(WEFT_OP_MATCH, &item, 1, WEFT_EACH));
    expect(found.status == 0, "match: " + store.story(found));
    if (found.value == 1) {
        std::vector<float> rows(item.size / sizeof(float));
        const weft_event loaded = queue.run(space.load(key, rows.data(), item.size));
        if (loaded.status == 0) return rows;
        expect(loaded.status == -WEFT_EMISS, "load: " + store.story(loaded));  // evicted meanwhile
    }
    encoded++;
    const std::vector<float> rows = encode(image);
    const weft_event saved = queue.run(space.save(key, rows.data(), rows.size() * sizeof(float)));
    expect(saved.status == 0 || saved.status == -WEFT_EEXISTS, "save: " + store.story(saved));
    return rows;
}

}  // namespace

int main() try {
    const weft::Store store("memory=64MiB");
    const weft::Namespace space(store, "demo/vision", "parts=1,part_bytes=0");
    weft::Queue queue(store);
    int encoded = 0;
    const std::string images[] = {std::string(300000, 'a'), std::string(5000, 'b'),
                                  std::string(300000, 'a')};
    for (const std::string& image : images) {
        const std::vector<float> rows = embedding(store, space, queue, image, encoded);
        expect(rows == encode(image), "the embedding is the image's own");
        std::printf("image of %zu bytes: %zu x %zu numbers\n", image.size(), rows.size() / kWidth,
                    kWidth);
    }
    expect(encoded == 2, "the third image is the first one again");
    std::puts("embeddings: 3 images, 2 encoded");
    return 0;
} catch (const std::exception& problem) {
    std::fprintf(stderr, "embeddings: %s\n", problem.what());
    return 1;
}
