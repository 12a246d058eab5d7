// The parser of option text. It accepts exactly what options.h says and names what it refuses, in
// time that grows with the text and no faster: a node reads its clients' under its lock.
#include "core/base/options.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "capi/weft.h"

namespace weft {
namespace {

Failure invalid(const std::string& message) { return {WEFT_EINVAL, message}; }

/** Reads a JSON string that begins at `at`; moves `at` behind it. */
Result<std::string> quoted(const std::string& text, size_t& at) {
    size_t end = at + 1;
    while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
    if (end >= text.size())
        return invalid("options: the quote at byte " + std::to_string(at) + " does not end");
    std::string raw = text.substr(at, end + 1 - at);
    at = end + 1;
    nlohmann::json value = nlohmann::json::parse(raw, nullptr, false);
    if (!value.is_string()) return invalid("options: " + raw + " is not a JSON string");
    return value.get<std::string>();
}

bool is_utf8(const std::string& text) {
    try {
        (void)nlohmann::json(text).dump();
        return true;
    } catch (const nlohmann::json::type_error&) {
        return false;
    }
}

std::string trim(const std::string& text) {
    size_t begin = text.find_first_not_of(" \t\r");
    if (begin == std::string::npos) return "";
    return text.substr(begin, text.find_last_not_of(" \t\r") + 1 - begin);
}

/** The power of two of a unit's bytes; -1: not a unit. */
int unit_shift(const std::string& unit) {
    if (unit.empty() || unit == "B") return 0;
    if (unit == "K" || unit == "KiB") return 10;
    if (unit == "M" || unit == "MiB") return 20;
    if (unit == "G" || unit == "GiB") return 30;
    if (unit == "T" || unit == "TiB") return 40;
    return -1;
}

Result<uint64_t> number(const std::string& key, const std::string& value, bool bytes,
                        uint64_t least, uint64_t most) {
    uint64_t count = 0;
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), count);
    std::string unit(end, value.data() + value.size());
    int shift = bytes ? unit_shift(unit) : (unit.empty() ? 0 : -1);
    if (error != std::errc() || shift < 0) {
        return invalid(key + "=" + value + ": a whole number" +
                       (bytes ? ", with KiB, MiB, GiB or TiB behind it" : ""));
    }
    if (count > (most >> shift) || (count << shift) < least) {
        return invalid(key + "=" + value + ": from " + std::to_string(least) + " to " +
                       std::to_string(most));
    }
    return count << shift;
}

}  // namespace

Result<Options> Options::parse(const char* text, const std::string& repeated) {
    return parse_all(text != nullptr ? text : "", repeated, UINT64_MAX);
}

Result<Options> Options::parse_bounded(const std::string& text) {
    if (text.size() > kTextMost) {
        return invalid("options: " + std::to_string(text.size()) + " bytes, the limit is " +
                       std::to_string(kTextMost));
    }
    return parse_all(text, "", kKeysMost);
}

Result<Options> Options::parse_all(const std::string& all, const std::string& repeated,
                                   uint64_t keys_most) {
    Options options;
    options.repeated_ = repeated;
    std::set<std::string> seen;
    // What is kept of it goes into JSON, which has no other text.
    if (!is_utf8(all)) return invalid("options: the text is not UTF-8");
    for (size_t at = 0; at < all.size();) {
        size_t equals = all.find_first_of("=,\n", at);
        std::string key = trim(all.substr(at, equals == std::string::npos ? equals : equals - at));
        if (equals == std::string::npos || all[equals] != '=') {
            if (!key.empty()) return invalid("options: " + key + " has no value; write key=value");
            at = equals == std::string::npos ? all.size() : equals + 1;
            continue;
        }
        Entry entry;
        entry.optional = key.starts_with('?');
        entry.key = entry.optional ? key.substr(1) : key;
        if (entry.key.empty())
            return invalid("options: a value without a key at byte " + std::to_string(at));
        at = equals + 1;
        if (at < all.size() && all[at] == '"') {
            Result<std::string> value = quoted(all, at);
            if (!value) return invalid(entry.key + ": " + value.failure().message);
            entry.value = *value;
            size_t end = all.find_first_not_of(" \t\r", at);
            if (end != std::string::npos && all[end] != ',' && all[end] != '\n') {
                return invalid("options: text behind the value of " + entry.key);
            }
            at = end == std::string::npos ? all.size() : end + 1;
        } else {
            size_t end = all.find_first_of(",\n", at);
            entry.value = trim(all.substr(at, end == std::string::npos ? end : end - at));
            at = end == std::string::npos ? all.size() : end + 1;
        }
        if (entry.key != repeated && !seen.insert(entry.key).second) {
            return invalid("options: " + entry.key + "=" + entry.value + " is given twice");
        }
        if (options.entries_.size() >= keys_most)
            return invalid("options: " + std::to_string(keys_most) + " keys are the limit");
        options.entries_.push_back(entry);
    }
    return options;
}

bool Options::has(const std::string& key) const {
    for (const Entry& entry : entries_) {
        if (entry.key == key) return true;
    }
    return false;
}

std::optional<std::string> Options::take(const std::string& key) {
    bool repeats = key == repeated_;
    for (size_t i = repeats ? repeated_at_ : 0; i < entries_.size(); i++) {
        if (entries_[i].key != key) continue;
        if (repeats) repeated_at_ = i + 1;
        entries_[i].taken = true;
        return entries_[i].value;
    }
    return std::nullopt;
}

Result<uint64_t> Options::take_bytes(const std::string& key, uint64_t fallback, uint64_t least,
                                     uint64_t most) {
    std::optional<std::string> value = take(key);
    if (!value) return fallback;
    return number(key, *value, true, least, most);
}

Result<uint64_t> Options::take_number(const std::string& key, uint64_t fallback, uint64_t least,
                                      uint64_t most) {
    std::optional<std::string> value = take(key);
    if (!value) return fallback;
    return number(key, *value, false, least, most);
}

Result<bool> Options::take_flag(const std::string& key, bool fallback) {
    std::optional<std::string> value = take(key);
    if (!value) return fallback;
    if (*value == "yes" || *value == "true" || *value == "1") return true;
    if (*value == "no" || *value == "false" || *value == "0") return false;
    return invalid(key + "=" + *value + ": yes or no");
}

Status Options::finish(const std::string& known) const {
    for (const Entry& entry : entries_) {
        if (!entry.taken && !entry.optional) {
            return invalid("unknown option " + entry.key + "=" + entry.value + "; known: " + known);
        }
    }
    return Nothing{};
}

std::string quote_option(const std::string& value) {
    // Option text ends at a zero byte.
    static constexpr std::string_view kQuoted(",\n\"\0", 4);
    if (value.find_first_of(kQuoted) == std::string::npos && trim(value) == value) return value;
    return nlohmann::json(value).dump();
}

}  // namespace weft
