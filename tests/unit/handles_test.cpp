// The table of handles: who uses a closed one disturbs nobody, whenever it comes.
#include "capi/handles.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace weft {
namespace {

/** Ends the process where the test has hung: a count that went wrong keeps `remove` for good. */
class Watchdog {
  public:
    explicit Watchdog(std::chrono::seconds patience)
        : thread_([this, patience] {
              auto end = std::chrono::steady_clock::now() + patience;
              while (!done_ && std::chrono::steady_clock::now() < end)
                  std::this_thread::sleep_for(std::chrono::milliseconds(10));
              if (done_) return;
              std::fprintf(stderr, "a handle's removal has not ended\n");
              std::_Exit(1);
          }) {}
    ~Watchdog() {
        done_ = true;
        thread_.join();
    }
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;

  private:
    std::atomic<bool> done_{false};
    std::thread thread_;
};

}  // namespace

TEST_CASE("a closed handle that is used while its place is given anew leaves no trace there") {
    Watchdog watchdog(std::chrono::seconds(60));
    uint64_t closed = Handles::add(Handles::kQueue, nullptr, nullptr);
    REQUIRE(closed != 0);
    REQUIRE(Handles::remove(closed, 0));
    std::atomic<bool> stop{false};
    std::thread user([&] {
        while (!stop) {
            Handles::Hold hold(Handles::kQueue, reinterpret_cast<const void*>(closed));
            if (hold.status != -WEFT_ECLOSED) std::abort();
        }
    });
    for (int i = 0; i < 200'000; i++) {
        uint64_t other = Handles::add(Handles::kQueue, nullptr, nullptr);
        REQUIRE(other != 0);
        REQUIRE(Handles::remove(other, 0));
    }
    stop = true;
    user.join();
    // With a wrong count the place is taken for good, or closing waits there for nobody.
    uint64_t last = Handles::add(Handles::kQueue, nullptr, nullptr);
    CHECK((last >> 4 & 0xfff) == (closed >> 4 & 0xfff));
    CHECK(Handles::remove(last, 0));
}

}  // namespace weft
