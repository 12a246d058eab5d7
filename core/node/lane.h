// The short way from a client to its node: calls and answers as Cap'n Proto messages on a socket of
// their own. Whoever submits writes the call; the answer is read by one who waits for it (`Lead`),
// or by the lane's own thread where nobody waits. So a call wakes two threads, the node's and the
// caller's, as a bare RPC does.
//
// Invariants: every call is answered once, on the thread that read the answer, which holds no lock
// of the lane's but that of reading; what is under way when the socket ends is answered with
// -WEFT_EPEER. At most one thread leads; the lane's own does not look at the socket meanwhile.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/node/mapped.h"
#include "core/write/request.h"
#include "fabric/memory/memory.h"

namespace weft {

class Lane {
  public:
    struct Call {
        std::shared_ptr<Mapped> mapped;  // shared with the op; nullptr: of no namespace
        Request* request = nullptr;      // its asker's, until done
        Done done;
    };
    using Answer = std::function<void(Call&&, Reply&&)>;

    /** answer: gets each call back with its reply; -WEFT_EPEER: it may have been carried out or
     * not. ended: the socket has ended, told once for each. Both on any thread. */
    Lane(Answer answer, std::function<void()> ended);
    ~Lane();
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;

    /** Whether the machine gave what it needs. */
    bool good() const { return epoll_.valid() && wake_.valid(); }
    /** Ends its thread, and the calls under way. */
    void stop();
    /** Calls go by this socket from now on. */
    void attach(fabric::Descriptor socket);
    /** Ends the socket, if there is one, and the calls under way. When it returns all answers have
     * been given out. */
    void detach();
    enum class Sent : uint8_t { yes, no_socket, too_many };
    /** Sends the call; never waits. But for `yes` the call is as it was. */
    Sent call(Call& call);

    /** A thread that waits for an answer reads them meanwhile. */
    class Lead {
      public:
        /** The lead, unless another thread has it or there is no socket. */
        explicit Lead(Lane& lane);
        ~Lead();
        Lead(const Lead&) = delete;
        Lead& operator=(const Lead&) = delete;
        explicit operator bool() const { return socket_ != nullptr; }
        /** Until something was read, `wake` is readable or the time is over; -1: for good. */
        void wait(int wake, int timeout_ms);

      private:
        Lane& lane_;
        std::shared_ptr<fabric::Descriptor> socket_;  // shared with the lane
    };

  private:
    using Socket = std::shared_ptr<fabric::Descriptor>;  // shared with those who poll it
    void work();
    void read(const Socket& socket);
    bool take_messages();
    void lose(const Socket& socket);
    void send_rest();
    ssize_t sent_after_failure(size_t bytes);
    bool arm(int operation);
    std::optional<Call> take_call(uint64_t id);

    Answer answer_;
    std::function<void()> ended_;
    fabric::Descriptor epoll_;
    fabric::Descriptor wake_;
    std::mutex lock_;  // guards what follows
    Socket socket_;
    struct UnderWay {
        uint64_t id = 0;  // 0: free; its place in the lowest bits
        Call call;
    };
    std::vector<UnderWay> under_way_;
    std::vector<uint32_t> free_;  // places in it
    uint64_t next_ = 1;
    std::vector<std::byte> unsent_;
    size_t unsent_at_ = 0;  // where in it the rest begins
    bool led_ = false;
    bool stopping_ = false;
    std::mutex reading_;  // guards what follows; taken before lock_
    std::vector<uint64_t> room_;
    size_t begin_ = 0;  // bytes of room_ that are messages already answered
    size_t end_ = 0;    // bytes of room_ that were read
    Reply reply_;       // its memory is used again
    std::thread thread_;
};

}  // namespace weft
