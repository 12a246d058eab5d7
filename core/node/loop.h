// A thread with a KJ event loop, and the way to it from other threads.
//
// Invariants: posted work runs on the loop's thread, in order, or is dropped (destroyed unrun, on
// that thread) once the loop has ended; nothing waits for it.
#pragma once
#include <kj/async-io.h>
#include <kj/async-unix.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "fabric/memory/forked.h"
#include "fabric/memory/memory.h"

namespace weft {

/** A stream's descriptor is none of a child's, as long as what is returned lives. */
fabric::ClosedInChildren closed_in_children(const kj::AsyncIoStream& stream);

class Loop {
  public:
    using Work = std::function<void()>;

    Loop() = default;
    ~Loop() { stop(); }
    /** body runs on the new thread, with the loop's I/O; when its promise resolves or stop() is
     * called, the thread ends. False: the machine gives no descriptor more, and nothing runs. */
    bool start(const char* name, std::function<kj::Promise<void>(kj::AsyncIoContext&)> body);
    /** Any thread. False: the loop has ended. */
    bool post(Work work);
    /** Ends the loop and joins the thread; not from the loop's own thread. */
    void stop();
    bool on_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

  private:
    kj::Promise<void> take_posts(kj::UnixEventPort& port);
    void run_posts();

    std::thread thread_;
    fabric::Descriptor wake_;
    std::mutex lock_;  // guards posts_ and open_
    std::vector<Work> posts_;
    bool open_ = false;
    bool stopping_ = false;
};

}  // namespace weft
