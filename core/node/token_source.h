// The token that a client logs in with: said once (token=), or the first line of a file
// (token_file=), read anew at each login and whenever the node asks, so that who replaces the file
// replaces the token.
//
// Invariants: no message repeats a token.
#pragma once
#include <string>

#include "core/base/result.h"

namespace weft {

struct TokenSource {
    std::string text;
    std::string file;  // empty: text holds

    /** WEFT_EINVAL where the file has none. */
    Result<std::string> read() const;
};

}  // namespace weft
