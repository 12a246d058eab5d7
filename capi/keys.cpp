// The engines' hashes, from their serialised forms:
//   vLLM    SHA-256 of the canonical CBOR of (parent digest, (token, ...), (extra, ...) or null);
//   an
//           extra is a tuple tagged "lora", "mm" or "cache_salt", in that order; the first parent
//           is the SHA-256 of the CBOR of the seed.
//   SGLang  SHA-256 of the parent digest (none for the first page) and each token as 4 bytes,
//           little-endian.
// The few CBOR heads these need are written here. SHA-256 is OpenSSL's, through the calls that keep
// their state on the stack: the EVP calls look the algorithm up and allocate, which costs more than
// hashing a block of 16 tokens (2 rounds of 64 bytes). A message is laid out in one buffer and
// hashed at once where it fits, which it does up to 390 tokens a block. 4,096 tokens in blocks of
// 16: 32 us (EPYC family 25, SHA instructions).
#define OPENSSL_SUPPRESS_DEPRECATED
#include "capi/keys.h"

#include <openssl/sha.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "core/base/options.h"

namespace weft {
namespace {

constexpr uint32_t kDigestBytes = 32;
constexpr size_t kHeadBytesMax = 9;
constexpr char kUnseeded[] = "vllm-none-hash";
enum CborMajor : uint8_t { kUnsigned = 0, kNegative = 1, kBytes = 2, kText = 3, kArray = 4 };
constexpr uint8_t kCborNull = 0xf6;

/** The shortest head of `value`, as canonical CBOR asks; returns its length, at most kHeadBytesMax.
 */
size_t put_head(uint8_t* to, CborMajor major, uint64_t value) {
    const auto head = static_cast<uint8_t>(major << 5);
    if (value < 24) {
        to[0] = static_cast<uint8_t>(head | value);
        return 1;
    }
    const unsigned power = value <= 0xff ? 0 : value <= 0xffff ? 1 : value <= 0xffffffff ? 2 : 3;
    const size_t bytes = size_t{1} << power;
    to[0] = static_cast<uint8_t>(head | (24 + power));
    for (size_t i = 0; i < bytes; ++i)
        to[1 + i] = static_cast<uint8_t>(value >> (8 * (bytes - 1 - i)));
    return 1 + bytes;
}

/** A token's CBOR, without a loop: tokens are nearly all of a message. */
size_t put_token(uint8_t* to, uint32_t token) {
    if (token >= 0x10000) {
        to[0] = 0x1a;
        const uint32_t big_endian = __builtin_bswap32(token);
        std::memcpy(to + 1, &big_endian, sizeof big_endian);
        return 5;
    }
    if (token >= 0x100) {
        to[0] = 0x19;
        to[1] = static_cast<uint8_t>(token >> 8);
        to[2] = static_cast<uint8_t>(token);
        return 3;
    }
    return put_head(to, kUnsigned, token);
}

void append_head(std::string& to, CborMajor major, uint64_t value) {
    uint8_t head[kHeadBytesMax];
    to.append(reinterpret_cast<const char*>(head), put_head(head, major, value));
}

void append_text(std::string& to, std::string_view text) {
    append_head(to, kText, text.size());
    to.append(text);
}

/** One message on its way into SHA-256. */
class Message {
  public:
    Message() { SHA256_Init(&state_); }

    /** Room for `bytes` more, at most kBufferBytes; what is written there counts after used(). */
    uint8_t* room(size_t bytes) {
        if (filled_ + bytes > kBufferBytes) flush();
        return buffer_ + filled_;
    }
    void used(size_t bytes) { filled_ += bytes; }
    void head(CborMajor major, uint64_t value) {
        used(put_head(room(kHeadBytesMax), major, value));
    }
    void byte(uint8_t value) {
        *room(1) = value;
        used(1);
    }
    void bytes(const void* data, size_t size) {
        if (size > kBufferBytes) {
            flush();
            SHA256_Update(&state_, data, size);
            return;
        }
        std::memcpy(room(size), data, size);
        used(size);
    }
    void digest(uint8_t* out) {
        flush();
        SHA256_Final(out, &state_);
    }

    static constexpr size_t kBufferBytes = 2048;

  private:
    void flush() {
        SHA256_Update(&state_, buffer_, filled_);
        filled_ = 0;
    }

    SHA256_CTX state_;
    size_t filled_ = 0;
    uint8_t buffer_[kBufferBytes];
};

/** A multimodal input: the tokens it stands for, and its identifier's part of the extra key,
 * encoded. */
struct MediaInput {
    uint64_t where;
    uint64_t length;
    std::string encoded;
};

struct KeyOptions {
    bool sglang = false;
    bool has_start = false;
    uint64_t start = 0;
    std::string seed = kUnseeded;
    std::string lora;  // the encoded extra key, or nothing
    std::string salt;  // likewise
    std::vector<MediaInput> media;
    std::string only_vllm;  // the first option given that scheme=sglang has no place for
};

bool parse_number(std::string_view text, uint64_t& out) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
    return failed == std::errc() && end == text.data() + text.size();
}

/** WHERE+LENGTH:ID; false: malformed, or not behind the one before. */
bool parse_media(std::string_view value, std::vector<MediaInput>& out) {
    const size_t plus = value.find('+');
    const size_t colon = value.find(':', plus == value.npos ? 0 : plus);
    MediaInput input{};
    if (plus == value.npos || colon == value.npos || colon + 1 == value.size()) return false;
    if (!parse_number(value.substr(0, plus), input.where)) return false;
    if (!parse_number(value.substr(plus + 1, colon - plus - 1), input.length)) return false;
    constexpr uint64_t kPlaceMax = std::numeric_limits<uint32_t>::max();
    if (input.length == 0 || input.length > kPlaceMax || input.where > kPlaceMax) return false;
    if (!out.empty() && input.where < out.back().where) return false;
    append_head(input.encoded, kArray, 3);
    append_text(input.encoded, "mm");
    append_text(input.encoded, value.substr(colon + 1));
    out.push_back(std::move(input));
    return true;
}

/** Returns what is wrong with the value, or NULL. */
const char* apply(std::string_view key, std::string_view value, KeyOptions& out) {
    if (key == "scheme") {
        if (value != "vllm-sha256-cbor" && value != "sglang")
            return "vllm-sha256-cbor or sglang expected";
        out.sglang = value == "sglang";
        return nullptr;
    }
    if (key == "start") {
        out.has_start = true;
        const bool fits =
            parse_number(value, out.start) && out.start <= std::numeric_limits<uint32_t>::max();
        return fits ? nullptr : "a number of tokens below 2^32 expected";
    }
    if (out.only_vllm.empty()) out.only_vllm = std::string(key) + "=" + std::string(value);
    if (key == "seed") {
        const bool decimal = !value.empty() && value.find_first_not_of("0123456789") == value.npos;
        out.seed = value;
        return decimal || value == kUnseeded ? nullptr
                                             : "a decimal number, or vllm-none-hash, expected";
    }
    if (key == "lora") {
        const size_t colon = value.find(':');
        if (colon == value.npos || colon == 0 || colon + 1 == value.size())
            return "NAME:PATH expected";
        append_head(out.lora, kArray, 3);
        append_text(out.lora, "lora");
        append_text(out.lora, value.substr(0, colon));
        append_text(out.lora, value.substr(colon + 1));
        return nullptr;
    }
    if (key == "salt") {
        if (value.empty()) return "is empty";
        append_head(out.salt, kArray, 2);
        append_text(out.salt, "cache_salt");
        append_text(out.salt, value);
        return nullptr;
    }
    return parse_media(value, out.media)
               ? nullptr
               : "WHERE+LENGTH:ID expected, in order of WHERE, below 2^32 tokens";
}

/** Reads options text into out; returns false with the message that names the option and its
 * value. */
bool parse_options(const char* text, KeyOptions& out, std::string& message_out) {
    Result<Options> given = Options::parse(text, "mm");
    if (!given) {
        message_out = given.failure().message;
        return false;
    }
    for (const char* key : {"scheme", "seed", "lora", "salt", "start", "mm"}) {
        while (const std::optional<std::string> value = given->take(key)) {
            if (const char* wrong = apply(key, *value, out)) {
                message_out = std::string(key) + "=" + *value + ": " + wrong;
                return false;
            }
            if (std::string_view(key) != "mm") break;  // given once
        }
    }
    const Status rest = given->finish("scheme, seed, lora, salt, start, mm");
    if (!rest) message_out = rest.failure().message;
    if (rest.ok() && out.sglang && !out.only_vllm.empty()) {
        message_out = out.only_vllm + ": scheme=sglang hashes nothing but tokens";
    }
    return message_out.empty();
}

void vllm_seed_digest(const std::string& seed, uint8_t* digest) {
    Message message;
    message.head(kText, seed.size());
    message.bytes(seed.data(), seed.size());
    message.digest(digest);
}

/** One block's digest over its parent's. `media` is the first input that does not end before the
 * block. */
void vllm_block(const KeyOptions& options, size_t& media, uint64_t start, const uint32_t* tokens,
                uint32_t token_count, uint8_t* digest) {
    Message message;
    message.head(kArray, 3);
    message.head(kBytes, kDigestBytes);
    message.bytes(digest, kDigestBytes);
    message.head(kArray, token_count);
    constexpr uint32_t kTokenBytesMax = 5;
    constexpr uint32_t kStride = Message::kBufferBytes / kTokenBytesMax / 2;
    for (uint32_t first = 0; first < token_count; first += kStride) {
        const uint32_t count = std::min(kStride, token_count - first);
        uint8_t* const begin = message.room(size_t{count} * kTokenBytesMax);
        uint8_t* to = begin;
        for (uint32_t i = 0; i < count; ++i) to += put_token(to, tokens[first + i]);
        message.used(static_cast<size_t>(to - begin));
    }
    const uint64_t end = start + token_count;
    const std::vector<MediaInput>& inputs = options.media;
    auto ends_by = [&](size_t i, uint64_t place) {
        return inputs[i].where + inputs[i].length <= place;
    };
    while (media < inputs.size() && ends_by(media, start)) ++media;
    // As in vLLM, an input that goes on beyond the block hides those after it.
    size_t media_end = media;
    while (media_end < inputs.size() && inputs[media_end].where < end) {
        if (!ends_by(media_end++, end)) break;
    }
    const bool salted = start == 0 && !options.salt.empty();
    const uint64_t extras =
        (options.lora.empty() ? 0U : 1U) + (media_end - media) + (salted ? 1U : 0U);
    if (extras == 0) {
        message.byte(kCborNull);
    } else {
        message.head(kArray, extras);
        message.bytes(options.lora.data(), options.lora.size());
        for (size_t i = media; i < media_end; ++i) {
            message.bytes(inputs[i].encoded.data(), inputs[i].encoded.size());
            const bool before = inputs[i].where < start;
            message.head(before ? kNegative : kUnsigned,
                         before ? start - inputs[i].where - 1 : inputs[i].where - start);
        }
        if (salted) message.bytes(options.salt.data(), options.salt.size());
    }
    message.digest(digest);
}

void sglang_block(bool has_parent, const uint32_t* tokens, uint32_t token_count, uint8_t* digest) {
    Message message;
    if (has_parent) message.bytes(digest, kDigestBytes);
    if constexpr (std::endian::native == std::endian::little) {
        message.bytes(tokens, size_t{token_count} * sizeof *tokens);
    } else {
        for (uint32_t i = 0; i < token_count; ++i) {
            const uint32_t little_endian = __builtin_bswap32(tokens[i]);
            message.bytes(&little_endian, sizeof little_endian);
        }
    }
    message.digest(digest);
}

void set_key(const uint8_t* digest, weft_item& item) {
    auto word = [&](uint32_t first) {
        uint64_t value = 0;
        for (uint32_t i = first; i < first + 8; ++i) value = value << 8 | digest[i];
        return value;
    };
    item.key_hi = word(kDigestBytes - 16);
    item.key_lo = word(kDigestBytes - 8);
}

/** Returns what is wrong with the arguments, or nothing. */
std::string wrong_argument(const KeyOptions& options, bool goes_on, const uint32_t* tokens,
                           uint32_t token_count, uint32_t block_tokens, const weft_item* items,
                           uint32_t capacity) {
    if (block_tokens == 0) return "block_tokens 0: at least 1 expected";
    if (tokens == nullptr && token_count != 0)
        return "tokens NULL, token_count " + std::to_string(token_count);
    if (items == nullptr && capacity != 0)
        return "items NULL, capacity " + std::to_string(capacity);
    if (options.start % block_tokens != 0) {
        return "start=" + std::to_string(options.start) + ": a multiple of block_tokens " +
               std::to_string(block_tokens) + " expected";
    }
    const bool placed = !options.salt.empty() || !options.media.empty();
    if (goes_on && placed && !options.has_start) {
        return "start= is missing: chain goes on, and salt= and mm= need tokens[0]'s place";
    }
    return {};
}

}  // namespace

int32_t make_keys(const char* options_text, uint8_t* chain, const uint32_t* tokens,
                  uint32_t token_count, uint32_t block_tokens, weft_item* items, uint32_t capacity,
                  std::string& message_out) {
    KeyOptions options;
    message_out.clear();
    if (!parse_options(options_text, options, message_out)) return -WEFT_EINVAL;
    constexpr uint8_t kZeros[kDigestBytes] = {};
    const bool goes_on = chain != nullptr && std::memcmp(chain, kZeros, kDigestBytes) != 0;
    message_out =
        wrong_argument(options, goes_on, tokens, token_count, block_tokens, items, capacity);
    if (!message_out.empty()) return -WEFT_EINVAL;

    constexpr uint32_t kCountMax = std::numeric_limits<int32_t>::max();
    const uint32_t count = std::min({token_count / block_tokens, capacity, kCountMax});
    uint8_t digest[kDigestBytes];
    if (goes_on) {
        std::memcpy(digest, chain, kDigestBytes);
    } else if (!options.sglang) {
        vllm_seed_digest(options.seed, digest);
    }
    size_t media = 0;
    for (uint32_t i = 0; i < count; ++i) {
        const uint64_t first = uint64_t{i} * block_tokens;
        if (options.sglang) {
            sglang_block(goes_on || i > 0, tokens + first, block_tokens, digest);
        } else {
            vllm_block(options, media, options.start + first, tokens + first, block_tokens, digest);
        }
        set_key(digest, items[i]);
    }
    if (chain != nullptr && count > 0) std::memcpy(chain, digest, kDigestBytes);
    return static_cast<int32_t>(count);
}

int32_t key_of(const uint8_t* bytes, uint64_t size, weft_item* item) {
    if (item == nullptr || (bytes == nullptr && size != 0)) return -WEFT_EINVAL;
    SHA256_CTX state;
    uint8_t digest[kDigestBytes];
    SHA256_Init(&state);
    SHA256_Update(&state, bytes, size);
    SHA256_Final(digest, &state);
    set_key(digest, *item);
    return 0;
}

}  // namespace weft
