// The option text of weft_open as a value.
#pragma once
#include "core/node/store.h"

namespace weft {

struct OpenOptions {
    StoreOptions store;
    int log_fd = 2;
    fabric::LogLevel log_level = fabric::LogLevel::warning;
};

Result<OpenOptions> parse_open_options(const char* text);

struct QueueOptions {
    uint32_t depth = 1024;
    uint64_t inline_bytes = uint64_t{4} << 20;
    uint32_t priority = 1;
};

Result<QueueOptions> parse_queue_options(const char* text);

}  // namespace weft
