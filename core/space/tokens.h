// Who may do what: lines of `token pattern rights`, where pattern is of tenant/model with * and ?,
// and rights are of read, write, advance and admin, joined by commas. Blank lines and lines with #
// are passed over.
//
// What they allow: read to find blocks and read them; write to make, replace and remove them, and
// namespaces, and to read (the memory is one); advance to fence; admin to drop and flush. Any of
// them allows to open the namespace and to ask what is in it.
//
// Invariants: of a token only its digest is kept, compared in constant time, and it is never logged
// or repeated in an error; a bad line makes the whole text bad, and the rights that held before go
// on.
#pragma once
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace weft {

enum Right : uint32_t { kRead = 1, kWrite = 2, kAdvance = 4, kAdmin = 8, kAllRights = 15 };

struct Grant {
    std::string pattern;
    uint32_t rights = 0;
};
using Grants = std::vector<Grant>;

/** The rights that the grants give on a namespace. */
uint32_t rights_on(const Grants& grants, const std::string& name);

class Tokens {
  public:
    static Result<Tokens> parse(const std::string& text);
    /** Empty: the token is not known. */
    Grants find(const std::string& token) const;

  private:
    using Digest = std::array<uint8_t, 32>;
    struct Line {
        Digest token;
        Grant grant;
    };
    static Digest digest_of(const std::string& token);
    std::vector<Line> lines_;
};

/** Does text fit a pattern of letters, * (any run) and ? (any one)? */
bool fits(const std::string& pattern, const std::string& text);

}  // namespace weft
