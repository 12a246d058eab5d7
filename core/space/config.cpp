// Parsing, comparing and storing a namespace's layout and settings. Each field has one text form,
// which is what is compared.
#include "core/space/config.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "capi/weft.h"

namespace weft {
namespace {

constexpr const char* kKnown =
    "version, writer, create, model, dtype, layout, parts, part_bytes, block_tokens, layers, "
    "quota, policy, window, ttl_s, pin_s, write_s";

uint64_t aligned(uint64_t bytes) { return (bytes + kPartAlignment - 1) & ~(kPartAlignment - 1); }

std::string join(const std::vector<uint64_t>& numbers) {
    std::string text;
    for (uint64_t number : numbers) text += (text.empty() ? "" : "/") + std::to_string(number);
    return text;
}

Status parse_part_bytes(const std::string& text, NamespaceConfig& config) {
    config.part_bytes.clear();
    for (size_t at = 0; at <= text.size() && config.part_bytes.size() <= kPartsMax;) {
        size_t end = std::min(text.find('/', at), text.size());
        std::string one = "part_bytes=" + text.substr(at, end - at);
        Result<Options> options = Options::parse(one.c_str());
        if (!options) return options.failure();
        Result<uint64_t> bytes = options->take_bytes("part_bytes", 0, 0, UINT32_MAX);
        if (!bytes) return bytes.failure();
        config.part_bytes.push_back(*bytes);
        at = end + 1;
    }
    if (config.part_bytes.size() == 1) config.part_bytes.resize(config.parts, config.part_bytes[0]);
    if (config.part_bytes.size() != config.parts) {
        return Failure{WEFT_EINVAL, "part_bytes=" + text + ": " +
                                        std::to_string(config.part_bytes.size()) +
                                        " sizes for parts=" + std::to_string(config.parts)};
    }
    bool some_zero = std::ranges::count(config.part_bytes, 0u) > 0;
    if (some_zero && config.parts > 1) {
        return Failure{WEFT_EINVAL, "part_bytes=" + text + ": 0, any size, goes with parts=1 only"};
    }
    return Nothing{};
}

Status check_layers(const NamespaceConfig& config) {
    if (config.layers == 0 || config.any_size()) return Nothing{};
    for (uint64_t bytes : config.part_bytes) {
        if (bytes % config.layers != 0) {
            return Failure{WEFT_EINVAL,
                           "layers=" + std::to_string(config.layers) +
                               ": does not divide part_bytes=" + std::to_string(bytes)};
        }
    }
    return Nothing{};
}

/** Takes a whole number into `field`; false leaves the failure in `failure`. */
struct Taker {
    Options& options;
    NamespaceRequest& request;
    Failure failure;

    bool number(const char* key, uint32_t& field, uint64_t least, uint64_t most) {
        bool given = options.has(key);
        Result<uint64_t> value = options.take_number(key, field, least, most);
        if (!value) {
            failure = value.failure();
            return false;
        }
        field = static_cast<uint32_t>(*value);
        if (given) request.given.push_back(key);
        return true;
    }
    /** given: it is compared with what is stored. */
    bool text(const char* key, std::string& field, uint64_t most, bool given = true) {
        std::optional<std::string> value = options.take(key);
        if (!value) return true;
        if (value->size() > most) {
            failure = {WEFT_EINVAL, std::string(key) + "= has " + std::to_string(value->size()) +
                                        " bytes, the limit is " + std::to_string(most)};
            return false;
        }
        field = *value;
        if (given) request.given.push_back(key);
        return true;
    }
};

Status take_policy(Options& options, NamespaceRequest& request) {
    PolicyChoice& policy = request.config.policy;
    if (std::optional<std::string> name = options.take("policy")) {
        policy.name = *name;
        request.given.push_back("policy");
    }
    if (std::optional<std::string> window = options.take("window")) {
        char* end = nullptr;
        policy.window = strtod(window->c_str(), &end);
        if (window->empty() || *end != '\0') {
            return Failure{WEFT_EINVAL, "window=" + *window + ": a share between 0 and 1"};
        }
        request.given.push_back("window");
    }
    return check_policy(policy);
}

}  // namespace

uint64_t NamespaceConfig::offset_of(uint32_t part) const {
    uint64_t offset = 0;
    for (uint32_t i = 0; i < part; i++) offset += aligned(part_bytes[i]);
    return offset;
}

uint64_t NamespaceConfig::block_bytes() const {
    return any_size() ? 0 : offset_of(parts - 1) + part_bytes[parts - 1];
}

Status check_name(const std::string& name) {
    bool slash = false;
    char before = '/';
    for (char c : name) {
        bool fits = isalnum(static_cast<unsigned char>(c)) != 0 ||
                    std::string("._-+@:/").find(c) != std::string::npos;
        if (!fits || (c == '/' && before == '/')) {
            return Failure{WEFT_EINVAL, "namespace \"" + name +
                                            "\": tenant/model, of letters, digits and ._-+@:"};
        }
        slash = slash || c == '/';
        before = c;
    }
    if (!slash || before == '/' || name.size() > 200) {
        return Failure{WEFT_EINVAL, "namespace \"" + name + "\": tenant/model, at most 200 bytes"};
    }
    return Nothing{};
}

Result<NamespaceRequest> parse_namespace_options(const char* text) {
    Result<Options> parsed = Options::parse_bounded(text);
    if (!parsed) return parsed.failure();
    NamespaceRequest request;
    NamespaceConfig& config = request.config;
    Taker take{*parsed, request, {}};
    request.version_given = parsed->has("version");
    Result<uint64_t> version = parsed->take_number("version", 0, 0, INT64_MAX);
    if (!version) return version.failure();
    request.version = *version;
    Result<bool> create = parsed->take_flag("create", true);
    if (!create) return create.failure();
    request.create = *create;
    if (!take.text("writer", request.writer, kWriterMost, false) ||
        !take.text("model", config.model, kModelMost) ||
        !take.text("dtype", config.dtype, kModelMost) ||
        !take.text("layout", config.layout, kLayoutMost) ||
        !take.number("parts", config.parts, 1, kPartsMax) ||
        !take.number("block_tokens", config.block_tokens, 0, UINT32_MAX) ||
        !take.number("layers", config.layers, 0, 65535) ||
        !take.number("ttl_s", config.ttl_s, 0, UINT32_MAX) ||
        !take.number("pin_s", config.pin_s, 1, 86400) ||
        !take.number("write_s", config.write_s, 1, 86400)) {
        return take.failure;
    }
    if (std::optional<std::string> bytes = parsed->take("part_bytes")) {
        Status status = parse_part_bytes(*bytes, config);
        if (!status) return status.failure();
        request.given.push_back("part_bytes");
    } else if (config.parts > 1) {
        config.part_bytes.assign(config.parts, 0);  // compared field by field; creation refuses it
    }
    if (parsed->has("quota")) request.given.push_back("quota");
    Result<uint64_t> quota = parsed->take_bytes("quota", 0, 0, UINT64_MAX >> 1);
    if (!quota) return quota.failure();
    config.quota = *quota;
    Status policy = take_policy(*parsed, request);
    if (!policy) return policy.failure();
    Status layers = check_layers(config);
    if (!layers) return layers.failure();
    Status rest = parsed->finish(kKnown);
    if (!rest) return rest.failure();
    return request;
}

Status check_agreement(const std::string& name, const NamespaceRequest& request,
                       const NamespaceConfig& stored) {
    if (request.given.empty()) return Nothing{};  // the words below cost more than an opening
    nlohmann::json said = to_json(request.config);
    nlohmann::json kept = to_json(stored);
    for (const std::string& field : request.given) {
        if (said[field] == kept[field]) continue;
        auto words = [](const nlohmann::json& value) {
            return value.is_string() ? value.get<std::string>() : value.dump();
        };
        return Failure{WEFT_EINVAL, "namespace " + name + ": " + field + "=" + words(said[field]) +
                                        " was given, but it is stored with " + field + "=" +
                                        words(kept[field])};
    }
    return Nothing{};
}

nlohmann::json to_json(const NamespaceConfig& config) {
    return {{"model", config.model},
            {"dtype", config.dtype},
            {"layout", config.layout},
            {"parts", config.parts},
            {"part_bytes", join(config.part_bytes)},
            {"block_tokens", config.block_tokens},
            {"layers", config.layers},
            {"quota", config.quota},
            {"policy", config.policy.name},
            {"window", config.policy.window},
            {"ttl_s", config.ttl_s},
            {"pin_s", config.pin_s},
            {"write_s", config.write_s}};
}

namespace {

std::string as_options(const nlohmann::json& json) {
    std::string text;
    for (const auto& [key, value] : json.items()) {
        text += key + "=" +
                quote_option(value.is_string() ? value.get<std::string>() : value.dump()) + "\n";
    }
    return text;
}

}  // namespace

std::string to_options(const NamespaceConfig& config) { return as_options(to_json(config)); }

Result<NamespaceConfig> config_from_json(const nlohmann::json& json) {
    Result<NamespaceRequest> request = parse_namespace_options(as_options(json).c_str());
    if (!request) return request.failure();
    // What is kept or sent is a whole configuration, not a question about one.
    if (request->config.parts > 1 && request->config.part_bytes[0] == 0)
        return Failure{WEFT_EINVAL, "parts=" + std::to_string(request->config.parts) +
                                        " is kept without part_bytes="};
    return request->config;
}

uint64_t slot_bytes_for(uint64_t bytes) {
    if (bytes <= kSmallestSlot) return kSmallestSlot;
    if (bytes > kLargestClass)
        return (bytes + (uint64_t{2} << 20) - 1) & ~((uint64_t{2} << 20) - 1);
    uint64_t quarter = std::bit_floor(bytes - 1) / 4;
    return (bytes + quarter - 1) / quarter * quarter;
}

}  // namespace weft
