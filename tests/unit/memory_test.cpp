// The memory of this machine as protocols 1 wants it: what another process that got a descriptor
// can do with it, and what it cannot. Asked of the kernel, so also where the tests run as root,
// whom modes do not stop.
#include "fabric/memory/memory.h"

#include <doctest/doctest.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "capi/weft.h"

using namespace weft;
using fabric::Access;
using fabric::Descriptor;
using fabric::SharedFile;

namespace {

constexpr uint64_t kSize = uint64_t{2} << 20;

Descriptor reopened(const Descriptor& descriptor, int mode) {
    std::string path = "/proc/self/fd/" + std::to_string(descriptor.get());
    return Descriptor(open(path.c_str(), mode | O_CLOEXEC));
}

struct stat status_of(const Descriptor& descriptor) {
    struct stat status{};
    REQUIRE(fstat(descriptor.get(), &status) == 0);
    return status;
}

int access_of(const Descriptor& descriptor) { return fcntl(descriptor.get(), F_GETFL) & O_ACCMODE; }

bool maps_for_writing(const Descriptor& descriptor) {
    void* address = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.get(), 0);
    if (address == MAP_FAILED) return false;
    munmap(address, 4096);
    return true;
}

/** The kernel's flags of the mapping that begins at the address. */
std::string flags_of(const std::byte* address) {
    std::stringstream begin;
    begin << std::hex << reinterpret_cast<uintptr_t>(address) << "-";
    std::ifstream maps("/proc/self/smaps");
    bool inside = false;
    for (std::string line; std::getline(maps, line);) {
        if (line.find("VmFlags:") == 0 && inside) return line + " ";
        if (line.compare(0, begin.str().size(), begin.str()) == 0) inside = true;
    }
    return "";
}

}  // namespace

TEST_CASE("a data file is backed whole, closed to other users, and keeps its size for good") {
    auto memory = fabric::system_memory();
    Result<SharedFile> file = memory->create_data(kSize, false);
    REQUIRE(file.ok());
    struct stat status = status_of(file->reader);
    CHECK((status.st_mode & 0777) == 0600);
    CHECK(static_cast<uint64_t>(status.st_blocks) * 512 >= kSize);
    CHECK(fcntl(file->writer.get(), F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
    CHECK(ftruncate(file->writer.get(), 0) == -1);
    CHECK(ftruncate(file->writer.get(), 2 * kSize) == -1);
    CHECK(fcntl(file->writer.get(), F_ADD_SEALS, F_SEAL_WRITE) == -1);
    CHECK(status_of(file->writer).st_size == static_cast<off_t>(kSize));
}

TEST_CASE("a reader's descriptor maps for reading alone, and is another open file") {
    auto memory = fabric::system_memory();
    Result<SharedFile> file = memory->create_data(kSize, false);
    REQUIRE(file.ok());
    CHECK(access_of(file->reader) == O_RDONLY);
    CHECK(access_of(file->writer) == O_RDWR);
    CHECK_FALSE(maps_for_writing(file->reader));
    CHECK(maps_for_writing(file->writer));
    Result<fabric::Mapping> read = memory->map(file->reader, kSize, Access::read, false);
    REQUIRE(read.ok());
    file->mapping.address()[4097] = std::byte{7};
    CHECK(read->address()[4097] == std::byte{7});
}

TEST_CASE("an index is written by its creator's mapping and by nobody else") {
    auto memory = fabric::system_memory();
    Result<SharedFile> file = memory->create_index(uint64_t{1} << 30);
    REQUIRE(file.ok());
    CHECK_FALSE(file->writer.valid());
    CHECK((status_of(file->reader).st_mode & 0777) == 0600);
    CHECK(fcntl(file->reader.get(), F_GET_SEALS) ==
          (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_FUTURE_WRITE));
    CHECK(access_of(file->reader) == O_RDONLY);
    Descriptor again = reopened(file->reader, O_RDWR);
    if (again.valid()) {  // the owner may open it so, and has nothing of it
        CHECK_FALSE(maps_for_writing(again));
        CHECK(pwrite(again.get(), "x", 1, 0) == -1);
    }
    uint64_t sparse = static_cast<uint64_t>(status_of(file->reader).st_blocks) * 512;
    REQUIRE(memory->reserve(*file, 8192, 65536).ok());
    CHECK(static_cast<uint64_t>(status_of(file->reader).st_blocks) * 512 >= sparse + 65536);
    file->mapping.address()[8192] = std::byte{9};
    Result<fabric::Mapping> read = memory->map(file->reader, 1 << 20, Access::read, false);
    REQUIRE(read.ok());
    CHECK(read->address()[8192] == std::byte{9});
}

TEST_CASE("no mapping is a forked child's") {
    auto memory = fabric::system_memory();
    Result<SharedFile> file = memory->create_data(kSize, false);
    REQUIRE(file.ok());
    CHECK(flags_of(file->mapping.address()).find(" dc ") != std::string::npos);
    Result<fabric::Mapping> read = memory->map(file->reader, kSize, Access::read, true);
    REQUIRE(read.ok());
    CHECK(flags_of(read->address()).find(" dc ") != std::string::npos);
}

TEST_CASE("a punched file has no memory left") {
    auto memory = fabric::system_memory();
    Result<SharedFile> file = memory->create_data(kSize, true);
    REQUIRE(file.ok());
    Result<Descriptor> kept = file->reader.duplicate();
    REQUIRE(kept.ok());
    memory->punch(*file);
    CHECK(status_of(*kept).st_blocks == 0);
    CHECK(status_of(*kept).st_size == static_cast<off_t>(kSize));
}

TEST_CASE("memory that the machine has not is an error that says how much there is") {
    auto memory = fabric::system_memory();
    Result<SharedFile> file = memory->create_data(uint64_t{1} << 45, false);
    REQUIRE_FALSE(file.ok());
    CHECK(file.failure().code == WEFT_ENOMEM);
    CHECK(file.failure().message.find(std::to_string(uint64_t{1} << 45)) != std::string::npos);
    CHECK(file.failure().message.find("KiB of memory left") != std::string::npos);
    CHECK(memory->create_data(kSize, false).ok());  // and nothing is lost
}
