// What is stored with a namespace: parsing, the comparison at an open, the way to disk and back,
// and the size classes.
#include "core/space/config.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "capi/weft.h"

using namespace weft;

namespace {

NamespaceRequest parsed(const char* text) {
    Result<NamespaceRequest> request = parse_namespace_options(text);
    REQUIRE_MESSAGE(request.ok(), (request.ok() ? "" : request.failure().message));
    return *request;
}

std::string refusal(const char* text) {
    Result<NamespaceRequest> request = parse_namespace_options(text);
    return request ? "" : request.failure().message;
}

bool names(const std::string& message, const char* word) {
    return message.find(word) != std::string::npos;
}

}  // namespace

TEST_CASE("an open that disagrees with what is stored names both values") {
    NamespaceConfig stored = parsed("parts=2,part_bytes=2MiB,model=llama,block_tokens=16").config;
    CHECK(check_agreement("t/m", parsed("parts=2,part_bytes=2097152/2MiB"), stored).ok());
    CHECK(check_agreement("t/m", parsed(""), stored).ok());
    Status parts = check_agreement("t/m", parsed("parts=4,part_bytes=2MiB"), stored);
    REQUIRE_FALSE(parts.ok());
    CHECK(parts.failure().code == WEFT_EINVAL);
    CHECK(names(parts.failure().message, "parts=4"));
    CHECK(names(parts.failure().message, "parts=2"));
    Status model = check_agreement("t/m", parsed("model=qwen"), stored);
    REQUIRE_FALSE(model.ok());
    CHECK(names(model.failure().message, "model=qwen"));
    CHECK(names(model.failure().message, "model=llama"));
    CHECK(names(model.failure().message, "t/m"));
}

TEST_CASE("a namespace's options survive the way to disk and back") {
    NamespaceConfig config =
        parsed(
            "parts=3,part_bytes=1024/2048/100,dtype=\"bf16,x\",layout=\"a\\\"b\",layers=2,"
            "quota=1GiB,policy=windowed,window=0.25,ttl_s=9,pin_s=8,write_s=7")
            .config;
    Result<NamespaceConfig> again = config_from_json(nlohmann::json::parse(to_json(config).dump()));
    REQUIRE(again.ok());
    CHECK(to_json(*again) == to_json(config));
    Result<NamespaceRequest> created = parse_namespace_options(to_options(config).c_str());
    REQUIRE(created.ok());
    CHECK(to_json(created->config) == to_json(config));
    CHECK(check_agreement("t/m", *created, config).ok());
}

TEST_CASE("parts lie behind each other at multiples of 64 bytes") {
    NamespaceConfig config = parsed("parts=3,part_bytes=100/64/1").config;
    CHECK(config.offset_of(0) == 0);
    CHECK(config.offset_of(1) == 128);
    CHECK(config.offset_of(2) == 192);
    CHECK(config.block_bytes() == 193);
    CHECK(parsed("").config.any_size());
    CHECK(parsed("").config.block_bytes() == 0);
}

TEST_CASE("sizes that do not go together are refused by name") {
    CHECK(names(refusal("parts=2,part_bytes=1/2/3"), "3 sizes for parts=2"));
    CHECK(names(refusal("parts=2,part_bytes=0"), "any size"));
    CHECK(names(refusal("part_bytes=4GiB"), "part_bytes=4GiB"));
    CHECK(names(refusal("part_bytes=100,layers=3"), "layers=3"));
    CHECK(names(refusal("parts=0"), "parts=0"));
    CHECK(names(refusal("parts=1025,part_bytes=1"), "1024"));
    CHECK(names(refusal("policy=clairvoyant"), "clairvoyant"));
    CHECK(names(refusal("window=1.5"), "window"));
    CHECK(names(refusal("colour=red"), "colour=red"));
}

TEST_CASE("a namespace is tenant/model") {
    CHECK(check_name("t/m").ok());
    CHECK(check_name("a.b-c/d_e+f@g:1/h").ok());
    for (const char* bad : {"", "t", "/m", "t/", "t//m", "t/m n", "t/\n"}) {
        CAPTURE(bad);
        CHECK_FALSE(check_name(bad).ok());
    }
    CHECK_FALSE(check_name("t/" + std::string(199, 'x')).ok());
    CHECK(check_name("t/" + std::string(198, 'x')).ok());
}

TEST_CASE("a slot holds its block and wastes at most a quarter of it") {
    CHECK(slot_bytes_for(0) == 256);
    CHECK(slot_bytes_for(256) == 256);
    CHECK(slot_bytes_for(257) == 320);
    CHECK(slot_bytes_for(2097152) == 2097152);
    CHECK(slot_bytes_for((uint64_t{64} << 20) + 1) == uint64_t{66} << 20);
    std::set<uint64_t> classes;
    for (uint64_t bytes = 1; bytes <= uint64_t{64} << 20; bytes += 1 + bytes / 97) {
        uint64_t slot = slot_bytes_for(bytes);
        CAPTURE(bytes);
        REQUIRE(slot >= bytes);
        REQUIRE((bytes < 256 || slot - bytes <= bytes / 4 + 1));
        REQUIRE(slot % kPartAlignment == 0);
        REQUIRE(slot_bytes_for(slot) == slot);
        classes.insert(slot);
    }
    CHECK(classes.size() == 73);  // four a doubling from 256 B to 64 MiB
}

TEST_CASE("a configuration that is kept has a size for each part") {
    Result<NamespaceConfig> config = config_from_json({{"parts", 43}, {"ttl_s", 60}});
    REQUIRE_FALSE(config.ok());
    CHECK(config.failure().message == "parts=43 is kept without part_bytes=");
}

TEST_CASE("a writer's name has 200 bytes, a model's and a type's 1,024, a layout's words 4,096") {
    struct Limit {
        const char* key;
        uint64_t most;
    };
    for (auto [key, most] :
         {Limit{"writer", 200}, {"model", 1024}, {"dtype", 1024}, {"layout", 4096}}) {
        std::string longest = std::string(key) + "=" + std::string(most, 'x');
        CAPTURE(key);
        CHECK(refusal(longest.c_str()) == "");
        std::string refused = refusal((longest + "x").c_str());
        CHECK(names(refused, (std::string(key) + "= has ").c_str()));
        CHECK(names(refused, std::to_string(most).c_str()));
        CHECK(names(refused, std::to_string(most + 1).c_str()));
    }
}

TEST_CASE("the longest words and the most parts, all in quotes, make a text that is read") {
    NamespaceConfig config;
    config.parts = kPartsMax;
    config.part_bytes.assign(kPartsMax, UINT32_MAX);
    // A control character takes six bytes in quotes, more than any other.
    config.model = config.dtype = std::string(kModelMost, '\x01');
    config.layout = std::string(kLayoutMost, '\x01');
    std::string text =
        to_options(config) + "writer=" + quote_option(std::string(kWriterMost, '\x01')) + "\n";
    Result<NamespaceRequest> again = parse_namespace_options(text.c_str());
    REQUIRE_MESSAGE(again.ok(), (again.ok() ? "" : again.failure().message));
    CHECK(to_json(again->config) == to_json(config));
    CHECK(again->writer.size() == kWriterMost);
}
