// One simulated host: its memory, its disk and what goes wrong on it. Behind fabric's interfaces
// (memory.h, copy.h) and those of state= (core/node/state.h) stand this host's twins of them.
//
// Invariants: a process touches block bytes only of files that it has mapped, for what it has
// mapped them for; a file is punched when no living process maps it; two processes' accesses to the
// same bytes are ordered, or it is a race; Weft writes to memory of an op that is under way and to
// no other of its callers' (P5). Whatever breaks one of these fails the run.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/index/layout.h"
#include "fabric/memory/memory.h"
#include "tests/sim/seeds/scheduler.h"

namespace weft::seeds {

/** What a seed is about, so that each rule's window comes often in some. */
enum class Theme : uint8_t {
    any,
    hot,    // everybody at a few blocks, which are written again and again
    grows,  // many small blocks come, and the index grows under a few that readers look up
    turns,  // memory is scarce and all want the other namespace half-way: segments are retired
};

/** How often what goes wrong, and how large things are; drawn from the seed. 0: never. */
struct Setting {
    Theme theme = Theme::any;
    uint32_t clients = 3;
    uint32_t operations = 12;        // of each client
    uint64_t memory = 8 << 20;       // the node's
    bool state = true;               // state=DIR
    uint32_t part_bytes = 64 << 10;  // of the first namespace
    uint32_t parts = 1;
    uint64_t quota = 0;
    uint32_t ttl_s = 0;
    uint32_t keys = 6;
    uint32_t piece = 8 << 10;     // of a copy, between two yields
    uint32_t follow_one_in = 3;   // loads
    uint32_t replace_one_in = 4;  // saves
    uint32_t rest_one_in = 3;     // ops, after which an engine does nothing for a while
    uint32_t advance_one_in = 1;  // of the times that an engine could
    uint32_t kills = 0;           // of clients
    uint32_t pauses = 0;
    uint32_t cuts = 0;         // of connections
    uint32_t node_ends = 0;    // kills and clean ends
    uint32_t late_one_in = 0;  // messages that take long
    uint32_t map_fails_one_in = 0;
    uint32_t memory_fails_one_in = 0;
    uint32_t disk_fails_one_in = 0;
};

struct File {
    std::byte* begin = nullptr;
    uint64_t size = 0;
    bool punched = false;
    std::map<uint32_t, uint32_t> read;  // by process: mappings
    std::map<uint32_t, uint32_t> write;
};

class Host {
  public:
    Host(uint64_t seed, Histories& memory);
    ~Host();

    Setting set;
    Scheduler scheduler;
    Histories& memory;

    // Files of shared memory.
    uint32_t create(uint64_t size, bool words);
    File& file(uint32_t number) { return files_[number]; }
    File* file_at(const void* address);
    void unmap(const void* address);
    void punch(std::byte* address);
    /** Checks an access of the current process to block bytes; others' memory passes. */
    void access(const void* address, size_t size, bool write);
    /** Of the data segments that a process has made and not punched. */
    uint64_t node_bytes(uint32_t process) const;
    bool fails(uint32_t one_in) { return one_in != 0 && scheduler.random().one_in(one_in); }

    /** A caller's memory, which ops under way may name. */
    void lend(std::byte* begin, size_t size) { lent_[begin] = {size, 0}; }
    void begin_op(std::byte* buffer) { lent_.at(buffer).ops++; }
    void end_op(std::byte* buffer) { lent_.at(buffer).ops--; }

    // The disk of state=.
    std::string disk;
    bool lock_there = false;
    bool lock_clean = false;
    Proc* lock_holder = nullptr;

    /** A process that may have mapped what it has closed, while nobody touches it. */
    std::function<bool(const Proc&)> lingers;

    /** Something happened that the run counts. */
    void event(const char* name) { events.insert(name); }
    std::set<std::string> events;

  private:
    void draw_theme(Random& random);
    struct Lent {
        size_t size;
        uint32_t ops;
    };
    std::vector<File> files_;
    size_t bytes_taken_ = 0;
    size_t words_taken_ = 0;
    std::map<std::byte*, Lent> lent_;
};

Host& host();

/** While one lives, accesses to shared words are nobody's: the judge looks. */
class Aside {
  public:
    Aside() { host().memory.set_process(Histories::kOutside); }
    ~Aside() { host().memory.set_process(host().scheduler.process().id); }
    Aside(const Aside&) = delete;
    Aside& operator=(const Aside&) = delete;
};

}  // namespace weft::seeds
