/** The bodies of file.h, on descriptors: streams would copy the bytes once more. */
#include "file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "command.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr size_t kStep = size_t{4} << 20;

[[noreturn]] void fail(const std::string& path, const char* doing) {
    throw Failure(kFailed, path + ": " + doing + ": " + std::strerror(errno));
}

/** Closes it at its end, unless it is one of the process's own. */
struct Descriptor {
    int fd;
    ~Descriptor() {
        if (fd > STDERR_FILENO) close(fd);
    }
};

void write_all(const std::string& path, int fd, const std::byte* bytes, size_t size) {
    Progress progress("writing " + path, size);
    for (size_t done = 0; done < size;) {
        const ssize_t wrote = write(fd, bytes + done, std::min(kStep, size - done));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) fail(path, "write");
        done += static_cast<size_t>(wrote);
        progress.at(done);
    }
}

}  // namespace

std::vector<std::byte> read_file(const std::string& path) {
    const Descriptor file{path == "-" ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (file.fd < 0) fail(path, "open");
    struct stat status{};
    if (fstat(file.fd, &status) != 0) fail(path, "stat");
    const auto expected = static_cast<uint64_t>(S_ISREG(status.st_mode) ? status.st_size : 0);
    Progress progress("reading " + path, expected);
    std::vector<std::byte> bytes(std::max<size_t>(kStep, std::min(expected + 1, kPartBytesMax)));
    size_t size = 0;
    for (;;) {
        if (size == bytes.size()) bytes.resize(2 * size);
        const ssize_t got =
            read(file.fd, bytes.data() + size, std::min(kStep, bytes.size() - size));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail(path, "read");
        if (got == 0) break;
        size += static_cast<size_t>(got);
        if (size > kPartBytesMax)
            throw Failure(kFailed, path + ": larger than a part may be, 4294967295 bytes");
        progress.at(size);
    }
    bytes.resize(size);
    return bytes;
}

void write_file(const std::string& path, const std::byte* bytes, size_t size) {
    if (path == "-") return write_all("stdout", STDOUT_FILENO, bytes, size);
    struct stat status{};
    if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
        const Descriptor device{open(path.c_str(), O_WRONLY | O_CLOEXEC)};
        if (device.fd < 0) fail(path, "open");
        return write_all(path, device.fd, bytes, size);
    }
    const std::string part = path + ".part";
    const Descriptor file{open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    if (file.fd < 0) fail(part, "open");
    try {
        write_all(part, file.fd, bytes, size);
        if (rename(part.c_str(), path.c_str()) != 0) fail(path, "rename");
    } catch (...) {
        unlink(part.c_str());
        throw;
    }
}

}  // namespace weft::cli
