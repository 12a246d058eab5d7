// One line, one write call: lines of several threads and processes do not mix within a pipe's
// atomic size.
#include "fabric/log/log.h"

#include <time.h>
#include <unistd.h>

#include <array>

namespace weft::fabric {

void Log::write(LogLevel level, const std::string& line) const {
    if (!wants(level)) return;
    static constexpr std::array<const char*, 4> kNames = {"error", "warning", "info", "debug"};
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    tm parts;
    gmtime_r(&now.tv_sec, &parts);
    std::array<char, 32> when;
    strftime(when.data(), when.size(), "%FT%TZ", &parts);
    std::string text = std::string(when.data()) + " weft " + kNames[static_cast<size_t>(level)] +
                       ": " + line + "\n";
    if (::write(fd_, text.data(), text.size()) < 0) return;  // a closed log must not hurt the store
}

}  // namespace weft::fabric
