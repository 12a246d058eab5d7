// Gather and scatter by the processor: a page's bytes as runs that are contiguous in both orders.
#include <algorithm>
#include <array>

#include "fabric/copy/copy.h"
#include "fabric/device/pages.h"

namespace weft::fabric {

Pages::Pages(Layout layout) : layout_(std::move(layout)), starts_{0} {
    for (const Layer& layer : layout_.layers) {
        uint64_t bytes = layer.bytes * layout_.tokens * layer.bases.size() * layout_.heads;
        starts_.push_back(starts_.back() + bytes);
    }
}

/** f(where in the range, address, bytes) for each run of the range, in order. */
template <typename F>
void Pages::each_run(uint64_t page, uint64_t start, uint64_t size, F f) const {
    auto after = std::upper_bound(starts_.begin(), starts_.end(), start);
    auto number = static_cast<size_t>(after - starts_.begin()) - 1;
    for (uint64_t at = 0; at < size; number++) {
        const Layer& layer = layout_.layers[number];
        uint64_t token_stride = layout_.token_stride != 0 ? layout_.token_stride : layer.bytes;
        uint64_t head_stride =
            layout_.head_stride != 0 ? layout_.head_stride : layout_.tokens * token_stride;
        bool joined = token_stride == layer.bytes;
        uint64_t run = joined ? layout_.tokens * layer.bytes : layer.bytes;
        uint64_t runs = joined ? 1 : layout_.tokens;  // of a head in a tensor
        uint64_t end = std::min(starts_[number + 1], start + size);
        while (start + at < end) {
            uint64_t within = start + at - starts_[number];
            uint64_t index = within / run;
            uint64_t skip = within % run;
            uint64_t token = index % runs;
            uint64_t tensor = index / runs % layer.bases.size();
            uint64_t head = index / runs / layer.bases.size();
            uint64_t bytes = std::min(run - skip, end - start - at);
            uint64_t address = layer.bases[tensor] + page * layer.page_stride + head * head_stride +
                               token * token_stride + skip;
            f(at, reinterpret_cast<std::byte*>(address), bytes);
            at += bytes;
        }
    }
}

void Pages::gather(std::byte* to, uint64_t page, uint64_t start, uint64_t size) const {
    each_run(page, start, size, [&](uint64_t at, const std::byte* from, uint64_t bytes) {
        fabric::copy(to + at, from, bytes);
    });
}

/** A chunk of several runs is put together in the core's own cache, from where one pass hashes it
 * and streams it out: the slot's memory is written once and never read. */
uint64_t Pages::gather_and_hash(std::byte* to, uint64_t page, uint64_t start, uint64_t size) const {
    alignas(64) std::array<std::byte, kChunkBytes> room;
    uint64_t sum = 0;
    for (uint64_t at = 0; at < size; at += kChunkBytes) {
        uint64_t chunk = std::min<uint64_t>(kChunkBytes, size - at);
        const std::byte* from = room.data();
        each_run(page, start + at, chunk, [&](uint64_t place, std::byte* run, uint64_t bytes) {
            if (bytes == chunk) {
                from = run;
            } else {
                fabric::copy(room.data() + place, run, bytes);
            }
        });
        sum += copy_and_hash(to + at, from, chunk, (start + at) / kChunkBytes);
    }
    return sum;
}

void Pages::scatter(const std::byte* from, uint64_t page, uint64_t start, uint64_t size) const {
    each_run(page, start, size,
             [&](uint64_t at, std::byte* to, uint64_t bytes) { copy(to, from + at, bytes); });
}

}  // namespace weft::fabric
