// What must hold, whatever happened: the promises (design.md 2) as rules over what clients did,
// when, and what they were told. It knows nothing of how Weft works.
//
// A put writes bytes that say whose they are, each one: the put's number and its place (`fill`). So
// whatever a get returns names the one put that it came from, or is torn (`whose`).
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/seeds/host.h"

namespace weft::seeds {

struct Name {
    uint32_t space = 0;
    uint64_t version = 0;
    uint64_t key = 0;
    uint32_t part = 0;
    auto operator<=>(const Name&) const = default;
};

/** unknown: it may have been published or not, or may still be. */
enum class Outcome : uint8_t { under_way, done, failed, unknown };

struct Put {
    Name name;
    uint32_t writer = 0;
    uint64_t began = 0;
    uint64_t ended = kNever;
    Outcome outcome = Outcome::under_way;
    bool published = false;     // its event said so
    uint64_t expires = kNever;  // at the latest; kNever: never
    uint64_t floor = 0;         // acknowledged before it began
    uint64_t excuses = 0;       // how often the node had evicted when it began
    Clock known;                // of its writer at its event
};

/** What a get that begins now may rely on. */
struct Get {
    Name name;
    uint64_t began = 0;
    bool heard = false;       // of what others did up to now: then it is held to that
    uint64_t floor = 0;       // acknowledged before
    uint64_t since = 0;       // from when on the block has been there; 0: it is not known to be
    uint64_t excuses = 0;     // at that time
    bool pinned = false;      // then eviction and expiry are none
    uint64_t until = kNever;  // of the pin
    uint64_t ahead = 0;       // for how long it is to stay there
    uint64_t node_floor = 0;  // the node's own, which nobody may have been told of; kNever: no node
};

class Model {
  public:
    virtual ~Model() = default;
    /** How often the node's namespace has evicted so far, and which node it is; 0: there is none.
     */
    virtual uint64_t excuses(uint32_t space) = 0;
    /** The floor that the node's namespace has; kNever: there is none. */
    virtual uint64_t node_floor(uint32_t space) = 0;

    uint32_t begin_put(const Name& name, uint32_t writer, uint32_t ttl_s);
    /** What was reserved is to be published now. */
    void commit_put(uint32_t put);
    void end_put(uint32_t put, Outcome outcome, bool published);
    /** Has anybody published anything? */
    bool published() const { return published_; }
    /** Of one who hears of the puts and fences so far, or goes on with what it heard before. */
    Get begin_get(const Name& name);
    /** P1, P2, P6: may this get return these puts' bytes, one of each part that it read? */
    void hit(const Get& get, const std::vector<uint32_t>& parts);
    /** P6, and P3 of what is pinned: may it miss? */
    void miss(const Get& get);
    void begin_advance(uint32_t space, uint64_t version);
    void end_advance(uint32_t space, uint64_t version);
    void forget_floors() {
        for (auto& [space, floor] : floors_) floor.acknowledged = 0;
    }
    void begin_remove(const Name& name) { removes_[name].under_way++; }
    void end_remove(const Name& name, uint64_t began, Outcome outcome);
    /** From now on the expiry is not known. */
    void touched(const Name& name) { touched_[name] = host().scheduler.now(); }
    /** What replaces it while it is pinned may live longer than it would. */
    void pinned(const Name& name) { pinned_.insert(name); }
    uint64_t floor(uint32_t space) const {
        auto found = floors_.find(space);
        return found == floors_.end() ? 0 : found->second.acknowledged;
    }
    bool may_be_fenced(const Name& name) { return floors_[name.space].begun > name.version; }

    static void fill(std::byte* to, size_t size, uint64_t start, uint32_t put);
    /** The put whose bytes these all are; 0: of none, or of several, which `torn` then names. */
    static uint32_t whose(const std::byte* from, size_t size, uint64_t start, std::string& torn);

  private:
    struct Floor {
        uint64_t begun = 0;         // the highest that anybody asked for
        uint64_t acknowledged = 0;  // and was told of
        Clock known;
    };
    struct Removal {
        uint64_t began;
        uint64_t ended;
        Clock known;  // of its remover at its event
    };
    uint64_t there_since(const Name& base, const std::vector<uint32_t>& parts) const;
    void broken(const std::string& what, const Get& get, uint32_t put);

    bool published_ = false;
    std::vector<Put> puts_{1};
    std::map<Name, std::vector<uint32_t>> by_name_;
    std::map<uint32_t, Floor> floors_;
    std::map<Name, std::vector<Removal>> removals_;
    struct Removes {
        uint32_t under_way = 0;
        uint64_t last_end = 0;
    };
    std::map<Name, Removes> removes_;
    /** What a process heard last of a block: it is there since, as long as nothing excuses it. */
    struct Heard {
        uint64_t since = 0;
        uint64_t excuses = 0;
    };
    std::map<std::pair<uint32_t, Name>, Heard> heard_;
    std::map<Name, uint64_t> touched_;
    std::set<Name> pinned_;
    std::set<Name> expire_;  // some put of it does
};

}  // namespace weft::seeds
