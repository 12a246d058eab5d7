// The text of a pool: every number is checked here, so that no copy goes beyond what it describes.
#include "core/node/pool.h"

#include <algorithm>
#include <array>
#include <limits>

#include "capi/weft.h"
#include "core/base/options.h"

namespace weft {
namespace {

constexpr uint64_t kMost = uint64_t{1} << 40;
constexpr const char* kKnown =
    "pages, tensors, tokens, heads, bytes, page_stride, token_stride, head_stride";

Failure invalid(const std::string& words) { return Failure{WEFT_EINVAL, "pool: " + words}; }

/** A number, or one a layer, separated by slashes. */
Result<std::vector<uint64_t>> take_list(Options& options, const std::string& key, uint64_t fallback,
                                        uint64_t layers) {
    std::string text = options.take(key).value_or(std::to_string(fallback));
    std::vector<uint64_t> values;
    for (size_t at = 0; at <= text.size();) {
        size_t end = std::min(text.find('/', at), text.size());
        std::string one = key + "=" + text.substr(at, end - at);
        Result<Options> parsed = Options::parse(one.c_str());
        if (!parsed) return parsed.failure();
        Result<uint64_t> value = parsed->take_bytes(key, 0, 0, kMost);
        if (!value) return value.failure();
        values.push_back(*value);
        at = end + 1;
    }
    if (values.size() == 1) values.resize(layers, values[0]);
    if (values.size() != layers) {
        return invalid(key + "=" + text + ": " + std::to_string(values.size()) + " values for " +
                       std::to_string(layers) + " layers");
    }
    return values;
}

/** Whether `a * b` and `sum + a * b` fit. */
bool add(uint64_t& sum, uint64_t a, uint64_t b) {
    uint64_t product = 0;
    return !__builtin_mul_overflow(a, b, &product) && !__builtin_add_overflow(sum, product, &sum);
}

/** A dimension of a page, or the pages: so many, so far apart. */
struct Dimension {
    const char* name;
    uint64_t count;
    uint64_t stride;
};

/** Pages lie in a row where their stride is not said. False: a page is too large. */
bool complete(const fabric::Pages::Layout& layout, fabric::Pages::Layer& layer) {
    uint64_t token = layout.token_stride != 0 ? layout.token_stride : layer.bytes;
    uint64_t head = layout.head_stride != 0 ? layout.head_stride : layout.tokens * token;
    uint64_t extent = layer.bytes;
    bool fits = add(extent, layout.tokens - 1, token) && add(extent, layout.heads - 1, head);
    if (layer.page_stride == 0) layer.page_stride = extent;
    return fits;
}

/** The layer's last byte has an address, and no byte of it is two tokens', heads' or pages'. */
Status check_layer(const fabric::Pages::Layout& layout, const fabric::Pages::Layer& layer,
                   uint64_t number) {
    uint64_t token = layout.token_stride != 0 ? layout.token_stride : layer.bytes;
    uint64_t head = layout.head_stride != 0 ? layout.head_stride : layout.tokens * token;
    std::array<Dimension, 3> dimensions{{{"token_stride", layout.tokens, token},
                                         {"head_stride", layout.heads, head},
                                         {"page_stride", layout.pages, layer.page_stride}}};
    std::string which = "layer " + std::to_string(number) + ": ";
    if (layer.bytes == 0) return invalid(which + "bytes=0");
    std::sort(dimensions.begin(), dimensions.end(),
              [](const Dimension& a, const Dimension& b) { return a.stride < b.stride; });
    uint64_t extent = layer.bytes;
    for (const Dimension& one : dimensions) {
        if (one.count > 1 && one.stride < extent)
            return invalid(which + one.name + "=" + std::to_string(one.stride) + " for what has " +
                           std::to_string(extent) + " bytes: some would lie in each other");
        if (!add(extent, one.count - 1, one.stride)) return invalid(which + "it is too large");
    }
    for (uint64_t base : layer.bases) {
        uint64_t end = base;
        if (base == 0 || !add(end, extent, 1))
            return invalid(which + "no memory begins at " + std::to_string(base) +
                           " and is so large");
    }
    return Nothing{};
}

}  // namespace

Result<std::unique_ptr<fabric::Pages>> describe_pool(const char* layout, const uint64_t* bases,
                                                     uint32_t count) {
    Result<Options> options = Options::parse(layout);
    if (!options) return options.failure();
    fabric::Pages::Layout made;
    Result<uint64_t> tensors = options->take_number("tensors", 1, 1, 2);
    if (!tensors) return tensors.failure();
    if (bases == nullptr || count == 0 || count % *tensors != 0)
        return invalid(std::to_string(count) + " bases for tensors=" + std::to_string(*tensors));
    uint64_t layers = count / *tensors;
    struct Number {
        const char* key;
        uint64_t fallback;
        uint64_t least;
        uint64_t& value;
    };
    for (const Number& number : {Number{"pages", 0, 1, made.pages},
                                 {"tokens", 1, 1, made.tokens},
                                 {"heads", 1, 1, made.heads},
                                 {"token_stride", 0, 0, made.token_stride},
                                 {"head_stride", 0, 0, made.head_stride}}) {
        Result<uint64_t> value =
            options->take_bytes(number.key, number.fallback, number.least, kMost);
        if (!value) return value.failure();
        number.value = *value;
    }
    if (made.pages == 0) return invalid("pages= is needed");
    Result<std::vector<uint64_t>> bytes = take_list(*options, "bytes", 0, layers);
    if (!bytes) return bytes.failure();
    Result<std::vector<uint64_t>> strides = take_list(*options, "page_stride", 0, layers);
    if (!strides) return strides.failure();
    Status finished = options->finish(kKnown);
    if (!finished) return finished.failure();
    uint64_t part = 0;
    for (uint64_t i = 0; i < layers; i++) {
        fabric::Pages::Layer layer{(*bytes)[i], (*strides)[i], {}};
        layer.bases.assign(bases + i * *tensors, bases + (i + 1) * *tensors);
        uint64_t page = 0;
        bool fits = add(page, layer.bytes, made.tokens) && page <= kMost;
        uint64_t all = 0;
        fits = fits && add(all, page, made.heads) && all <= kMost && add(part, all, *tensors);
        if (!fits || part > std::numeric_limits<uint32_t>::max())
            return invalid(
                "a block of it has 4 GiB or more, the most that a part can have is less");
        if (!complete(made, layer)) return invalid("a page is too large");
        Status checked = check_layer(made, layer, i);
        if (!checked) return checked.failure();
        made.layers.push_back(std::move(layer));
    }
    return std::make_unique<fabric::Pages>(std::move(made));
}

}  // namespace weft
