// What every program here needs of Weft and of the machine: a node in a process of its own, a store
// with one namespace and one queue, block contents that can be checked, and memory to compare with.
//
// Invariants: a process that forks has no store open; every block's bytes follow from its index, so
// that a hit is checked by content; a reference's memory is touched before it is timed and has the
// page size of what it is compared with.
#pragma once

#include <sys/types.h>
#include <weft.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bench {

/** The key of block `index`: spread as a digest is. */
void set_key(weft_item& item, uint64_t index);

/** Fills a block's bytes from its index; and whether they are those. */
void fill_block(void* bytes, size_t size, uint64_t index);
bool is_block(const void* bytes, size_t size, uint64_t index);

/** Shared memory like a node's: a memfd, mapped and touched; with huge pages where asked and the
 * kernel gives them. */
class Arena {
  public:
    Arena(size_t size, bool huge);
    ~Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    std::byte* begin() const { return begin_; }
    size_t size() const { return size_; }

  private:
    std::byte* begin_;
    size_t size_;
};

/** Whether more than half of this process's mappings of memfds called `name` have huge pages. */
bool has_huge_pages(const std::string& name);

/** A node in a child process, with `count` blocks of `bytes` in `bench/model`; ends with this
 * object. */
class Node {
  public:
    /** memory: weft_open's, and options behind it: "1GiB,prefault=yes". */
    Node(const std::string& memory, uint64_t count, uint32_t bytes);
    ~Node();
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    const std::string& address() const { return address_; }  // unix:PATH
    pid_t pid() const { return pid_; }
    /** Bytes of the node's private memory before it took blocks, and with them. */
    uint64_t private_before() const { return private_before_; }
    uint64_t private_after() const { return private_after_; }

  private:
    std::string address_;
    pid_t pid_ = -1;
    int stop_ = -1;
    uint64_t private_before_ = 0;
    uint64_t private_after_ = 0;
};

/** A store, one namespace in it, a queue, and all of this process's memory as a region. One thread.
 */
class Client {
  public:
    /** options: weft_open's; bytes: of a block in namespace `name`. */
    Client(const std::string& options, const std::string& name, uint32_t bytes);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    weft_store* store() const { return store_; }
    uint32_t space() const { return space_; }
    weft_op op(uint16_t kind) const;
    /** A list op on the items, which are this process's memory. */
    weft_op list(uint16_t kind, const std::vector<weft_item>& items, uint32_t flags) const;
    /** Submits one op and waits for its event. */
    weft_event run(const weft_op& op) const;
    /** Saves blocks first .. first + count of `bytes` each, a chain. */
    void save_blocks(uint64_t first, size_t count, uint32_t bytes) const;

  private:
    weft_store* store_ = nullptr;
    weft_queue* queue_ = nullptr;
    uint32_t space_ = 0;
    uint32_t region_ = 0;
};

/** Private memory of this process in bytes: anonymous pages, from /proc. */
uint64_t private_bytes();

}  // namespace bench
