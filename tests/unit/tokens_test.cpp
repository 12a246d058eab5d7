// Tokens: which rights a line gives, which lines are refused, and that a refusal does not repeat a
// token.
#include "core/space/tokens.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capi/weft.h"

using namespace weft;

namespace {

/** How many instructions it takes to look a token up, told by single steps; 0: the kernel does not
 * let this process trace its child. */
uint64_t steps_to_find(const Tokens& tokens, const std::string& asked) {
    pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(1);
        raise(SIGSTOP);
        [[maybe_unused]] Grants found = tokens.find(asked);
        raise(SIGSTOP);
        _exit(0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return 0;
    uint64_t steps = 0;
    for (bool begun = false; WIFSTOPPED(status); steps++) {
        bool stop = WSTOPSIG(status) == SIGSTOP;
        if (stop && begun) break;
        begun = true;
        ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
        if (waitpid(child, &status, 0) != child) break;
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return steps;
}

}  // namespace

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
                             "good a/b read\nsecret a/b own", "good a/b read\nread a/b secret"}) {
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

// A sanitizer's own work is not the same each time.
constexpr bool kCounts = !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer);

TEST_CASE("to look a token up takes as many instructions however much of one it has right" *
          doctest::skip(!kCounts)) {
    // Longer than what a machine compares at once.
    std::string secret(400, 's');
    Result<Tokens> tokens = Tokens::parse(secret + " a/b read\nfedcba9876543210 c/d write\n");
    REQUIRE(tokens.ok());
    std::string wrong(secret.size(), 'x');
    steps_to_find(*tokens, wrong);  // what the first call alone does is done
    uint64_t expected = steps_to_find(*tokens, wrong);
    if (expected == 0) {
        MESSAGE("left out: constant time of tokens: this process may trace no child");
        return;
    }
    CHECK(expected > 100);
    for (size_t right : {size_t{1}, size_t{100}, size_t{200}, secret.size() - 1}) {
        CAPTURE(right);
        CHECK(steps_to_find(*tokens, secret.substr(0, right) + wrong.substr(right)) == expected);
    }
}
