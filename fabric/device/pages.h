// An engine's paged KV memory, described once, and the copies between its pages and stored parts.
// These are the host's; a card's do the same with kernels, and tests of what is above run on these.
//
// A part has one order whatever the engine's is: layer by layer, in each head by head, for each
// head its tensors (keys, then values), in each token by token. So a head's bytes lie together, and
// a rank that has other heads finds its own.
//
// Functions of their arguments alone: any thread may call them at any time. Nothing is known of the
// bytes but where they lie.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace weft::fabric {

class Pages {
  public:
    /** One layer: how many bytes a head has of one token, and how far pages are apart. */
    struct Layer {
        uint64_t bytes = 0;
        uint64_t page_stride = 0;
        std::vector<uint64_t> bases;  // addresses, one a tensor
    };
    struct Layout {
        uint64_t pages = 0;
        uint64_t tokens = 1;  // a page
        uint64_t heads = 1;
        uint64_t token_stride = 0;  // bytes; 0: tokens lie one behind the other
        uint64_t head_stride = 0;   // bytes; 0: heads lie one behind the other
        std::vector<Layer> layers;
    };
    explicit Pages(Layout layout);

    uint64_t pages() const { return layout_.pages; }
    uint64_t tokens() const { return layout_.tokens; }
    uint64_t layers() const { return layout_.layers.size(); }
    /** Bytes of the part before this layer; of `layers()`, the whole part. */
    uint64_t start_of(uint64_t layer) const { return starts_[layer]; }
    uint64_t part_bytes() const { return starts_.back(); }

    /** Copies `size` bytes of the part, from `start` on, out of a page. */
    void gather(std::byte* to, uint64_t page, uint64_t start, uint64_t size) const;
    /** The same with the sum of its chunks (fabric/copy/copy.h); `start` begins one. */
    uint64_t gather_and_hash(std::byte* to, uint64_t page, uint64_t start, uint64_t size) const;
    /** Copies them into a page. */
    void scatter(const std::byte* from, uint64_t page, uint64_t start, uint64_t size) const;

  private:
    template <typename F>
    void each_run(uint64_t page, uint64_t start, uint64_t size, F f) const;

    Layout layout_;
    std::vector<uint64_t> starts_;  // of the layers, and the end
};

}  // namespace weft::fabric
