// Sending, and the two who read: a waiting thread, and the lane's own.
#include "core/node/lane.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capi/weft.h"
#include "core/node/convert.h"
#include "core/node/threads.h"

namespace weft {
namespace {

constexpr uint32_t kPlaceBits = 16;
constexpr size_t kUnderWayMax = size_t{1} << kPlaceBits;  // calls
constexpr size_t kUnsentMax = size_t{64} << 20;           // bytes
constexpr size_t kRoomWords = 8192;  // 64 KiB; grown for a message that is larger

// Words of a message: its head and the call with a parent, and each item. Too few would only cost
// an allocation.
constexpr size_t kCallWords = 32;
constexpr size_t kItemWords = 6;

/** A call as it goes over the socket, in the room of its request: the head of one segment, and the
 * segment. */
class CallMessage {
  public:
    CallMessage(Request& request, uint64_t opening) : room_(request.room) {
        size_t words = kCallWords + kItemWords * request.items.size();
        if (room_.size() < words) room_.resize(words);
        builder_.emplace(kj::arrayPtr(segment(), room_.size() - 1));
        call_ = builder_->initRoot<rpc::LaneCall>();
        call_.setOpening(opening);
        to_rpc(request, call_.initRequest());
    }
    ~CallMessage() {
        builder_.reset();  // leaves zeros
        room_[0] = 0;
    }
    CallMessage(const CallMessage&) = delete;
    CallMessage& operator=(const CallMessage&) = delete;

    kj::ArrayPtr<const kj::byte> bytes(uint64_t id) {
        call_.setId(id);
        auto segments = builder_->getSegmentsForOutput();
        if (segments.size() > 1) {
            flat_ = capnp::messageToFlatArray(segments);
            return flat_.asBytes();
        }
        room_[0] = uint64_t{segments[0].size()} << 32;
        return kj::arrayPtr(reinterpret_cast<const capnp::word*>(room_.data()),
                            segments[0].size() + 1)
            .asBytes();
    }

  private:
    capnp::word* segment() { return reinterpret_cast<capnp::word*>(room_.data() + 1); }
    std::vector<uint64_t>& room_;
    std::optional<capnp::MallocMessageBuilder> builder_;
    rpc::LaneCall::Builder call_{nullptr};
    kj::Array<capnp::word> flat_;
};

}  // namespace

Lane::Lane(Answer answer, std::function<void()> ended)
    : answer_(std::move(answer)),
      ended_(std::move(ended)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      room_(kRoomWords) {
    if (!good()) return;
    epoll_event event{.events = EPOLLIN, .data = {.fd = wake_.get()}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
        wake_ = fabric::Descriptor();  // a thread that nothing wakes could not be ended
        return;
    }
    thread_ = start_thread("weft-lane", [this] { work(); });
}

Lane::~Lane() { stop(); }

void Lane::stop() {
    {
        std::lock_guard<std::mutex> guard(lock_);
        stopping_ = true;
    }
    uint64_t one = 1;
    if (thread_.joinable() && write(wake_.get(), &one, sizeof one) == sizeof one) thread_.join();
    detach();
}

/** What the lane's own thread looks for. The caller holds lock_. False: the machine has no room for
 * it. */
bool Lane::arm(int operation) {
    epoll_event event{};
    event.events = (led_ ? 0u : EPOLLIN) | (unsent_.empty() ? 0u : EPOLLOUT);
    event.data.fd = socket_->get();
    return epoll_ctl(epoll_.get(), operation, socket_->get(), &event) == 0;
}

void Lane::attach(fabric::Descriptor socket) {
    detach();
    socket.not_for_children();
    Socket unheard;
    {
        std::lock_guard<std::mutex> reading(reading_);
        std::lock_guard<std::mutex> guard(lock_);
        begin_ = end_ = 0;
        socket_ = std::make_shared<fabric::Descriptor>(std::move(socket));
        if (!arm(EPOLL_CTL_ADD)) unheard = socket_;
    }
    if (unheard != nullptr) lose(unheard);  // another one may do better
}

void Lane::detach() {
    Socket socket;
    {
        std::lock_guard<std::mutex> guard(lock_);
        socket = socket_;
        // Whoever polls it, or writes to it for long, wakes up.
        if (socket != nullptr) shutdown(socket->get(), SHUT_RDWR);
    }
    lose(socket);
}

void Lane::lose(const Socket& socket) {
    // Behind whoever hands out answers, or loses it right now: when this returns no answer of the
    // socket is still on its way to its asker, who may have been given slots by it.
    std::lock_guard<std::mutex> reading(reading_);
    std::vector<UnderWay> lost;
    {
        std::lock_guard<std::mutex> guard(lock_);
        if (socket == nullptr || socket_ != socket) return;
        epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket->get(), nullptr);
        // Whoever leads polls it still, and wakes up.
        shutdown(socket->get(), SHUT_RDWR);
        socket_ = nullptr;
        unsent_ = std::vector<std::byte>();
        unsent_at_ = 0;
        lost.swap(under_way_);
        free_.clear();
    }
    for (auto& [id, call] : lost) {
        if (id == 0) continue;
        Reply reply;
        reply.status = -WEFT_EPEER;
        answer_(std::move(call), std::move(reply));
    }
    ended_();
}

Lane::Sent Lane::call(Call& call) {
    std::unique_lock<std::mutex> guard(lock_);
    if (socket_ == nullptr) return Sent::no_socket;
    // A node that is stopped reads nothing: what waits for it has an end.
    bool full = free_.empty() && under_way_.size() >= kUnderWayMax;
    if (full || unsent_.size() - unsent_at_ > kUnsentMax) return Sent::too_many;
    guard.unlock();
    // Gone before the lock is, behind which the answer, and the request's next use, may wait.
    CallMessage message(*call.request, call.mapped == nullptr ? 0 : call.mapped->opening());
    guard.lock();
    if (socket_ == nullptr) return Sent::no_socket;
    if (free_.empty()) {
        // Others called meanwhile.
        if (under_way_.size() >= kUnderWayMax) return Sent::too_many;
        free_.push_back(static_cast<uint32_t>(under_way_.size()));
        under_way_.emplace_back();
    }
    uint32_t place = free_.back();
    free_.pop_back();
    uint64_t id = next_++ << kPlaceBits | place;
    auto bytes = message.bytes(id);
    under_way_[place] = {id, std::move(call)};
    ssize_t sent = 0;
    if (unsent_.empty()) {
        sent = send(socket_->get(), bytes.begin(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) sent = sent_after_failure(bytes.size());
    }
    if (static_cast<size_t>(sent) == bytes.size()) return Sent::yes;
    auto rest = reinterpret_cast<const std::byte*>(bytes.begin());
    unsent_.insert(unsent_.end(), rest + sent, rest + bytes.size());
    arm(EPOLL_CTL_MOD);
    return Sent::yes;
}

/** What of so many bytes needs no other attempt, by errno. A socket that cannot be written to any
 * more, in the middle of a message perhaps, ends, and whoever reads finds it so. The caller holds
 * lock_. */
ssize_t Lane::sent_after_failure(size_t bytes) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
    shutdown(socket_->get(), SHUT_RDWR);
    return static_cast<ssize_t>(bytes);
}

void Lane::send_rest() {
    std::lock_guard<std::mutex> guard(lock_);
    if (socket_ == nullptr || unsent_.empty()) return;
    size_t left = unsent_.size() - unsent_at_;
    ssize_t sent =
        send(socket_->get(), unsent_.data() + unsent_at_, left, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) sent = sent_after_failure(left);
    unsent_at_ += static_cast<size_t>(sent);
    if (unsent_at_ == unsent_.size()) {
        unsent_ = std::vector<std::byte>();
        unsent_at_ = 0;
    }
    arm(EPOLL_CTL_MOD);
}

std::optional<Lane::Call> Lane::take_call(uint64_t id) {
    std::lock_guard<std::mutex> guard(lock_);
    auto place = static_cast<uint32_t>(id % kUnderWayMax);
    if (id == 0 || place >= under_way_.size() || under_way_[place].id != id) return std::nullopt;
    under_way_[place].id = 0;
    free_.push_back(place);
    return std::move(under_way_[place].call);
}

/** Answers the whole messages of room_. False: what was read is no message. The caller holds
 * reading_. */
bool Lane::take_messages() {
    for (;;) {
        auto from = reinterpret_cast<const capnp::word*>(room_.data()) + begin_ / 8;
        kj::ArrayPtr<const capnp::word> there(from, (end_ - begin_) / 8);
        size_t words = there.size() == 0 ? 1 : capnp::expectedSizeInWordsFromPrefix(there);
        if (words > reader_options().traversalLimitInWords) return false;
        if (words > there.size()) {
            // Room for the rest of it, from the begin on.
            memmove(room_.data(), reinterpret_cast<std::byte*>(room_.data()) + begin_,
                    end_ - begin_);
            end_ -= begin_;
            begin_ = 0;
            if (words > room_.size()) room_.resize(words);
            return true;
        }
        capnp::FlatArrayMessageReader message(there, reader_options());
        auto answer = message.getRoot<rpc::LaneAnswer>();
        from_rpc(answer.getReply(), reply_);
        begin_ += words * sizeof(capnp::word);
        std::optional<Call> call = take_call(answer.getId());
        if (!call) return false;
        answer_(std::move(*call), std::move(reply_));
        // Memory of a rare large answer is not kept.
        if (reply_.items.capacity() > kKeptItems) reply_.items = std::vector<ReplyItem>();
    }
}

/** Reads what is there, and answers it. */
void Lane::read(const Socket& socket) {
    std::unique_lock<std::mutex> reading(reading_);
    {
        std::lock_guard<std::mutex> guard(lock_);
        if (socket_ != socket) return;
    }
    bool whole = true;
    ssize_t got = 0;
    do {
        size_t room = room_.size() * sizeof(uint64_t) - end_;
        got = recv(socket->get(), reinterpret_cast<std::byte*>(room_.data()) + end_, room,
                   MSG_DONTWAIT);
        if (got <= 0) break;
        end_ += static_cast<size_t>(got);
        whole = static_cast<size_t>(got) < room;
        try {
            if (!take_messages()) got = 0;
        } catch (...) {
            got = 0;  // no message that can be read
        }
    } while (!whole && got > 0);
    bool over = got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    reading.unlock();
    if (over) lose(socket);
}

void Lane::work() {
    for (;;) {
        epoll_event events[2];
        int count = epoll_wait(epoll_.get(), events, 2, -1);
        Socket socket;
        {
            std::lock_guard<std::mutex> guard(lock_);
            if (stopping_) return;
            socket = socket_;
        }
        for (int i = 0; i < count; i++) {
            if (socket == nullptr || events[i].data.fd != socket->get()) continue;
            if ((events[i].events & EPOLLOUT) != 0) send_rest();
            if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(socket);
        }
    }
}

Lane::Lead::Lead(Lane& lane) : lane_(lane) {
    std::lock_guard<std::mutex> guard(lane.lock_);
    if (lane.led_ || lane.socket_ == nullptr) return;
    lane.led_ = true;
    lane.arm(EPOLL_CTL_MOD);
    socket_ = lane.socket_;
}

Lane::Lead::~Lead() {
    if (socket_ == nullptr) return;
    std::lock_guard<std::mutex> guard(lane_.lock_);
    lane_.led_ = false;
    // What came meanwhile wakes the lane's own thread now.
    if (lane_.socket_ != nullptr) lane_.arm(EPOLL_CTL_MOD);
}

void Lane::Lead::wait(int wake, int timeout_ms) {
    pollfd fds[2] = {{socket_->get(), POLLIN, 0}, {wake, POLLIN, 0}};
    if (poll(fds, 2, timeout_ms) > 0 && fds[0].revents != 0) lane_.read(socket_);
}

}  // namespace weft
