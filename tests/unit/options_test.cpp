// Option text: what is read, and that what is refused is named with its value.
#include "core/base/options.h"

#include <doctest/doctest.h>

#include <chrono>

#include "capi/weft.h"

using namespace weft;

namespace {

std::string refusal(const char* text) {
    Result<Options> parsed = Options::parse(text);
    return parsed ? "" : parsed.failure().message;
}

bool names(const std::string& message, const char* word) {
    return message.find(word) != std::string::npos;
}

}  // namespace

TEST_CASE("options are separated by commas or newlines and trimmed") {
    Result<Options> options = Options::parse(" a = 1 ,b=two words\nc=");
    REQUIRE(options.ok());
    CHECK(options->take("a") == "1");
    CHECK(options->take("b") == "two words");
    CHECK(options->take("c") == "");
    CHECK_FALSE(options->take("d").has_value());
    CHECK(options->finish("a").ok());
}

TEST_CASE("no text is no options") {
    CHECK(Options::parse(nullptr)->finish("a").ok());
    CHECK(Options::parse("")->finish("a").ok());
    CHECK(Options::parse(" ,\n, ")->finish("a").ok());
}

TEST_CASE("a value with a comma in it is a JSON string, and is written as one") {
    std::string value = "x,\"y\"\nz";
    std::string text = "a=" + quote_option(value) + ",b=1";
    Result<Options> options = Options::parse(text.c_str());
    REQUIRE(options.ok());
    CHECK(options->take("a") == value);
    CHECK(options->take("b") == "1");
    CHECK(quote_option("plain") == "plain");
}

TEST_CASE("malformed option text is refused with the place") {
    CHECK(names(refusal("alone"), "alone"));
    CHECK(names(refusal("a=1,a=2"), "a=2 is given twice"));
    CHECK(names(refusal("a=\"open"), "byte 2"));
    CHECK(names(refusal("a=\"x\"y"), "behind the value of a"));
    CHECK(names(refusal("=1"), "without a key"));
    CHECK(names(refusal("a=\"\\q\""), "JSON string"));
}

TEST_CASE("an unknown key is an error that names it, unless it was written with a question mark") {
    Result<Options> options = Options::parse("known=1,strange=7,?extra=8");
    REQUIRE(options.ok());
    (void)options->take("known");
    Status rest = options->finish("known");
    REQUIRE_FALSE(rest.ok());
    CHECK(rest.failure().code == WEFT_EINVAL);
    CHECK(names(rest.failure().message, "strange=7"));
    CHECK(Options::parse("?extra=8")->finish("known").ok());
}

TEST_CASE("bytes have units and limits, and the refusal names key, value and limits") {
    Result<Options> options = Options::parse("a=2MiB,b=3K,c=5,d=1Q,e=-1,f=99999999999GiB,g=1");
    REQUIRE(options.ok());
    CHECK(*options->take_bytes("a", 0, 0, UINT64_MAX) == 2097152);
    CHECK(*options->take_bytes("b", 0, 0, UINT64_MAX) == 3072);
    CHECK(*options->take_bytes("c", 0, 0, UINT64_MAX) == 5);
    CHECK(*options->take_bytes("absent", 42, 0, 50) == 42);
    CHECK(names(options->take_bytes("d", 0, 0, 10).failure().message, "d=1Q"));
    CHECK(names(options->take_bytes("e", 0, 0, 10).failure().message, "e=-1"));
    CHECK_FALSE(options->take_bytes("f", 0, 0, UINT64_MAX).ok());
    Result<uint64_t> low = options->take_bytes("g", 0, 4, 10);
    CHECK(names(low.failure().message, "from 4 to 10"));
}

TEST_CASE("a number takes no unit, and a flag is yes or no") {
    Result<Options> options = Options::parse("a=2K,b=yes,c=0,d=perhaps");
    REQUIRE(options.ok());
    CHECK_FALSE(options->take_number("a", 0, 0, UINT64_MAX).ok());
    CHECK(*options->take_flag("b", false));
    CHECK_FALSE(*options->take_flag("c", true));
    CHECK(*options->take_flag("absent", true));
    CHECK(names(options->take_flag("d", false).failure().message, "d=perhaps"));
}

TEST_CASE("text that is not UTF-8 is refused, and a zero byte in a value goes on in quotes") {
    CHECK(names(refusal("a=\xff"), "UTF-8"));
    CHECK(names(refusal("a=\"\xc3\""), "UTF-8"));
    Result<Options> options = Options::parse("a=\"x\\u0000y\"");
    REQUIRE(options.ok());
    std::string value = *options->take("a");
    CHECK(value == std::string("x\0y", 3));
    Result<Options> again = Options::parse(("a=" + quote_option(value) + ",b=1").c_str());
    REQUIRE(again.ok());
    CHECK(again->take("a") == value);
    CHECK(again->take("b") == "1");
}

TEST_CASE("a client's text has at most 65,536 bytes and 64 keys") {
    auto refusal_of = [](const std::string& text) {
        Result<Options> parsed = Options::parse_bounded(text);
        if (!parsed) CHECK(parsed.failure().code == WEFT_EINVAL);
        return parsed ? "" : parsed.failure().message;
    };
    std::string keys;
    for (uint32_t i = 0; i < Options::kKeysMost; i++) keys += "key" + std::to_string(i) + "=,";
    CHECK(refusal_of(keys) == "");
    CHECK(names(refusal_of(keys + "?more=1"), "64 keys"));
    std::string longest = "a=" + std::string(Options::kTextMost - 2, 'x');
    CHECK(refusal_of(longest) == "");
    CHECK(names(refusal_of(longest + "x"), "65537 bytes, the limit is 65536"));
}

TEST_CASE("a program's own text may be long, and is read in time that grows with it") {
    constexpr uint32_t kKeys = 200'000;  // each against each: minutes
    std::string text;
    for (uint32_t i = 0; i < kKeys; i++)
        text += "key" + std::to_string(i) + "=,again=" + std::to_string(i) + ",";
    auto began = std::chrono::steady_clock::now();
    Result<Options> options = Options::parse(text.c_str(), "again");
    REQUIRE(options.ok());
    for (uint32_t i = 0; i < kKeys; i++) REQUIRE(options->take("again") == std::to_string(i));
    CHECK_FALSE(options->take("again").has_value());
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(10));
    Result<Options> twice = Options::parse((text + "key7=8").c_str(), "again");
    REQUIRE_FALSE(twice.ok());
    CHECK(names(twice.failure().message, "key7=8 is given twice"));
}
