// The loop sleeps in epoll on its sockets and on one eventfd.
#include "core/node/loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <future>

#include "core/node/threads.h"

namespace weft {
namespace {

constexpr kj::uint kTurnsBetweenPolls = 256;  // a call takes a dozen

}  // namespace

fabric::ClosedInChildren closed_in_children(const kj::AsyncIoStream& stream) {
    KJ_IF_MAYBE (fd, stream.getFd()) return fabric::ClosedInChildren(*fd);
    return {};
}

bool Loop::start(const char* name, std::function<kj::Promise<void>(kj::AsyncIoContext&)> body) {
    wake_ = fabric::Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_.valid()) return false;
    open_ = true;
    std::promise<bool> set_up;
    std::future<bool> is_set_up = set_up.get_future();
    thread_ = start_thread(name, [this, &set_up, body = std::move(body)] {
        bool told = false;
        kj::runCatchingExceptions([&] {
            kj::AsyncIoContext io = kj::setupAsyncIo();
            // Who always has more for us to do does not keep the others from being heard.
            io.waitScope.setBusyPollInterval(kTurnsBetweenPolls);
            kj::Promise<void> posts = take_posts(io.unixEventPort);
            told = true;
            set_up.set_value(true);
            kj::runCatchingExceptions(
                [&] { body(io).exclusiveJoin(kj::mv(posts)).wait(io.waitScope); });
            std::lock_guard<std::mutex> guard(lock_);
            open_ = false;
        });
        if (!told) {
            open_ = false;
            set_up.set_value(false);
        }
        // Work that came too late is destroyed here, where KJ objects in it are at home no more; so
        // it holds none.
        posts_.clear();
    });
    bool runs = is_set_up.get();
    if (!runs) thread_.join();
    return runs;
}

kj::Promise<void> Loop::take_posts(kj::UnixEventPort& port) {
    kj::UnixEventPort::FdObserver observer(port, wake_.get(),
                                           kj::UnixEventPort::FdObserver::OBSERVE_READ);
    for (;;) {
        uint64_t count = 0;
        if (read(wake_.get(), &count, sizeof count) < 0) {
            co_await observer.whenBecomesReadable();
            continue;
        }
        run_posts();
        std::lock_guard<std::mutex> guard(lock_);
        if (stopping_) co_return;
    }
}

void Loop::run_posts() {
    std::vector<Work> posts;
    {
        std::lock_guard<std::mutex> guard(lock_);
        posts.swap(posts_);
    }
    // What one cannot do (no descriptor left, say) is no reason to end the others.
    for (Work& work : posts) kj::runCatchingExceptions([&] { work(); });
}

bool Loop::post(Work work) {
    bool first = false;
    {
        std::lock_guard<std::mutex> guard(lock_);
        if (!open_) return false;
        first = posts_.empty();
        posts_.push_back(std::move(work));
    }
    uint64_t one = 1;
    if (first && write(wake_.get(), &one, sizeof one) < 0) return false;
    return true;
}

void Loop::stop() {
    if (!thread_.joinable()) return;
    {
        std::lock_guard<std::mutex> guard(lock_);
        stopping_ = true;
    }
    uint64_t one = 1;
    if (write(wake_.get(), &one, sizeof one) < 0) stopping_ = true;
    thread_.join();
}

}  // namespace weft
