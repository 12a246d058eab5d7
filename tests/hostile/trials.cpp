// What a process of another user can do with each descriptor and each mapping that a node gave it:
// every way that Linux has to change a file behind a descriptor, tried on each.
//
// A descriptor of an index or of bytes to read yields nothing but reading. One of the own page, or
// of the segments of a namespace that it may write, is written and punched, as it may be, and
// yields nothing else: no other size, no seal, no second way to open it, no other mode or owner.
#include "tests/hostile/trials.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace weft::hostile {
namespace {

std::string path_of(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

bool opens(const std::string& path, int flags) {
    fabric::Descriptor fd(::open(path.c_str(), flags | O_CLOEXEC));
    return fd.valid();
}

bool maps_to_write(int fd) {
    void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return false;
    munmap(at, 4096);
    return true;
}

/** Of what was mapped to be read. */
bool becomes_writable(const File& file) {
    return mprotect(file.mapped, 4096, PROT_READ | PROT_WRITE) == 0;
}

/** Writes what stands there, at a place that nobody uses. */
bool writes(const File& file) {
    std::byte same = file.mapped[file.size - 1];
    return pwrite(file.fd.get(), &same, 1, static_cast<off_t>(file.size - 1)) == 1;
}

bool punches(const File& file) {
    auto last = static_cast<off_t>(file.size - 4096);
    return fallocate(file.fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, last, 4096) == 0;
}

bool seals(int fd) {
    bool sealed = false;
    for (int seal : {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE})
        sealed = fcntl(fd, F_ADD_SEALS, seal) == 0 || sealed;
    return sealed;
}

bool resizes(const File& file) {
    int fd = file.fd.get();
    bool shrinks = ftruncate(fd, 0) == 0;
    bool grows = ftruncate(fd, static_cast<off_t>(file.size + 4096)) == 0;
    bool extends = fallocate(fd, 0, static_cast<off_t>(file.size), 4096) == 0;
    return shrinks || grows || extends;
}

bool takes_over(int fd) { return fchmod(fd, 0777) == 0 || fchown(fd, geteuid(), getegid()) == 0; }

bool links(int fd, const std::string& folder) {
    std::string to = folder + "/linked";
    bool linked =
        linkat(fd, "", AT_FDCWD, to.c_str(), AT_EMPTY_PATH) == 0 ||
        linkat(AT_FDCWD, path_of(fd).c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW) == 0;
    if (linked) unlink(to.c_str());
    return linked;
}

class Findings {
  public:
    explicit Findings(std::vector<std::string>& wrong) : wrong_(wrong) {}
    void expect(const File& file, const char* trial, bool got, bool wanted) {
        if (got == wanted) return;
        wrong_.push_back(std::string(name_of(file.kind)) + " of segment " +
                         std::to_string(file.segment) + ": " + trial + " " +
                         (got ? "is possible" : "fails"));
    }

  private:
    std::vector<std::string>& wrong_;
};

void try_file(const File& file, const std::string& folder, Findings& findings) {
    int fd = file.fd.get();
    int access = fcntl(fd, F_GETFL) & O_ACCMODE;
    findings.expect(file, "to write by its mode", access != O_RDONLY, file.writable());
    for (int mode : {O_RDONLY, O_WRONLY, O_RDWR})
        findings.expect(file, "to open it again", opens(path_of(fd), mode), false);
    findings.expect(file, "to map it to write", maps_to_write(fd), file.writable());
    if (!file.writable())
        findings.expect(file, "to make its mapping writable", becomes_writable(file), false);
    findings.expect(file, "to write", writes(file), file.writable());
    findings.expect(file, "to punch", punches(file), file.writable());
    findings.expect(file, "to seal", seals(fd), false);
    findings.expect(file, "to resize", resizes(file), false);
    findings.expect(file, "to change its mode or owner", takes_over(fd), false);
    findings.expect(file, "to give it a name", links(fd, folder), false);
}

/** By the mappings, which have no descriptor: the kernel gives them to nobody without a capability.
 */
void try_mappings(std::vector<std::string>& wrong) {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/map_files", none)) {
        std::error_code unread;
        std::string target = std::filesystem::read_symlink(entry.path(), unread).string();
        if (target.find("memfd:weft") == std::string::npos) continue;
        for (int mode : {O_RDONLY, O_RDWR}) {
            if (opens(entry.path(), mode)) wrong.push_back("mapping " + target + " is opened");
        }
    }
}

}  // namespace

std::vector<std::string> try_files(const RawClient& client, const std::string& folder) {
    std::vector<std::string> wrong;
    Findings findings(wrong);
    for (const File& file : client.files) {
        if (file.kind != Kind::lane) try_file(file, folder, findings);
    }
    try_mappings(wrong);
    return wrong;
}

std::vector<std::string> try_node(int pid) {
    std::vector<std::string> wrong;
    std::string at = "/proc/" + std::to_string(pid);
    for (const char* name : {"/mem", "/maps", "/fd/0", "/fdinfo/0", "/environ", "/pagemap"}) {
        if (opens(at + name, O_RDONLY)) wrong.push_back(at + name + " is opened");
    }
    std::error_code none;
    std::filesystem::directory_iterator files(at + "/fd", none);
    if (!none) wrong.push_back(at + "/fd is read");
    char byte = 0;
    iovec here{&byte, 1};
    iovec there{reinterpret_cast<void*>(0x10000), 1};
    bool reads = process_vm_readv(pid, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT;
    if (reads) wrong.push_back("process_vm_readv of the node");
    if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0) wrong.push_back("ptrace of the node");
    fabric::Descriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    fabric::Descriptor stolen(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), 3, 0)));
    if (stolen.valid()) wrong.push_back("pidfd_getfd of the node");
    return wrong;
}

std::vector<std::string> memory_files() {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code none;
        std::string target = std::filesystem::read_symlink(entry.path(), none).string();
        if (target.find("memfd:") != std::string::npos) found.push_back(target);
    }
    return found;
}

std::set<uint64_t> inodes(const RawClient& client) {
    std::set<uint64_t> all;
    for (const File& file : client.files) {
        struct stat status{};
        if (file.kind != Kind::lane && fstat(file.fd.get(), &status) == 0)
            all.insert(status.st_ino);
    }
    return all;
}

}  // namespace weft::hostile
