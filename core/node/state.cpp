// Files of state=DIR: `namespaces.json`, replaced whole (write, fsync, rename, fsync of the
// directory), and `lock`.
#include "core/node/state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "capi/weft.h"

namespace weft {
namespace {

Failure failed(const std::string& what) { return {WEFT_EINTERNAL, what + ": " + strerror(errno)}; }

/** Where an option names a path that cannot be, the option is wrong; the rest is the machine's. */
Failure refused(const std::string& what, const std::string& path) {
    Failure failure = failed(what);
    for (int caller : {ENOENT, ENOTDIR, EACCES, EPERM, EROFS, EISDIR, ENAMETOOLONG}) {
        if (errno == caller) failure.code = WEFT_EINVAL;
    }
    std::string folder = std::filesystem::path(path).parent_path().string();
    failure.message +=
        "; the folder " + (folder.empty() ? "." : folder) + " must be there and writable";
    return failure;
}

constexpr const char* kClean = "clean\n";

Result<std::string> read_all(int fd) {
    std::string text;
    char buffer[4096];
    for (;;) {
        ssize_t got = pread(fd, buffer, sizeof buffer, static_cast<off_t>(text.size()));
        if (got < 0) return failed("read");
        if (got == 0) return text;
        text.append(buffer, static_cast<size_t>(got));
    }
}

Status write_all(int fd, const std::string& text) {
    for (size_t at = 0; at < text.size();) {
        ssize_t put = pwrite(fd, text.data() + at, text.size() - at, static_cast<off_t>(at));
        if (put < 0) return failed("write");
        at += static_cast<size_t>(put);
    }
    return Nothing{};
}

}  // namespace

Result<LockFile> LockFile::take(const std::string& path) {
    LockFile lock;
    // A file that is new has no node before it; one that is empty was left by a node that died
    // while it took the lock.
    lock.fd_ = fabric::Descriptor(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    bool fresh = lock.fd_.valid();
    if (!fresh)
        lock.fd_ = fabric::Descriptor(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock.fd_.valid()) return refused("lock file " + path, path);
    lock.fd_.not_for_children();  // else the lock is theirs too, and a successor waits for them
    if (flock(lock.fd_.get(), LOCK_EX | LOCK_NB) != 0) {
        Result<std::string> holder = read_all(lock.fd_.get());
        std::string who = holder && !holder->empty() ? *holder : "another process\n";
        who.pop_back();
        return Failure{WEFT_EBUSY, "lock file " + path + " is held by " + who};
    }
    Result<std::string> before = read_all(lock.fd_.get());
    if (!before) return before.failure();
    lock.was_clean_ = fresh || *before == kClean;
    std::string mine = "process " + std::to_string(getpid()) + "\n";
    if (ftruncate(lock.fd_.get(), 0) != 0) return failed("lock file " + path);
    Status written = write_all(lock.fd_.get(), mine);
    if (!written) return written.failure();
    if (fsync(lock.fd_.get()) != 0) return failed("lock file " + path);
    return lock;
}

void LockFile::mark_clean() {
    if (!fd_.valid() || ftruncate(fd_.get(), 0) != 0) return;
    Status written = write_all(fd_.get(), kClean);
    if (written) fsync(fd_.get());
}

Status StateDirectory::prepare() const {
    if (mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST) return refused("state=" + path_, path_);
    return Nothing{};
}

Result<std::string> StateDirectory::load() const {
    std::string path = path_ + "/namespaces.json";
    fabric::Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) {
        if (errno == ENOENT) return std::string();
        return failed(path);
    }
    return read_all(fd.get());
}

Status StateDirectory::save(const std::string& text) {
    std::string path = path_ + "/namespaces.json";
    std::string next = path + ".next";
    fabric::Descriptor fd(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd.valid()) return failed(next);
    Status written = write_all(fd.get(), text);
    if (!written) return Failure{written.failure().code, next + ": " + written.failure().message};
    if (fsync(fd.get()) != 0) return failed(next + ": fsync");
    if (rename(next.c_str(), path.c_str()) != 0) return failed(path);
    fabric::Descriptor directory(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid() || fsync(directory.get()) != 0)
        return failed("state=" + path_ + ": fsync");
    return Nothing{};
}

}  // namespace weft
