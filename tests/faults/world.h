// What a fault finds: a store, private or a client of a node in this same process, with namespaces,
// a region and a queue open; and the deeds that it is asked for.
//
// Invariants: a deed is whole in itself, so that it can be done again after it failed; content
// follows from the key, and every byte that comes back is compared.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "capi/weft.h"

namespace faults {

/** A deed did what it must not: the words say what. */
struct Wrong {
    std::string words;
};

class World {
  public:
    World(bool client, const std::string& folder);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    bool client() const { return client_; }
    weft_store* store() const { return store_; }
    const std::string& folder() const { return folder_; }
    std::string address() const { return "unix:" + folder_ + "/s"; }
    uint64_t next() { return ++last_key_; }
    weft_queue* queue() const { return queue_; }

    /** Opens what is not open; false with the code where it cannot be. */
    int32_t open();
    /** Runs one op; the code with which it ended is the event's status. */
    weft_event run(weft_op op);
    /** An op on a block of the namespace `any` (parts of any size) or `parts` (two of 4096). */
    weft_op any(uint16_t kind, uint64_t key, uint32_t flags = 0) const;
    weft_op parts(uint16_t kind, uint64_t key, uint32_t flags = 0) const;
    int32_t save(uint64_t key, uint32_t size, uint32_t flags = 0);
    /** Loads it and compares. */
    int32_t load(uint64_t key, uint32_t size, uint32_t flags = 0);
    void fill(uint8_t* to, uint64_t key, uint32_t size) const;
    void compare(const uint8_t* from, uint64_t key, uint32_t size) const;
    uint8_t* memory() { return memory_.data(); }
    uint32_t region() const { return region_; }

    /** What the node holds for nobody: words, or nothing. */
    std::string held();

  private:
    bool client_;
    std::string folder_;
    weft_store* node_ = nullptr;
    weft_store* store_ = nullptr;
    weft_queue* queue_ = nullptr;
    uint32_t region_ = 0;
    weft_namespace any_{};
    weft_namespace parts_{};
    std::vector<uint8_t> memory_;
    uint64_t last_key_ = 0;
};

/** Something that a store is asked for: 0, or the negated code that it said. */
struct Deed {
    const char* name;
    int32_t (*act)(World&);
};
extern const std::vector<Deed> kDeeds;

}  // namespace faults
