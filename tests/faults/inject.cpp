// The injector's state, and the calls that it stands in front of: the linker gives every call of
// this program to __wrap_X instead of X (CMakeLists.txt lists them), and operator new is replaced.
//
// Invariants: what a call fails with is what the kernel would say of a machine that has no more of
// it. Reads and writes fail on sockets and files only: an eventfd's cannot.
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include "callers.h"
#include "fabric/memory/memory.h"

namespace faults {
namespace {

constexpr uint32_t kCallsOfASite = 3;

std::atomic<bool> armed{false};
std::mutex lock;  // guards what follows
Kind armed_kind;
Tried* tried = nullptr;
Struck struck;
thread_local bool inside = false;  // what the injector itself calls does not count

/** Its entry, by open addressing; nullptr: there are too many sites. */
Tried::Site* site_of(uint64_t address) {
    for (uint32_t i = 0; i < Tried::kSites; i++) {
        Tried::Site& site = tried->sites[(address + i) % Tried::kSites];
        if (site.address == 0) site.address = address;
        if (site.address == address) return &site;
    }
    return nullptr;
}

/** The caller holds lock. */
bool is_next(uint64_t address) {
    Tried::Site* site = site_of(address);
    if (site == nullptr || ++site->seen <= site->failed || site->seen > kCallsOfASite) return false;
    site->failed = site->seen;
    return true;
}

}  // namespace

void arm(Kind kind, Tried& with) {
    std::lock_guard<std::mutex> guard(lock);
    armed_kind = kind;
    tried = &with;
    for (Tried::Site& site : tried->sites) site.seen = 0;
    struck = {};
    armed = true;
}

Struck disarm() {
    armed = false;
    std::lock_guard<std::mutex> guard(lock);
    return struck;
}

bool strikes(Kind kind, const char* name, const void* from) {
    if (!armed.load(std::memory_order_relaxed) || inside) return false;
    inside = true;
    bool now = false;
    const Caller caller = find_caller();
    const bool is_ours = caller.address != 0;
    // Of KJ and Cap'n Proto only what they ask the machine for.
    if (is_ours || kind == Kind::system) {
        std::lock_guard<std::mutex> guard(lock);
        now = armed && armed_kind == kind &&
              is_next(is_ours ? caller.address : reinterpret_cast<uint64_t>(from));
        if (now) struck = {true, std::string(name) + " by " + (is_ours ? caller.name : "KJ")};
        if (now) armed = false;
    }
    inside = false;
    return now;
}

namespace {

bool fails(const char* name, int error, const void* from) {
    if (!strikes(Kind::system, name, from)) return false;
    errno = error;
    return true;
}

/** A connection that fails is over, for both sides. */
bool breaks(int fd, const char* name, int error, const void* from) {
    if (!fails(name, error, from)) return false;
    shutdown(fd, SHUT_RDWR);
    errno = error;
    return true;
}

bool is_socket(int fd) {
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

/** The real memory, each of whose calls may fail. */
class FailingMemory final : public weft::fabric::Memory {
  public:
    explicit FailingMemory(std::unique_ptr<Memory> real) : real_(std::move(real)) {}
    weft::Result<weft::fabric::SharedFile> create_data(uint64_t size, bool populate) override {
        if (strikes(Kind::memory, "create_data", __builtin_return_address(0))) return none();
        return real_->create_data(size, populate);
    }
    weft::Result<weft::fabric::SharedFile> create_index(uint64_t size) override {
        if (strikes(Kind::memory, "create_index", __builtin_return_address(0))) return none();
        return real_->create_index(size);
    }
    weft::Status reserve(const weft::fabric::SharedFile& file, uint64_t offset,
                         uint64_t size) override {
        if (strikes(Kind::memory, "reserve", __builtin_return_address(0))) return none();
        return real_->reserve(file, offset, size);
    }
    void punch(weft::fabric::SharedFile& file) override { real_->punch(file); }
    weft::Result<weft::fabric::Mapping> map(const weft::fabric::Descriptor& descriptor,
                                            uint64_t size, weft::fabric::Access access,
                                            bool populate) override {
        if (strikes(Kind::memory, "map", __builtin_return_address(0))) return none();
        return real_->map(descriptor, size, access, populate);
    }

  private:
    static weft::Failure none() { return {10, "the machine has no memory left: a planted fault"}; }
    std::unique_ptr<Memory> real_;
};

void* allocate(size_t size, size_t alignment) {
    if (strikes(Kind::allocation, "operator new", __builtin_return_address(0))) return nullptr;
    size = size == 0 ? 1 : size;
    return alignment <= alignof(max_align_t)
               ? std::malloc(size)
               : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

/** As the standard has it: the handler makes room, or throws. */
void* allocate_or_throw(size_t size, size_t alignment) {
    for (;;) {
        if (void* made = allocate(size, alignment)) return made;
        std::new_handler handler = std::get_new_handler();
        if (handler == nullptr) throw std::bad_alloc();
        handler();
    }
}

}  // namespace
}  // namespace faults

using namespace faults;

void* operator new(size_t size) { return allocate_or_throw(size, 1); }
void* operator new[](size_t size) { return allocate_or_throw(size, 1); }
void* operator new(size_t size, std::align_val_t alignment) {
    return allocate_or_throw(size, static_cast<size_t>(alignment));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { return allocate(size, 1); }
void operator delete(void* at) noexcept { std::free(at); }
void operator delete[](void* at) noexcept { std::free(at); }
void operator delete(void* at, size_t) noexcept { std::free(at); }
void operator delete[](void* at, size_t) noexcept { std::free(at); }
void operator delete(void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete(void* at, size_t, std::align_val_t) noexcept { std::free(at); }

// The names are the linker's.
#pragma clang diagnostic ignored "-Wreserved-identifier"
#pragma clang diagnostic ignored "-Wreturn-type-c-linkage"
extern "C" {

#define WRAP(result, name, error, failed, parameters, arguments)             \
    result __real_##name parameters;                                         \
    result __wrap_##name parameters {                                        \
        if (fails(#name, error, __builtin_return_address(0))) return failed; \
        return __real_##name arguments;                                      \
    }

WRAP(int, memfd_create, EMFILE, -1, (const char* name, unsigned flags), (name, flags))
WRAP(int, fallocate, ENOSPC, -1, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
WRAP(int, fchmod, EPERM, -1, (int fd, mode_t mode), (fd, mode))
WRAP(int, ftruncate, EIO, -1, (int fd, off_t size), (fd, size))
WRAP(int, fsync, EIO, -1, (int fd), (fd))
WRAP(int, rename, ENOSPC, -1, (const char* from, const char* to), (from, to))
WRAP(int, mkdir, ENOSPC, -1, (const char* path, mode_t mode), (path, mode))
WRAP(int, flock, ENOLCK, -1, (int fd, int how), (fd, how))
WRAP(ssize_t, pread, EIO, -1, (int fd, void* to, size_t size, off_t at), (fd, to, size, at))
WRAP(ssize_t, pwrite, ENOSPC, -1, (int fd, const void* from, size_t size, off_t at),
     (fd, from, size, at))
WRAP(int, socket, EMFILE, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, socketpair, EMFILE, -1, (int domain, int type, int protocol, int* ends),
     (domain, type, protocol, ends))
WRAP(int, connect, ECONNREFUSED, -1, (int fd, const sockaddr* to, socklen_t size), (fd, to, size))
WRAP(int, bind, ENOMEM, -1, (int fd, const sockaddr* to, socklen_t size), (fd, to, size))
WRAP(int, listen, ENOMEM, -1, (int fd, int count), (fd, count))
WRAP(int, accept4, EMFILE, -1, (int fd, sockaddr* of, socklen_t* size, int flags),
     (fd, of, size, flags))
ssize_t __real_sendmsg(int fd, const msghdr* message, int flags);
ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags) {
    if (breaks(fd, "sendmsg", EPIPE, __builtin_return_address(0))) return -1;
    return __real_sendmsg(fd, message, flags);
}
ssize_t __real_recvmsg(int fd, msghdr* message, int flags);
ssize_t __wrap_recvmsg(int fd, msghdr* message, int flags) {
    if (breaks(fd, "recvmsg", ECONNRESET, __builtin_return_address(0))) return -1;
    return __real_recvmsg(fd, message, flags);
}
WRAP(int, eventfd, EMFILE, -1, (unsigned value, int flags), (value, flags))
WRAP(int, epoll_create1, EMFILE, -1, (int flags), (flags))
WRAP(int, fstat, EIO, -1, (int fd, struct stat* to), (fd, to))
WRAP(ssize_t, getrandom, ENOSYS, -1, (void* to, size_t size, unsigned flags), (to, size, flags))

void* __real_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset);
void* __wrap_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) {
    if (fails("mmap", ENOMEM, __builtin_return_address(0))) return MAP_FAILED;
    return __real_mmap(at, size, protection, flags, fd, offset);
}

/** Advice that only helps may fail without an answer; that which takes memory must not. */
int __real_madvise(void* at, size_t size, int advice);
int __wrap_madvise(void* at, size_t size, int advice) {
    if (fails("madvise", ENOMEM, __builtin_return_address(0))) return -1;
    return __real_madvise(at, size, advice);
}

int __real_open(const char* path, int flags, ...);
int __wrap_open(const char* path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const auto mode = va_arg(more, unsigned);
    va_end(more);
    if (fails("open", EMFILE, __builtin_return_address(0))) return -1;
    return __real_open(path, flags, mode);
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    void* argument = va_arg(more, void*);
    va_end(more);
    const bool copies = command == F_DUPFD_CLOEXEC || command == F_DUPFD;
    if (copies && fails("fcntl(F_DUPFD)", EMFILE, __builtin_return_address(0))) return -1;
    if (command == F_ADD_SEALS && fails("fcntl(F_ADD_SEALS)", EPERM, __builtin_return_address(0)))
        return -1;
    return __real_fcntl(fd, command, argument);
}

int __real_epoll_ctl(int epoll, int command, int fd, epoll_event* event);
int __wrap_epoll_ctl(int epoll, int command, int fd, epoll_event* event) {
    if (command == EPOLL_CTL_ADD && fails("epoll_ctl(ADD)", ENOSPC, __builtin_return_address(0)))
        return -1;
    return __real_epoll_ctl(epoll, command, fd, event);
}

ssize_t __real_send(int fd, const void* from, size_t size, int flags);
ssize_t __wrap_send(int fd, const void* from, size_t size, int flags) {
    if (breaks(fd, "send", EPIPE, __builtin_return_address(0))) return -1;
    return __real_send(fd, from, size, flags);
}

ssize_t __real_recv(int fd, void* to, size_t size, int flags);
ssize_t __wrap_recv(int fd, void* to, size_t size, int flags) {
    if (breaks(fd, "recv", ECONNRESET, __builtin_return_address(0))) return -1;
    return __real_recv(fd, to, size, flags);
}

ssize_t __real_read(int fd, void* to, size_t size);
ssize_t __wrap_read(int fd, void* to, size_t size) {
    if (is_socket(fd) && breaks(fd, "read", ECONNRESET, __builtin_return_address(0))) return -1;
    return __real_read(fd, to, size);
}

ssize_t __real_write(int fd, const void* from, size_t size);
ssize_t __wrap_write(int fd, const void* from, size_t size) {
    if (is_socket(fd) && breaks(fd, "write", EPIPE, __builtin_return_address(0))) return -1;
    return __real_write(fd, from, size);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
    va_list more;
    va_start(more, number);
    long words[6];
    for (long& word : words) word = va_arg(more, long);
    va_end(more);
    if (number == SYS_pidfd_open && fails("pidfd_open", EMFILE, __builtin_return_address(0)))
        return -1;
    return __real_syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

void* __real_aligned_alloc(size_t alignment, size_t size);
void* __wrap_aligned_alloc(size_t alignment, size_t size) {
    if (strikes(Kind::allocation, "aligned_alloc", __builtin_return_address(0))) return nullptr;
    return __real_aligned_alloc(alignment, size);
}

// std::thread's constructor, behind which lies pthread_create.
using State = std::unique_ptr<std::thread::_State>;
void __real__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(
    std::thread* thread, State state, void (*depend)());
void __wrap__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(
    std::thread* thread, State state, void (*depend)()) {
    if (strikes(Kind::system, "std::thread", __builtin_return_address(0)))
        throw std::system_error(EAGAIN, std::generic_category());
    __real__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(
        thread, std::move(state), depend);
}

std::unique_ptr<weft::fabric::Memory> __real__ZN4weft6fabric13system_memoryEPKNS0_3LogE(
    const weft::fabric::Log* log);
std::unique_ptr<weft::fabric::Memory> __wrap__ZN4weft6fabric13system_memoryEPKNS0_3LogE(
    const weft::fabric::Log* log) {
    return std::make_unique<FailingMemory>(__real__ZN4weft6fabric13system_memoryEPKNS0_3LogE(log));
}

}  // extern "C"
