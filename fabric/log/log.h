// Lines of text to a descriptor that the opener names (log_fd=, default standard error at warning).
// A line is filtered before it is formatted and written by one write call. Nothing of the data path
// logs.
//
// Invariants: nobody waits for the log: what its descriptor does not take at once is left out; nor
// does it grow without end: lines are cut at kLineBytes and at most kLinesPerSecond are written,
// and how many were left out is said when there is room again.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace weft::fabric {

enum class LogLevel : uint8_t { error, warning, info, debug };

/** Any thread may write. The descriptor belongs to the opener and is never closed here. */
class Log {
  public:
    static constexpr uint32_t kLinesPerSecond = 100;
    static constexpr uint32_t kLineBytes = 2048;  // half of what a pipe takes whole

    Log(int fd, LogLevel level) : fd_(fd), level_(level), flow_(std::make_shared<Flow>()) {}
    bool wants(LogLevel level) const { return level <= level_; }
    void write(LogLevel level, const std::string& line) const;

  private:
    struct Flow {
        std::atomic<uint64_t> second{0};  // the one that `lines` counts
        std::atomic<uint32_t> lines{0};
        std::atomic<uint64_t> left_out{0};
    };
    bool admits(uint64_t second) const;

    int fd_;
    LogLevel level_;
    std::shared_ptr<Flow> flow_;  // shared by the copies of one opener's log
};

}  // namespace weft::fabric
