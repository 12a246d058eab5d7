// Threads that Weft owns: named, deaf to signals, joined by their owner.
#pragma once
#include <functional>
#include <thread>

namespace weft {

/** name: at most 15 bytes. */
std::thread start_thread(const char* name, std::function<void()> body);

}  // namespace weft
