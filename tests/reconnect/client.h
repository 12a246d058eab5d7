// What the modes of reconnect_client share: it is told what to do next by lines on its standard
// input, says what it saw by lines on its standard output, and ends with words where a call did not
// do what it must.
#pragma once
#include <time.h>
#include <weft.h>

#include <cstdint>
#include <string>
#include <vector>

namespace reconnect {

/** Ends the process with words. */
[[noreturn]] void fail(const std::string& words);
/** Prints a line, at once. */
void say(const std::string& line);
/** Waits for the driver's word. */
void wait_for(const std::string& word);

inline double now_ms() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

/** A store, a namespace in it, a queue and all of this process's memory as a region. */
class Client {
  public:
    Client(const std::string& options, const std::string& name);

    weft_op op(uint32_t kind, uint64_t key, void* bytes = nullptr, uint32_t size = 0) const;
    /** Submits one and waits until it ended, however long that takes. */
    weft_event run(const weft_op& op) const;
    /** The words of an op that failed. */
    std::string story(const weft_event& event) const;

    weft_store* store = nullptr;
    weft_queue* queue = nullptr;
    uint32_t region = 0;
    uint32_t space = 0;
};

/** What stands at each place of a block: the key in each byte, so that a foreign one is seen. */
std::vector<uint8_t> content(uint64_t key);

int stopped(const std::string& socket);
int restarts(const std::string& socket, int count);
int held(const std::string& socket);
int forks(const std::string& socket);

}  // namespace reconnect
