// Lines of text to a descriptor that the opener names (log_fd=, default standard error at warning).
// A line is filtered before it is formatted and written by one write call. Nothing of the data path
// logs.
#pragma once
#include <cstdint>
#include <string>

namespace weft::fabric {

enum class LogLevel : uint8_t { error, warning, info, debug };

/** Any thread may write. The descriptor belongs to the opener and is never closed here. */
class Log {
  public:
    Log(int fd, LogLevel level) : fd_(fd), level_(level) {}
    bool wants(LogLevel level) const { return level <= level_; }
    void write(LogLevel level, const std::string& line) const;

  private:
    int fd_;
    LogLevel level_;
};

}  // namespace weft::fabric
