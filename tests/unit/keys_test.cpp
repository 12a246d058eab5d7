// Keys against digests made by vLLM 0.32's own kv_cache_utils (sha256_cbor) and by SGLang's page
// hash, and their bad input.
#include "capi/keys.h"

#include <doctest/doctest.h>
#include <openssl/evp.h>

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

namespace {

std::string hex(const uint8_t* bytes, size_t size) {
    std::string out;
    for (size_t i = 0; i < size; ++i) {
        out.push_back("0123456789abcdef"[bytes[i] >> 4]);
        out.push_back("0123456789abcdef"[bytes[i] & 15]);
    }
    return out;
}

struct Made {
    int32_t count;
    std::string chain;  // the last digest, hex
    std::vector<weft_item> items;
    std::string message;
};

Made make(const char* options, const std::vector<uint32_t>& tokens, uint32_t block_tokens,
          const std::string& parent = {}, uint32_t capacity = 100) {
    Made made{0, {}, std::vector<weft_item>(capacity), {}};
    uint8_t chain[32] = {};
    for (size_t i = 0; i < parent.size() / 2; ++i) {
        chain[i] = static_cast<uint8_t>(std::stoul(parent.substr(2 * i, 2), nullptr, 16));
    }
    made.count =
        weft::make_keys(options, chain, tokens.data(), static_cast<uint32_t>(tokens.size()),
                        block_tokens, made.items.data(), capacity, made.message);
    made.chain = hex(chain, sizeof chain);
    return made;
}

/** SHA-256 by another route than the one under test. */
std::string sha256(const std::string& message) {
    uint8_t digest[32];
    REQUIRE(EVP_Digest(message.data(), message.size(), digest, nullptr, EVP_sha256(), nullptr) ==
            1);
    return hex(digest, sizeof digest);
}

const std::string kFirst = "c9d58ba695280d69b243e1e0df813136ca9196b286fb1a021e0b2e028ef071cb";
const std::string kSecond = "610d82c364929f24a366683e03ea284b9aec085805343f1ee9bb52b6da871679";

}  // namespace

TEST_CASE("keys are vLLM's, block by block and with each extra key") {
    CHECK(make("seed=0", {1, 2, 3, 4}, 4).chain == kFirst);
    CHECK(make("seed=0", {1, 2, 3, 4, 5, 6, 7, 300}, 4).chain == kSecond);
    CHECK(make("seed=0,salt=s", {1, 2, 3, 4}, 4).chain ==
          "f2f37132da4b60f7c6df876a7ad45e7b4de4d90abcfae1ee0e04b2866625e911");
    CHECK(make("seed=0\nlora=ad:/p", {1, 2, 3, 4}, 4).chain ==
          "e5b39deb2b9efd399996f3c20717b92fd60602a16f6fb33e0b971eac80b4e4a6");
    const std::string first = make("seed=vllm-none-hash", {1, 2, 3, 4}, 4).chain;
    CHECK(first == "58d0879dff3800f65f8c5fd449d73048c0f7699dd238a03b84b146b151d55111");
    CHECK(make("seed=vllm-none-hash", {5, 6, 7, 300}, 4, first).chain ==
          "310a6c1ca719b2016b5495023d1070b002f6331bdf489e727163edf3ba52af08");
}

TEST_CASE("no options are vLLM's scheme, of engines without a seed") {
    const std::string unseeded = make("seed=vllm-none-hash", {1, 2, 3, 4}, 4).chain;
    CHECK(make(nullptr, {1, 2, 3, 4}, 4).chain == unseeded);
    CHECK(make("", {1, 2, 3, 4}, 4).chain == unseeded);
    CHECK(make("scheme=vllm-sha256-cbor", {1, 2, 3, 4}, 4).chain == unseeded);
    CHECK(make("seed=0", {1, 2, 3, 4}, 4).chain == kFirst);
}

TEST_CASE(
    "a key is the big-endian integers of its digest's last 16 bytes, and nothing else of the item "
    "is set") {
    std::vector<weft_item> items(2, weft_item{9, 9, 77, 78, 79});
    std::string message;
    const std::vector<uint32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 300};
    CHECK(weft::make_keys("seed=0", nullptr, tokens.data(), 8, 4, items.data(), 2, message) == 2);
    CHECK(items[0].key_hi == 0xca9196b286fb1a02);
    CHECK(items[0].key_lo == 0x1e0b2e028ef071cb);
    CHECK(items[1].key_lo == 0xe9bb52b6da871679);
    CHECK(items[1].offset == 77);
    CHECK(items[1].size == 78);
    CHECK(items[1].status == 79);
}

TEST_CASE("a chain goes on where it was left, and salt enters block 0 only") {
    const std::vector<uint32_t> both = {1, 2, 3, 4, 5, 6, 7, 300};
    CHECK(make(nullptr, {5, 6, 7, 300}, 4, kFirst).chain == kSecond);
    const std::string salted = make("salt=s", {1, 2, 3, 4}, 4).chain;
    CHECK(make("salt=s,start=4", {5, 6, 7, 300}, 4, salted).chain == make("salt=s", both, 4).chain);
    CHECK(make("salt=s,start=4", {5, 6, 7, 300}, 4, kFirst).chain == kSecond);
}

TEST_CASE("only full blocks have keys, at most capacity, and no block leaves the chain as it was") {
    CHECK(make(nullptr, {1, 2, 3, 4, 5}, 4).count == 1);
    CHECK(make("seed=0", {1, 2, 3, 4, 5, 6, 7, 300}, 4, {}, 1).count == 1);
    CHECK(make("seed=0", {1, 2, 3, 4, 5, 6, 7, 300}, 4, {}, 1).chain == kFirst);
    CHECK(make(nullptr, {1, 2, 3}, 4, kFirst).count == 0);
    CHECK(make(nullptr, {1, 2, 3}, 4, kFirst).chain == kFirst);
    CHECK(make(nullptr, {}, 4).count == 0);
}

TEST_CASE("a multimodal input enters every block that it overlaps, placed relative to the block") {
    // The tuple (("mm", "idhash", -2), ("cache_salt", "s")) of vLLM stands in a block whose input
    // began 2 tokens earlier; here the parent digest is given, so that the block itself can be
    // at 4.
    const std::string none_hash =
        "4e1195df020de59e0d65a33a4279f1183e7ae4e5d980e309f8b55adff2e61c3e";
    auto block = [](const std::string& parent, const std::string& tail) {
        std::string message = "\x83\x58\x20";
        for (size_t i = 0; i < 64; i += 2)
            message += static_cast<char>(std::stoul(parent.substr(i, 2), nullptr, 16));
        return sha256(message + "\x84\x01\x02\x03\x04" + tail);
    };
    const std::string mm = "\x83\x62mm\x66idhash";
    // The form itself is vLLM's: its digest for exactly these extras.
    REQUIRE(block(none_hash, "\x82" + mm +
                                 "\x21\x82\x6a"
                                 "cache_salt\x61s") ==
            "b8caffbd331370a425a65b98b1b5c0345de243f63dfca3d0a49cd98c161d1268");
    const std::vector<uint32_t> tokens = {1, 2, 3, 4};
    CHECK(make("mm=2+3:idhash,start=4", tokens, 4, kFirst).chain ==
          block(kFirst, "\x81" + mm + "\x21"));
    CHECK(make("mm=6+9:idhash,start=4", tokens, 4, kFirst).chain ==
          block(kFirst, "\x81" + mm + "\x02"));
    CHECK(make("mm=2+2:idhash,start=4", tokens, 4, kFirst).chain == block(kFirst, "\xf6"));
    CHECK(make("mm=8+1:idhash,start=4", tokens, 4, kFirst).chain == block(kFirst, "\xf6"));
    CHECK(make("mm=0+1:other,mm=2+4:idhash,mm=7+1:z,start=4", tokens, 4, kFirst).chain ==
          block(kFirst, "\x82" + mm + "\x21\x83\x62mm\x61z\x03"));
    CHECK(make("seed=0,lora=a:b,salt=s,mm=0+300:idhash", tokens, 4).chain ==
          block(none_hash,
                "\x83\x83\x64lora\x61"
                "a\x61"
                "b" +
                    mm + std::string(1, 0) +
                    "\x82\x6a"
                    "cache_salt\x61s"));
    CHECK(make("mm=2+3:idhash", {1, 2, 3, 4, 1, 2, 3, 4}, 4).chain ==
          make("mm=2+3:idhash,start=4", tokens, 4, make("mm=2+3:idhash", tokens, 4).chain).chain);
}

TEST_CASE("every width of a token, and blocks larger than the buffer, are canonical CBOR") {
    const std::vector<uint32_t> edges = {0, 23, 24, 255, 256, 65535, 65536, 0xffffffff};
    std::string message = "\x83\x58\x20";
    for (int i = 0; i < 32; ++i) message += static_cast<char>(0x11);
    message += "\x88" + std::string(1, '\0') + "\x17\x18\x18\x18\xff\x19";
    message += std::string("\x01\x00\x19\xff\xff\x1a\x00\x01\x00\x00\x1a\xff\xff\xff\xff\xf6", 16);
    std::string parent;
    for (int i = 0; i < 32; ++i) parent += "11";
    CHECK(make(nullptr, edges, 8, parent).chain == sha256(message));

    std::vector<uint32_t> large(5000);
    std::iota(large.begin(), large.end(), 70000U);
    message = message.substr(0, 35) + "\x99\x13\x88";
    for (uint32_t token : large) {
        message += '\x1a';
        for (int shift = 24; shift >= 0; shift -= 8) message += static_cast<char>(token >> shift);
    }
    CHECK(make(nullptr, large, 5000, parent).chain == sha256(message + "\xf6"));
}

TEST_CASE("sglang's keys are its page hashes") {
    const std::string page("\x01\0\0\0\x02\0\0\0", 8);
    const std::string next("\x2c\x01\0\0\xff\xff\xff\xff", 8);
    const std::string first = sha256(page);
    std::string parent;
    for (size_t i = 0; i < 64; i += 2)
        parent += static_cast<char>(std::stoul(first.substr(i, 2), nullptr, 16));
    CHECK(make("scheme=sglang", {1, 2}, 2).chain == first);
    CHECK(make("scheme=sglang", {1, 2, 300, 0xffffffff}, 2).chain == sha256(parent + next));
    CHECK(make("scheme=sglang,start=2", {300, 0xffffffff}, 2, first).chain ==
          sha256(parent + next));
}

TEST_CASE("a value may be a JSON string") {
    CHECK(make("salt=\"s\"", {1, 2, 3, 4}, 4).chain == make("salt=s", {1, 2, 3, 4}, 4).chain);
    CHECK(make("salt=\"a,\\\"b\"\nseed=0", {1, 2, 3, 4}, 4).count == 1);
    CHECK(make("salt=\"\\u00e9\\ud83d\\ude00\"", {1, 2, 3, 4}, 4).chain ==
          make("salt=\xc3\xa9\xf0\x9f\x98\x80", {1, 2, 3, 4}, 4).chain);
}

TEST_CASE("what is malformed is refused by name and value") {
    const struct {
        const char* options;
        const char* named;
    } cases[] = {
        {"scheme=md5", "scheme=md5"},
        {"sede=1", "sede=1"},
        {"seed=abc", "seed=abc"},
        {"seed=", "seed="},
        {"lora=ad", "lora=ad"},
        {"lora=:p", "lora=:p"},
        {"salt=", "salt="},
        {"start=3", "start=3"},
        {"start=x", "start=x"},
        {"start=4294967296", "start=4294967296"},
        {"mm=4", "mm=4"},
        {"mm=4+0:a", "mm=4+0:a"},
        {"mm=4+1:", "mm=4+1:"},
        {"mm=9+1:a,mm=4+1:b", "mm=4+1:b"},
        {"mm=-1+1:a", "mm=-1+1:a"},
        {"salt=a,salt=b", "salt=b"},
        {"seed", "seed"},
        {"salt=\"a", "salt"},
        {"scheme=sglang,salt=a", "salt=a"},
        {"lora=a:b,scheme=sglang", "lora=a:b"},
    };
    for (const auto& test : cases) {
        const Made made = make(test.options, {1, 2, 3, 4}, 4);
        CAPTURE(test.options);
        CAPTURE(made.message);
        CHECK(made.count == -WEFT_EINVAL);
        CHECK(made.message.find(test.named) != std::string::npos);
    }
    CHECK(make("?sede=1,seed=0", {1, 2, 3, 4}, 4).chain == kFirst);
    CHECK(make(nullptr, {1, 2}, 0).count == -WEFT_EINVAL);
    CHECK(make("salt=s", {1, 2, 3, 4}, 4, kFirst).count == -WEFT_EINVAL);
    std::string message;
    CHECK(weft::make_keys(nullptr, nullptr, nullptr, 4, 4, nullptr, 0, message) == -WEFT_EINVAL);
    const uint32_t token = 1;
    CHECK(weft::make_keys(nullptr, nullptr, &token, 1, 1, nullptr, 1, message) == -WEFT_EINVAL);
}

TEST_CASE("the key of bytes is of their SHA-256") {
    weft_item item{};
    CHECK(weft::key_of(nullptr, 0, &item) == 0);
    CHECK(item.key_hi == 0x27ae41e4649b934c);  // of e3b0c442...27ae41e4649b934ca495991b7852b855
    CHECK(item.key_lo == 0xa495991b7852b855);
    const uint8_t abc[] = {'a', 'b', 'c'};
    CHECK(weft::key_of(abc, 3, &item) == 0);
    CHECK(item.key_hi == 0xb00361a396177a9c);
    CHECK(item.key_lo == 0xb410ff61f20015ad);
    CHECK(weft::key_of(nullptr, 1, &item) == -WEFT_EINVAL);
    CHECK(weft::key_of(abc, 3, nullptr) == -WEFT_EINVAL);
}
