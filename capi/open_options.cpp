// Which options weft_open and weft_queue_open know, their limits, and what does not go together.
#include "capi/open_options.h"

#include "capi/weft.h"
#include "core/base/options.h"

namespace weft {
namespace {

constexpr const char* kKnown =
    "memory, prefault, listen, state, tokens, metrics, connect, token, token_file, cluster, pins, "
    "timeout_ms, "
    "log_fd, log_level";
constexpr uint64_t kSmallestMemory = uint64_t{4} << 20;

/** unix:PATH; other transports come with clusters. */
Result<std::string> unix_path(const std::string& key, const std::string& value) {
    if (value.starts_with("unix:") && value.size() > 5) return value.substr(5);
    if (value.starts_with("tcp://")) {
        return Failure{WEFT_ENOTSUP,
                       key + "=" + value + ": this build shares one host; use unix:PATH"};
    }
    return Failure{WEFT_EINVAL, key + "=" + value + ": unix:PATH is expected"};
}

Result<fabric::LogLevel> level_of(const std::string& name) {
    if (name == "error") return fabric::LogLevel::error;
    if (name == "warning" || name == "warn") return fabric::LogLevel::warning;
    if (name == "info") return fabric::LogLevel::info;
    if (name == "debug") return fabric::LogLevel::debug;
    return Failure{WEFT_EINVAL, "log_level=" + name + ": error, warning, info or debug"};
}

Status take_paths(Options& options, OpenOptions& out) {
    for (auto [key, to] :
         {std::pair{"listen", &out.store.node.listen}, std::pair{"connect", &out.store.connect}}) {
        std::optional<std::string> value = options.take(key);
        if (!value) continue;
        Result<std::string> path = unix_path(key, *value);
        if (!path) return path.failure();
        *to = *path;
    }
    out.store.node.state = options.take("state").value_or("");
    out.store.node.tokens = options.take("tokens").value_or("");
    out.store.node.metrics = options.take("metrics").value_or("");
    out.store.token.text = options.take("token").value_or("");
    out.store.token.file = options.take("token_file").value_or("");
    if (options.has("token") && options.has("token_file"))
        return Failure{WEFT_EINVAL, "token= and token_file= do not go together"};
    // Read at each login; said now where it cannot be.
    if (Result<std::string> token = out.store.token.read(); !token) return token.failure();
    if (std::optional<std::string> cluster = options.take("cluster")) {
        return Failure{WEFT_ENOTSUP, "cluster=" + *cluster + ": this build shares one host"};
    }
    return Nothing{};
}

Status check_together(const Options& options, const OpenOptions& out) {
    if (out.store.connect.empty()) return Nothing{};
    for (const char* key : {"memory", "prefault", "listen", "state", "tokens", "metrics", "pins"}) {
        if (options.has(key))
            return Failure{WEFT_EINVAL,
                           std::string(key) + "= is the node's: it does not go with connect="};
    }
    return Nothing{};
}

}  // namespace

Result<OpenOptions> parse_open_options(const char* text) {
    Result<Options> options = Options::parse(text);
    if (!options) return options.failure();
    OpenOptions out;
    Status paths = take_paths(*options, out);
    if (!paths) return paths.failure();
    Status together = check_together(*options, out);
    if (!together) return together.failure();
    CacheOptions& cache = out.store.node.cache;
    Result<uint64_t> memory =
        options->take_bytes("memory", cache.memory, kSmallestMemory, uint64_t{1} << 46);
    if (!memory) return memory.failure();
    Result<bool> prefault = options->take_flag("prefault", false);
    if (!prefault) return prefault.failure();
    Result<uint64_t> pins = options->take_number("pins", cache.pins_max, 0, UINT32_MAX);
    if (!pins) return pins.failure();
    Result<uint64_t> timeout_ms =
        options->take_number("timeout_ms", out.store.timeout_ms, 1, 3'600'000);
    if (!timeout_ms) return timeout_ms.failure();
    Result<uint64_t> log_fd = options->take_number("log_fd", 2, 0, INT32_MAX);
    if (!log_fd) return log_fd.failure();
    Result<fabric::LogLevel> level = level_of(options->take("log_level").value_or("warning"));
    if (!level) return level.failure();
    Status rest = options->finish(kKnown);
    if (!rest) return rest.failure();
    cache.memory = *memory;
    cache.prefault = *prefault;
    cache.pins_max = static_cast<uint32_t>(*pins);
    out.store.timeout_ms = static_cast<uint32_t>(*timeout_ms);
    out.log_fd = static_cast<int>(*log_fd);
    out.log_level = *level;
    return out;
}

Result<QueueOptions> parse_queue_options(const char* text) {
    Result<Options> options = Options::parse(text);
    if (!options) return options.failure();
    QueueOptions out;
    Result<uint64_t> depth = options->take_number("depth", out.depth, 1, 65536);
    if (!depth) return depth.failure();
    Result<uint64_t> inline_bytes =
        options->take_bytes("inline_bytes", out.inline_bytes, 0, UINT64_MAX >> 1);
    if (!inline_bytes) return inline_bytes.failure();
    std::string priority = options->take("priority").value_or("normal");
    if (priority != "low" && priority != "normal" && priority != "high") {
        return Failure{WEFT_EINVAL, "priority=" + priority + ": low, normal or high"};
    }
    Status rest = options->finish("depth, priority, inline_bytes");
    if (!rest) return rest.failure();
    out.depth = static_cast<uint32_t>(*depth);
    out.inline_bytes = *inline_bytes;
    out.priority = priority == "low" ? 0 : (priority == "normal" ? 1 : 2);
    return out;
}

}  // namespace weft
