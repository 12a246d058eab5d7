// Parsing and matching of tokens. Digests and their comparison are OpenSSL's, whose time depends on
// the length of what was given and on nothing else. SHA-256 through the calls that keep their state
// on the stack: the others make tables of the process's, which OpenSSL frees at exit, while a node
// that the host has not closed still hashes.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "core/space/tokens.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <sstream>

#include "capi/weft.h"

namespace weft {
namespace {

uint32_t right_of(const std::string& word) {
    if (word == "read") return kRead;
    if (word == "write") return kWrite;
    if (word == "advance") return kAdvance;
    if (word == "admin") return kAdmin;
    return 0;
}

}  // namespace

bool fits(const std::string& pattern, const std::string& text) {
    size_t p = 0;
    size_t t = 0;
    size_t star = std::string::npos;
    size_t mark = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
            p++;
            t++;
        } else if (star != std::string::npos) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') p++;
    return p == pattern.size();
}

uint32_t rights_on(const Grants& grants, const std::string& name) {
    uint32_t rights = 0;
    for (const Grant& grant : grants) {
        if (fits(grant.pattern, name)) rights |= grant.rights;
    }
    return rights;
}

Result<Tokens> Tokens::parse(const std::string& text) {
    Tokens tokens;
    std::istringstream lines(text);
    std::string line;
    for (int number = 1; std::getline(lines, line); number++) {
        std::istringstream words(line);
        Line entry;
        std::string token;
        std::string rights;
        std::string rest;
        if (!(words >> token) || token[0] == '#') continue;
        entry.token = digest_of(token);
        std::string where = "tokens: line " + std::to_string(number);
        if (!(words >> entry.grant.pattern >> rights) || words >> rest) {
            return Failure{
                WEFT_EINVAL,
                where + ": three words are expected: token, tenant/model pattern, rights"};
        }
        std::istringstream each(rights);
        std::string word;
        for (int place = 1; std::getline(each, word, ','); place++) {
            uint32_t right = right_of(word);
            if (right == 0) {
                // Not repeated: who mixes up the words has a token here.
                return Failure{WEFT_EINVAL, where + ": right " + std::to_string(place) +
                                                " is none of read, write, advance and admin"};
            }
            entry.grant.rights |= right;
        }
        tokens.lines_.push_back(entry);
    }
    return tokens;
}

Tokens::Digest Tokens::digest_of(const std::string& token) {
    Digest digest;
    SHA256_CTX state;
    SHA256_Init(&state);
    SHA256_Update(&state, token.data(), token.size());
    SHA256_Final(digest.data(), &state);
    return digest;
}

Grants Tokens::find(const std::string& token) const {
    Grants grants;
    Digest digest = digest_of(token);
    for (const Line& line : lines_) {
        if (CRYPTO_memcmp(line.token.data(), digest.data(), digest.size()) == 0)
            grants.push_back(line.grant);
    }
    return grants;
}

}  // namespace weft
