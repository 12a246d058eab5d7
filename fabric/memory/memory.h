// Memory that processes share: memfds and their mappings, with the modes and seals of protocols 1.
//
// Invariants: a file is fallocated before anything is stored in it, so a full machine is an error
// here and never a SIGBUS; a data file can neither shrink nor grow; an index file can be written by
// nobody but the mapping that its creator made; every mapping is MADV_DONTFORK.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/base/result.h"
#include "fabric/log/log.h"

namespace weft::fabric {

/** Owns a file descriptor. */
class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor();
    Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
    Descriptor& operator=(Descriptor&& other) noexcept;
    int get() const { return fd_; }
    bool valid() const { return fd_ >= 0; }
    /** The child of a fork closes it (forked.h). */
    void not_for_children() const;
    int release() {
        int fd = fd_;
        fd_ = -1;
        return fd;
    }
    Result<Descriptor> duplicate() const;

  private:
    void close();
    int fd_ = -1;
};

/** Owns a mapping of shared memory. */
class Mapping {
  public:
    Mapping() = default;
    Mapping(void* address, size_t size) : address_(static_cast<std::byte*>(address)), size_(size) {}
    ~Mapping();
    Mapping(Mapping&& other) noexcept;
    Mapping& operator=(Mapping&& other) noexcept;
    std::byte* address() const { return address_; }
    size_t size() const { return size_; }

  private:
    std::byte* address_ = nullptr;
    size_t size_ = 0;
};

enum class Access : uint8_t { read, write };

/** A shared file: its creator's writable mapping, and descriptors to hand out (read-only and
 * read-write re-opens). */
struct SharedFile {
    Mapping mapping;
    Descriptor reader;
    Descriptor writer;  // invalid for an index
};

/** Where shared memory comes from. One real implementation; the simulator brings its own. Any
 * thread. */
class Memory {
  public:
    virtual ~Memory() = default;
    /** Block bytes: fallocated whole, sealed against resizing. populate: page tables filled now. */
    virtual Result<SharedFile> create_data(uint64_t size, bool populate) = 0;
    /** An index: sparse, grown by `reserve`, writable by the returned mapping alone. */
    virtual Result<SharedFile> create_index(uint64_t size) = 0;
    /** Backs a range of an index with memory before it is stored to. */
    virtual Status reserve(const SharedFile& file, uint64_t offset, uint64_t size) = 0;
    /** Gives the memory of a data file back; the caller has seen every mapping of it go. */
    virtual void punch(SharedFile& file) = 0;
    virtual Result<Mapping> map(const Descriptor& descriptor, uint64_t size, Access access,
                                bool populate) = 0;
};

/** log: where long prefaulting says how far it is, or nullptr. */
std::unique_ptr<Memory> system_memory(const Log* log = nullptr);

/** The size of the file behind a descriptor that another process sent. */
Result<uint64_t> file_size(const Descriptor& descriptor);

}  // namespace weft::fabric
