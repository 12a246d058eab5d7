// Each entry of /proc/self/fd is put into a class, and each descriptor that recvmsg brought; what
// fits none is foreign: a socket, a lock, a directory, an event, another's memory.
#include "tests/hostile/descriptors.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace weft::hostile {
namespace {

/** What tells a descriptor from others, when it has been closed since. */
struct Came {
    std::string what;
    uint64_t device = 0;
    uint64_t inode = 0;
    int access = 0;
    bool operator==(const Came& other) const {
        return device == other.device && inode == other.inode && access == other.access;
    }
};

std::vector<Came>& came() {
    static std::vector<Came> all;
    return all;
}

Came look_at(int fd) {
    struct stat status{};
    must(fstat(fd, &status) == 0, "fstat of a descriptor that came");
    return {name_of_descriptor(fd), status.st_dev, status.st_ino, fcntl(fd, F_GETFL) & O_ACCMODE};
}

void remember(msghdr* message) {
    for (cmsghdr* head = CMSG_FIRSTHDR(message); head != nullptr;
         head = CMSG_NXTHDR(message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
        size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd = -1;
            memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
            came().push_back(look_at(fd));
        }
    }
}

bool is_memory(const std::string& what) { return what.starts_with("/memfd:weft"); }
bool is_socket(const std::string& what) { return what.starts_with("socket:"); }

/** As what it was given: each file once. */
void judge_what_came(const RawClient& client, std::vector<std::string>& wrong) {
    std::vector<Came> expected;
    for (const File& file : client.files) expected.push_back(look_at(file.fd.get()));
    for (const Came& one : came()) {
        auto found = std::ranges::find(expected, one);
        if (found != expected.end() && (is_memory(one.what) || is_socket(one.what))) {
            expected.erase(found);
        } else {
            wrong.push_back("the node sent " + one.what);
        }
    }
    for (const Came& one : expected) wrong.push_back("nobody sent " + one.what);
}

/** What it has now: own ones, its files, its connection and its lanes. */
void judge_what_is_open(const RawClient& client, std::vector<std::string>& wrong) {
    std::vector<int> sockets = client.sockets();
    for (const auto& [fd, what] : open_descriptors()) {
        auto own = client.own_descriptors().find(fd);
        if (own != client.own_descriptors().end() && own->second == what) continue;
        auto file =
            std::ranges::find_if(client.files, [&](const File& one) { return one.fd.get() == fd; });
        bool lane = file != client.files.end() && file->kind == Kind::lane;
        bool memory = file != client.files.end() && !lane;
        bool socket = lane || std::ranges::count(sockets, fd) > 0;
        if (memory ? is_memory(what) : socket && is_socket(what)) continue;
        wrong.push_back("descriptor " + std::to_string(fd) + " is " + what);
    }
}

}  // namespace

std::vector<std::string> foreign_descriptors(const RawClient& client) {
    std::vector<std::string> wrong;
    judge_what_came(client, wrong);
    judge_what_is_open(client, wrong);
    return wrong;
}

}  // namespace weft::hostile

/** In the C library's place, for all of this program. */
extern "C" ssize_t recvmsg(int fd, msghdr* message, int flags) {
    ssize_t got = syscall(SYS_recvmsg, fd, message, flags);
    if (got >= 0) weft::hostile::remember(message);
    return got;
}
