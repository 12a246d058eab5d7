// Reading the first line of a file, less the white space around it.
#include "core/node/token_source.h"

#include <errno.h>
#include <string.h>

#include <fstream>

#include "capi/weft.h"

namespace weft {

Result<std::string> TokenSource::read() const {
    if (file.empty()) return text;
    std::ifstream stream(file);
    if (!stream) return Failure{WEFT_EINVAL, "token_file=" + file + ": " + strerror(errno)};
    std::string line;
    std::string token;
    if (std::getline(stream, line)) {
        size_t begin = line.find_first_not_of(" \t\r");
        if (begin != std::string::npos)
            token = line.substr(begin, line.find_last_not_of(" \t\r") + 1 - begin);
    }
    if (token.empty())
        return Failure{WEFT_EINVAL, "token_file=" + file + ": no token in its first line"};
    return token;
}

}  // namespace weft
