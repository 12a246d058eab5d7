// What stands behind fabric's memory and copies, and behind state=, in the simulated host.
#include <algorithm>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "capi/weft.h"
#include "core/node/lane.h"
#include "core/node/metrics_server.h"
#include "core/node/state.h"
#include "fabric/copy/copy.h"
#include "fabric/memory/memory.h"
#include "tests/sim/seeds/host.h"

namespace weft::fabric {
namespace {

using seeds::File;
using seeds::host;

// A descriptor is a file's number, twice, plus one if it may write.
constexpr int kLockDescriptor = 1 << 20;

class HostMemory final : public Memory {
  public:
    Result<SharedFile> create_data(uint64_t size, bool) override {
        host().scheduler.yield();
        if (host().fails(host().set.memory_fails_one_in)) {
            host().event("allocation-failed");
            return Failure{WEFT_ENOMEM, "the machine has no memory"};
        }
        return create(size, false);
    }
    Result<SharedFile> create_index(uint64_t size) override { return create(size, true); }
    Status reserve(const SharedFile&, uint64_t, uint64_t) override {
        if (host().fails(host().set.memory_fails_one_in)) {
            host().event("index-growth-failed");
            return Failure{WEFT_ENOMEM, "the machine has no memory"};
        }
        return Nothing{};
    }
    void punch(SharedFile& file) override {
        host().event("segment-retired");
        std::byte* address = file.mapping.address();
        file.mapping = Mapping();
        host().punch(address);
        file.reader = Descriptor();
        file.writer = Descriptor();
    }
    Result<Mapping> map(const Descriptor& descriptor, uint64_t size, Access access, bool) override {
        host().scheduler.yield();
        if (host().fails(host().set.map_fails_one_in)) {
            host().event("map-failed");
            return Failure{WEFT_ENOMEM, "no address space"};
        }
        File& file = host().file(static_cast<uint32_t>(descriptor.get()) / 2);
        if (file.punched) host().event("punched-file-mapped");
        (access == Access::write ? file.write : file.read)[host().scheduler.process().id]++;
        return Mapping(file.begin, size);
    }

  private:
    static Result<SharedFile> create(uint64_t size, bool words) {
        uint32_t number = host().create(size, words);
        File& file = host().file(number);
        file.write[host().scheduler.process().id]++;
        SharedFile made;
        made.mapping = Mapping(file.begin, size);
        made.reader = Descriptor(static_cast<int>(number * 2));
        if (!words) made.writer = Descriptor(static_cast<int>(number * 2 + 1));
        return made;
    }
};

/** Both sides of a copy, piece by piece: others go on in between. */
template <typename F>
void in_pieces(size_t size, F f) {
    size_t piece = host().set.piece;
    seeds::Proc& proc = host().scheduler.process();
    proc.copying++;
    for (size_t at = 0; at < size; at += piece) {
        host().scheduler.yield();
        f(at, std::min(piece, size - at));
    }
    proc.copying--;
}

}  // namespace

Descriptor::~Descriptor() {
    if (fd_ == kLockDescriptor && host().scheduler.inside()) host().lock_holder = nullptr;
}
Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    fd_ = other.release();
    return *this;
}
Result<Descriptor> Descriptor::duplicate() const { return Descriptor(fd_); }

Mapping::~Mapping() {
    if (address_ != nullptr) host().unmap(address_);
}
Mapping::Mapping(Mapping&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}
Mapping& Mapping::operator=(Mapping&& other) noexcept {
    if (this != &other) {
        if (address_ != nullptr) host().unmap(address_);
        address_ = std::exchange(other.address_, nullptr);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

Result<uint64_t> file_size(const Descriptor& descriptor) {
    return host().file(static_cast<uint32_t>(descriptor.get()) / 2).size;
}

std::unique_ptr<Memory> system_memory(const Log*) { return std::make_unique<HostMemory>(); }

void copy(void* to, const void* from, size_t size) {
    in_pieces(size, [&](size_t at, size_t piece) {
        host().access(static_cast<const char*>(from) + at, piece, false);
        host().access(static_cast<char*>(to) + at, piece, true);
        memcpy(static_cast<char*>(to) + at, static_cast<const char*>(from) + at, piece);
    });
}

uint64_t copy_and_hash(void* to, const void* from, size_t size, uint64_t first_chunk) {
    copy(to, from, size);
    uint64_t sum = 0;
    for (size_t at = 0; at < size; at += kChunkBytes) {
        sum += XXH3_64bits_withSeed(static_cast<const char*>(from) + at,
                                    std::min(kChunkBytes, size - at), first_chunk++);
    }
    return sum;
}

uint64_t hash(const void* data, size_t size, uint64_t first_chunk) {
    uint64_t sum = 0;
    for (size_t at = 0; at < size; at += kChunkBytes) {
        const char* chunk = static_cast<const char*>(data) + at;
        host().scheduler.yield();
        host().access(chunk, std::min(kChunkBytes, size - at), false);
        sum += XXH3_64bits_withSeed(chunk, std::min(kChunkBytes, size - at), first_chunk++);
    }
    return sum;
}

}  // namespace weft::fabric

namespace weft {

using seeds::host;

Result<LockFile> LockFile::take(const std::string&) {
    host().scheduler.yield();
    if (host().lock_holder != nullptr && host().lock_holder->alive)
        return Failure{WEFT_EBUSY, "the lock is held"};
    LockFile lock;
    lock.was_clean_ = !host().lock_there || host().lock_clean;
    host().lock_there = true;
    host().lock_clean = false;
    host().lock_holder = &host().scheduler.process();
    lock.fd_ = fabric::Descriptor(1 << 20);
    return lock;
}

void LockFile::mark_clean() {
    host().scheduler.yield();
    if (fd_.valid()) host().lock_clean = true;
}

Status StateDirectory::prepare() const { return Nothing{}; }
Result<std::string> StateDirectory::load() const { return host().disk; }

/** Replaced whole, at some instant before it returns. */
Status StateDirectory::save(const std::string& text) {
    host().scheduler.sleep(host().scheduler.random().scale(20'000, 5'000'000));
    if (host().fails(host().set.disk_fails_one_in)) {
        host().event("disk-failed");
        return Failure{WEFT_EINTERNAL, "the disk is full"};
    }
    host().disk = text;
    host().scheduler.sleep(host().scheduler.random().scale(20'000, 5'000'000));
    return Nothing{};
}

// Of capi, what core asks.
extern "C" const char* weft_version(void) { return "simulated"; }
extern "C" const char* weft_code_name(int32_t code) {
    static constexpr const char* kNames[] = {
        "OK",       "EINVAL",  "EMISS",     "EEXISTS",   "EFENCED", "EAGAIN",  "ETIMEOUT",
        "EPEER",    "EDENIED", "EQUOTA",    "ENOMEM",    "EBUSY",   "ECLOSED", "EFORKED",
        "ECORRUPT", "ERANGE",  "EINTERNAL", "ECANCELED", "EHELD",   "ENOTSUP"};
    return kNames[std::min(std::abs(code), 19)];
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(Node&, const std::string&) {
    return Failure{WEFT_ENOTSUP, "a simulated node serves no metrics"};
}

// Simulated links have no lane.
Lane::Lead::Lead(Lane& lane) : lane_(lane) {}
Lane::Lead::~Lead() = default;
void Lane::Lead::wait(int, int) { (void)lane_; }

}  // namespace weft
