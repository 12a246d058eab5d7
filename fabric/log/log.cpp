// One line, one write call: lines of several threads and processes do not mix within a pipe's
// atomic size.
#include "fabric/log/log.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <array>

namespace weft::fabric {

/** Whether one more line may be written in this second. Relaxed, and two threads that meet a new
 * second may each begin it: then some lines more are let through. */
bool Log::admits(uint64_t second) const {
    if (flow_->second.exchange(second, std::memory_order_relaxed) != second)
        flow_->lines.store(0, std::memory_order_relaxed);
    bool room = flow_->lines.fetch_add(1, std::memory_order_relaxed) < kLinesPerSecond;
    pollfd to{fd_, POLLOUT, 0};  // a pipe that nobody reads is full one day
    // Nor one whose reader is gone: that would be SIGPIPE, which is the host's.
    if (room && poll(&to, 1, 0) == 1 && to.revents == POLLOUT) return true;
    flow_->left_out.fetch_add(1, std::memory_order_relaxed);
    return false;
}

void Log::write(LogLevel level, const std::string& line) const {
    if (!wants(level)) return;
    static constexpr std::array<const char*, 4> kNames = {"error", "warning", "info", "debug"};
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!admits(static_cast<uint64_t>(now.tv_sec))) return;
    tm parts;
    gmtime_r(&now.tv_sec, &parts);
    std::array<char, 32> when;
    strftime(when.data(), when.size(), "%FT%TZ", &parts);
    std::string head =
        std::string(when.data()) + " weft " + kNames[static_cast<size_t>(level)] + ": ";
    std::string text;
    if (uint64_t count = flow_->left_out.exchange(0, std::memory_order_relaxed); count != 0)
        text = head + std::to_string(count) + " lines before this one were left out\n";
    text += head + line.substr(0, kLineBytes) + "\n";
    if (::write(fd_, text.data(), text.size()) < 0) return;  // a closed log must not hurt the store
}

}  // namespace weft::fabric
