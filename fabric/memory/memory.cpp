// The real shared memory. memfds are born with mode 0777: fchmod comes before anything else, or
// another user could re-open a read-only descriptor for writing (measured, protocols 1).
#include "fabric/memory/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "capi/weft.h"
#include "fabric/memory/forked.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace weft::fabric {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPrefaultPiece = size_t{64} << 20;

Failure failed(const std::string& what) { return {WEFT_ENOMEM, what + ": " + strerror(errno)}; }

class SystemMemory : public Memory {
  public:
    explicit SystemMemory(const Log* log) : log_(log) {}
    Result<SharedFile> create_data(uint64_t size, bool populate) override {
        return create("weft-data", size, populate, false);
    }
    Result<SharedFile> create_index(uint64_t size) override {
        return create("weft-index", size, false, true);
    }
    Status reserve(const SharedFile& file, uint64_t offset, uint64_t size) override;
    void punch(SharedFile& file) override;
    Result<Mapping> map(const Descriptor& descriptor, uint64_t size, Access access,
                        bool populate) override;

  private:
    Result<SharedFile> create(const char* name, uint64_t size, bool populate, bool index);
    void prefault(const Mapping& mapping) const;

    const Log* log_;  // where prefaulting says how far it is; nullptr: nowhere
};

Result<Descriptor> reopen(int fd, int mode) {
    std::string path = "/proc/self/fd/" + std::to_string(fd);
    Descriptor opened(open(path.c_str(), mode | O_CLOEXEC));
    if (!opened.valid()) return failed("re-open of a memfd by " + path + " (is /proc mounted?)");
    return opened;
}

/** Shared memory that the machine has not would end other processes before it ended this call. */
Status check_room(const std::string& what, uint64_t size) {
    std::ifstream file("/proc/meminfo");
    uint64_t kibibytes = UINT64_MAX;
    for (std::string word; file >> word;) {
        if (word == "MemAvailable:" && !(file >> kibibytes)) kibibytes = UINT64_MAX;
    }
    if (kibibytes != UINT64_MAX && size / 1024 > kibibytes) {
        return Failure{WEFT_ENOMEM, what + ": the machine has " + std::to_string(kibibytes) +
                                        " KiB of memory left"};
    }
    return Nothing{};
}

/** Fills the page tables piece by piece, so that a large segment says how far it is. */
void SystemMemory::prefault(const Mapping& mapping) const {
    for (size_t at = 0; at < mapping.size(); at += kPrefaultPiece) {
        size_t piece = std::min(kPrefaultPiece, mapping.size() - at);
        madvise(mapping.address() + at, piece, MADV_POPULATE_WRITE);
        if (log_ == nullptr || mapping.size() < 2 * kPrefaultPiece) continue;
        log_->write(LogLevel::info, "prefaulting: " + std::to_string((at + piece) >> 20) + " of " +
                                        std::to_string(mapping.size() >> 20) + " MiB");
    }
}

Result<SharedFile> SystemMemory::create(const char* name, uint64_t size, bool populate,
                                        bool index) {
    Descriptor fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd.valid()) return failed("memfd_create");
    fd.not_for_children();  // which would keep its memory when it is to be freed
    std::string what = std::string(name) + " of " + std::to_string(size) + " bytes";
    if (fchmod(fd.get(), 0600) != 0) return failed(what + ": fchmod");
    if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return failed(what);
    if (!index) {
        Status fits = check_room(what, size);
        if (!fits) return fits.failure();
    }
    SharedFile file;
    Result<Mapping> mapping = map(fd, size, Access::write, false);
    if (!mapping) return mapping.failure();
    // First by way of the mapping, whose advice fallocate does not know: where shmem_enabled is
    // `advise`, that way gives huge pages and fallocate small ones.
    if (populate) prefault(*mapping);
    if (!index && fallocate(fd.get(), 0, 0, static_cast<off_t>(size)) != 0) {
        return failed(what + ": fallocate");
    }
    file.mapping = std::move(*mapping);
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (index ? F_SEAL_FUTURE_WRITE : 0);
    if (fcntl(fd.get(), F_ADD_SEALS, seals) != 0) return failed(what + ": seals");
    Result<Descriptor> reader = reopen(fd.get(), O_RDONLY);
    if (!reader) return reader.failure();
    file.reader = std::move(*reader);
    file.reader.not_for_children();
    if (!index) file.writer = std::move(fd);
    return file;
}

Status SystemMemory::reserve(const SharedFile& file, uint64_t offset, uint64_t size) {
    // FUTURE_WRITE forbids fallocate on the descriptor; the creator's own mapping may still be
    // populated, and populating reports a full machine as an error where a store would be a SIGBUS.
    uint64_t begin = offset & ~uint64_t{4095};
    if (madvise(file.mapping.address() + begin, offset + size - begin, MADV_POPULATE_WRITE) != 0) {
        return failed("growing an index by " + std::to_string(size) + " bytes");
    }
    return Nothing{};
}

void SystemMemory::punch(SharedFile& file) {
    size_t size = file.mapping.size();
    file.mapping = Mapping();
    fallocate(file.writer.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
              static_cast<off_t>(size));
    file.reader = Descriptor();
    file.writer = Descriptor();
}

Result<Mapping> SystemMemory::map(const Descriptor& descriptor, uint64_t size, Access access,
                                  bool populate) {
    // Aligned to a huge page where one fits, so that the kernel can use one.
    bool huge = size >= kHugePage;
    size_t room = size + (huge ? kHugePage : 0);
    void* area = mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) return failed("address space of " + std::to_string(room) + " bytes");
    auto begin = reinterpret_cast<uintptr_t>(area);
    uintptr_t at = huge ? (begin + kHugePage - 1) & ~(kHugePage - 1) : begin;
    int protection = PROT_READ | (access == Access::write ? PROT_WRITE : 0);
    void* address = mmap(reinterpret_cast<void*>(at), size, protection, MAP_SHARED | MAP_FIXED,
                         descriptor.get(), 0);
    if (address == MAP_FAILED) {
        Failure failure = failed("mapping of " + std::to_string(size) + " bytes");
        munmap(area, room);
        return failure;
    }
    size_t pages = (size + 4095) & ~size_t{4095};
    if (at > begin) munmap(area, at - begin);
    if (begin + room > at + pages)
        munmap(reinterpret_cast<void*>(at + pages), begin + room - at - pages);
    madvise(address, size, MADV_DONTFORK);
    if (huge) madvise(address, size, MADV_HUGEPAGE);
    if (populate) {
        madvise(address, size, access == Access::write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
    }
    return Mapping(address, size);
}

}  // namespace

Descriptor::~Descriptor() { close(); }

void Descriptor::close() {
    if (fd_ < 0) return;
    keep_in_children(fd_);
    ::close(fd_);
}

void Descriptor::not_for_children() const { close_in_children(fd_); }

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    if (this == &other) return *this;
    close();
    fd_ = other.release();
    return *this;
}

Result<Descriptor> Descriptor::duplicate() const {
    Descriptor copy(fcntl(fd_, F_DUPFD_CLOEXEC, 0));
    if (!copy.valid()) return failed("duplicating a descriptor");
    return copy;
}

Mapping::~Mapping() {
    if (address_ != nullptr) munmap(address_, size_);
}

Mapping::Mapping(Mapping&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
    if (this != &other) {
        if (address_ != nullptr) munmap(address_, size_);
        address_ = std::exchange(other.address_, nullptr);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

Result<uint64_t> file_size(const Descriptor& descriptor) {
    struct stat status;
    if (fstat(descriptor.get(), &status) != 0) return failed("fstat of a shared file");
    return static_cast<uint64_t>(status.st_size);
}

std::unique_ptr<Memory> system_memory(const Log* log) {
    return std::make_unique<SystemMemory>(log);
}

}  // namespace weft::fabric
