// Tokens: which rights a line gives, which lines are refused, and that a refusal does not repeat a
// token.
#include "core/space/tokens.h"

#include <doctest/doctest.h>

#include "capi/weft.h"

using namespace weft;

TEST_CASE("a token has the rights of all its lines that fit the namespace") {
    Result<Tokens> tokens = Tokens::parse(
        "# who may what\n"
        "\n"
        "alpha acme/* read,write\n"
        "alpha acme/llama-?b advance\n"
        "beta  *  admin\n");
    REQUIRE(tokens.ok());
    Grants alpha = tokens->find("alpha");
    CHECK(rights_on(alpha, "acme/llama-7b") == (kRead | kWrite | kAdvance));
    CHECK(rights_on(alpha, "acme/qwen") == (kRead | kWrite));
    CHECK(rights_on(alpha, "other/llama-7b") == 0);
    CHECK(rights_on(tokens->find("beta"), "any/thing") == kAdmin);
    CHECK(tokens->find("alph").empty());
    CHECK(tokens->find("alphaa").empty());
    CHECK(tokens->find("").empty());
}

TEST_CASE("a bad line makes the whole text bad, named by number and never by token") {
    for (const char* text : {"good a/b read\nsecret a/b", "good a/b read\nsecret a/b read more",
                             "good a/b read\nsecret a/b own"}) {
        Result<Tokens> tokens = Tokens::parse(text);
        REQUIRE_FALSE(tokens.ok());
        CHECK(tokens.failure().code == WEFT_EINVAL);
        CHECK(tokens.failure().message.find("line 2") != std::string::npos);
        CHECK(tokens.failure().message.find("secret") == std::string::npos);
    }
}

TEST_CASE("a star fits any run and a question mark any one") {
    CHECK(fits("*", ""));
    CHECK(fits("a*b*c", "aXXbYYc"));
    CHECK(fits("a*b*c", "abbc"));
    CHECK_FALSE(fits("a*b*c", "aXXbYY"));
    CHECK(fits("?/?", "t/m"));
    CHECK_FALSE(fits("?/?", "t/mm"));
    CHECK_FALSE(fits("", "x"));
    CHECK(fits("**", "x"));
}
