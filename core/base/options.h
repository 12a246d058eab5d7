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
    /** repeated: the key that may be given more than once. */
    static Result<Options> parse(const char* text, const std::string& repeated = "");

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
    std::vector<Entry> entries_;
    std::string repeated_;
};

/** A value as option text: quoted where it must be. */
std::string quote_option(const std::string& value);

}  // namespace weft
