/** The checks of doctor.h. Numbers that a finding recommends are the library's own limits or the
 *  kernel's words for them. */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "doctor.h"
#include "print.h"

namespace weft::cli {
namespace {

/** The number behind "name:" in a file of such lines, times 1024; 0 where there is none. */
uint64_t kib_of(const char* path, const std::string& name) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);)
        if (line.rfind(name + ":", 0) == 0) return std::stoull(line.substr(name.size() + 1)) * 1024;
    return 0;
}

/** The word in brackets, as in "always [madvise] never". */
std::string chosen_word(const std::string& path) {
    const std::string line = first_line(path);
    const size_t from = line.find('[');
    return from == std::string::npos ? "" : line.substr(from + 1, line.find(']') - from - 1);
}

std::string limit_text(rlim_t limit, bool bytes) {
    if (limit == RLIM_INFINITY) return "unlimited";
    return bytes ? bytes_text(limit) : std::to_string(limit);
}

void check_seals(Findings& findings) {
    const int fd = memfd_create("weft-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;
    const bool sized = fd >= 0 && ftruncate(fd, 4096) == 0;
    if (sized && fcntl(fd, F_ADD_SEALS, seals) == 0)
        findings.push_back(
            {Level::kOk, "memfd", "memory files with all seals that are needed", ""});
    else
        findings.push_back(
            {Level::kFailure, "memfd",
             std::string("no memory file with the seals "
                         "SHRINK, GROW and FUTURE_WRITE: ") +
                 std::strerror(errno),
             "Use a kernel of 5.1 or newer, or a container that allows memfd_create."});
    if (fd >= 0) close(fd);
}

void check_pidfd(Findings& findings) {
    const long fd = syscall(SYS_pidfd_open, getpid(), 0);
    if (fd >= 0) {
        close(static_cast<int>(fd));
        findings.push_back({Level::kOk, "pidfd", "the death of a process can be watched", ""});
        return;
    }
    findings.push_back({Level::kFailure, "pidfd",
                        std::string("pidfd_open: ") + std::strerror(errno),
                        "Use a kernel of 5.3 or newer, or a container that allows pidfd_open."});
}

void check_huge_pages(Findings& findings) {
    const std::string path = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    const std::string word = chosen_word(path);
    if (word.empty())
        findings.push_back(
            {Level::kNote, "huge pages", path + " is not there",
             "Shared memory stays in 4 KiB pages; look-ups in a large index are slower."});
    else if (word == "never" || word == "deny")
        findings.push_back({Level::kWarning, "huge pages",
                            "shared memory may not use them (" + word + ")",
                            "As root: echo within_size > " + path});
    else if (word == "advise")
        findings.push_back({Level::kOk, "huge pages",
                            "nodes with prefault=yes have them in shared memory (advise)",
                            "For all nodes, as root: echo within_size > " + path});
    else
        findings.push_back(
            {Level::kOk, "huge pages", "shared memory may use them (" + word + ")", ""});
    const std::string total = first_line("/proc/sys/vm/nr_hugepages");
    if (!total.empty() && total != "0")
        findings.push_back({Level::kNote, "huge pages", total + " are set aside by vm.nr_hugepages",
                            "That memory serves nothing else; see that it is meant."});
}

void check_limits(Findings& findings) {
    rlimit files{}, locked{};
    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_MEMLOCK, &locked);
    const std::string found = limit_text(files.rlim_cur, false) + " open files, at most " +
                              limit_text(files.rlim_max, false);
    if (files.rlim_cur < 4096)
        findings.push_back(
            {Level::kWarning, "limits", found,
             "A node has up to 64 memory files a namespace and size class: ulimit -n "
             "65536, or LimitNOFILE=65536 in the unit."});
    else
        findings.push_back({Level::kOk, "limits", found, ""});
    const bool unlimited = locked.rlim_cur == RLIM_INFINITY;
    findings.push_back({unlimited ? Level::kOk : Level::kNote, "limits",
                        limit_text(locked.rlim_cur, true) + " of locked memory",
                        unlimited
                            ? ""
                            : "Enough on one host. RDMA and GPUs lock the cache's memory: ulimit "
                              "-l unlimited, or LimitMEMLOCK=infinity in the unit."});
}

/** The memory limit of this process's control group, either version; 0: none found. */
uint64_t group_limit() {
    std::ifstream file("/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
        const size_t path = line.rfind(':');
        std::string limit;
        if (line.rfind("0::", 0) == 0)
            limit = first_line("/sys/fs/cgroup" + line.substr(path + 1) + "/memory.max");
        else if (line.find(":memory:") != std::string::npos)
            limit = first_line("/sys/fs/cgroup/memory" + line.substr(path + 1) +
                               "/memory.limit_in_bytes");
        if (!limit.empty() && limit.find_first_not_of("0123456789") == std::string::npos)
            return std::stoull(limit);
    }
    return 0;
}

struct Library {
    void* handle;
    explicit Library(const char* name) : handle(dlopen(name, RTLD_NOW | RTLD_LOCAL)) {}
    template <typename Function>
    Function* find(const char* name) const {
        return handle == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(handle, name));
    }
};

void check_fabric(Findings& findings) {
    const Library library("libfabric.so.1");
    if (auto* version = library.find<uint32_t()>("fi_version")) {
        const uint32_t number = version();
        findings.push_back(
            {Level::kOk, "libfabric",
             std::to_string(number >> 16) + "." + std::to_string(number & 0xffff) + " is there",
             ""});
        return;
    }
    findings.push_back({Level::kNote, "libfabric", "not found",
                        "One host needs none. For RDMA between hosts: apt install libfabric1"});
}

void check_cuda(Findings& findings) {
    const Library library("libcuda.so.1");
    auto* init = library.find<int(unsigned)>("cuInit");
    auto* count = library.find<int(int*)>("cuDeviceGetCount");
    auto* driver = library.find<int(int*)>("cuDriverGetVersion");
    if (init == nullptr || count == nullptr || driver == nullptr) {
        findings.push_back(
            {Level::kNote, "cuda", "no driver found", "Caches in host memory need none."});
        return;
    }
    int devices = 0, version = 0;
    const int failed = init(0);
    if (failed == 0) count(&devices);
    driver(&version);
    const std::string text =
        std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
    if (failed != 0)
        findings.push_back(
            {Level::kWarning, "cuda",
             "driver " + text + " is there, but cuInit gives " + std::to_string(failed),
             "See that nvidia-smi works as this user."});
    else
        findings.push_back({Level::kOk, "cuda",
                            "driver " + text + ", " + std::to_string(devices) +
                                (devices == 1 ? " device" : " devices"),
                            ""});
}

}  // namespace

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

void check_kernel(Findings& findings) {
    utsname name{};
    uname(&name);
    findings.push_back({Level::kOk, "kernel", std::string(name.release) + ", " + name.machine, ""});
    check_seals(findings);
    check_pidfd(findings);
    timespec now{};
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0)
        findings.push_back({Level::kFailure, "clock", "CLOCK_BOOTTIME cannot be read",
                            "Leases need it: use a kernel that has it."});
}

void check_memory(Findings& findings) {
    const uint64_t available = kib_of("/proc/meminfo", "MemAvailable");
    const uint64_t limit = group_limit();
    std::string found = bytes_text(available) + " are available";
    const bool limited = limit != 0 && limit < available;
    if (limited) found += ", but this control group may use " + bytes_text(limit);
    findings.push_back(
        {limited ? Level::kNote : Level::kOk, "memory", found,
         limited ? "Stay below that with --memory: the node's memory counts as its group's." : ""});
    if (first_line("/proc/sys/vm/overcommit_memory") == "2")
        findings.push_back({Level::kWarning, "memory", "vm.overcommit_memory is 2",
                            "Sparse index files may not be mapped then: set it to 0 or 1."});
    check_huge_pages(findings);
    check_limits(findings);
}

void check_users(Findings& findings) {
    std::ifstream file("/proc/self/status");
    uint64_t capabilities = 0;
    for (std::string line; std::getline(file, line);)
        if (line.rfind("CapEff:", 0) == 0) capabilities = std::stoull(line.substr(7), nullptr, 16);
    constexpr uint64_t kTrace = uint64_t{1} << 19;  // CAP_SYS_PTRACE
    const std::string user = "user " + std::to_string(geteuid());
    if ((capabilities & kTrace) != 0)
        findings.push_back(
            {Level::kNote, "users", user + " has CAP_SYS_PTRACE",
             "Its processes can read any other's memory. Run tenants that must be safe "
             "from each other as users of their own, without it."});
    else
        findings.push_back({Level::kOk, "users",
                            user + ", without CAP_SYS_PTRACE: other users' tenants "
                                   "are out of its reach",
                            ""});
    const std::string scope = first_line("/proc/sys/kernel/yama/ptrace_scope");
    if (scope == "0")
        findings.push_back({Level::kNote, "users", "processes of one user may trace each other",
                            "Tenants under one user are not safe from each other either way."});
}

void check_devices(Findings& findings) {
    check_fabric(findings);
    check_cuda(findings);
}

}  // namespace weft::cli
