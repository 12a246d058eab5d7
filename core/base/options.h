// Option text: key=value, separated by commas or newlines; a value with a comma, newline or quote
// in it is a JSON string. A known key is taken by the caller; what is left at the end is an error
// that names it, unless it was written ?key.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace weft {

class Options {
  public:
    // Of text that another process sends: a namespace's longest options, all of them quoted, are
    // shorter. What a program gives itself has no limit.
    static constexpr uint64_t kTextMost = 65536;  // bytes
    static constexpr uint32_t kKeysMost = 64;

    /** repeated: the key that may be given more than once. */
    static Result<Options> parse(const char* text, const std::string& repeated = "");
    /** The same of another process's text, which must not cost more than these limits. */
    static Result<Options> parse_bounded(const std::string& text);

    /** The value of a key; of the repeated one the next value, in the order of the text. */
    std::optional<std::string> take(const std::string& key);
    /** A whole number with an optional unit of bytes: KiB, MiB, GiB, TiB (or K, M, G, T). */
    Result<uint64_t> take_bytes(const std::string& key, uint64_t fallback, uint64_t least,
                                uint64_t most);
    Result<uint64_t> take_number(const std::string& key, uint64_t fallback, uint64_t least,
                                 uint64_t most);
    Result<bool> take_flag(const std::string& key, bool fallback);
    /** The first key that nobody took, as an error; `known` lists what would be. */
    Status finish(const std::string& known) const;
    bool has(const std::string& key) const;

  private:
    struct Entry {
        std::string key;
        std::string value;
        bool optional = false;
        bool taken = false;
    };
    static Result<Options> parse_all(const std::string& all, const std::string& repeated,
                                     uint64_t keys_most);

    std::vector<Entry> entries_;
    std::string repeated_;
    size_t repeated_at_ = 0;  // entries before it are taken, or of other keys
};

/** A value as option text: quoted where it must be. */
std::string quote_option(const std::string& value);

}  // namespace weft
