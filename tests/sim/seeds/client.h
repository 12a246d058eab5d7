// An engine in the simulated host: a process with a store (the shipping client, core/node) and
// threads that do what engines do, in an order that the seed decides, and hold what they are told
// against the model.
//
// Invariants: every op ends in one event, within its time (P8); whoever was killed has told nobody
// anything.
#pragma once
#include <set>

#include "capi/weft.h"
#include "core/node/store.h"
#include "tests/sim/seeds/model.h"
#include "tests/sim/seeds/network.h"

namespace weft::seeds {

constexpr uint32_t kTimeoutMs = 3000;            // of a store
constexpr uint32_t kSecondPartBytes = 64 << 10;  // of t/b

class Client;

/** Many come at the same blocks at once, and nobody is slow. */
inline bool busy() { return host().set.theme == Theme::hot || host().set.theme == Theme::grows; }

/** One namespace as a client has it open. */
struct Place {
    uint32_t number = 0;  // 0: t/a, 1: t/b
    weft_namespace opened{};
    uint32_t parts = 1;
    uint64_t part_bytes = 0;
    uint32_t ttl_s = 0;
};

/** One thread of an engine, with openings and a queue of its own. */
class Thread {
  public:
    Thread(Client& client, uint32_t number);
    void work();

  private:
    static constexpr uint32_t kBuffers = 4;

    bool open(Place& place);
    void reopen(Place& place);
    void finish();
    void act(Place& place);
    void read_only(Place& place, uint64_t key);
    bool write_more(Place& place, uint64_t key);
    void stumble(uint64_t steps, uint64_t least_ns);

    // An op and what is told of it.
    weft_op op_of(uint32_t kind, const Place& place, uint64_t key) const;
    /** Submits it and waits for its event. buffer: its memory, if it names any. */
    weft_event go(weft_op op, std::byte* buffer = nullptr);
    void submit(weft_op& op);
    void begin();
    weft_event reap(const weft_op& op);
    weft_op list_of(uint32_t kind, const Place& place, std::vector<weft_item>& items) const;
    std::vector<uint64_t> some_keys(uint64_t most);
    Name name_of(const Place& place, uint64_t key) const {
        return {place.number, place.opened.version, key, 0};
    }
    /** Takes note of a status that is no answer. */
    void other(Place& place, const weft_event& event);
    void missed(const Get& get, uint32_t reason);
    void read(const Get& get);
    void left_under_view(Namespace& space, const Get& get, uint32_t slot);

    // What engines do.
    void save(Place& place, uint64_t key, uint32_t flags = 0);
    void save_list(Place& place);
    void save_in_place(Place& place, uint64_t key);
    void end_in_place(Place& place, const Name& name, uint32_t put, uint64_t reservation);
    void load(Place& place, const Get& get);
    void view(Place& place, uint64_t key);
    void view_now(Place& place, uint64_t key);
    void read_block(const Place& place, const Get& get, const std::byte* address);
    void read_in_place(Place& place, const std::vector<Get>& gets, const weft_item* items,
                       size_t count);
    void look(Place& place, uint64_t key);
    void match(Place& place);
    void claim(Place& place, uint64_t key);
    void remove(Place& place, uint64_t key);
    void touch(Place& place, uint64_t key);
    void advance(Place& place);
    void cancel(Place& place, uint64_t key);

    Client& client_;
    uint32_t number_;
    Store& store_;
    Model& model_;
    Random& random_;
    std::vector<Place> places_;
    Queue* queue_ = nullptr;
    uint32_t region_ = 0;
    uint32_t all_ = 0;  // all of this process's memory
    std::byte* memory_ = nullptr;
    uint64_t next_tag_ = 1;
    bool reader_ = false;              // it seldom asks the node for anything
    uint64_t began_ = 0;               // the op that is under way
    uint32_t nodes_ = 1;               // that it knows of
    uint32_t pauses_ = 0;              // of this process, until then
    std::vector<uint64_t> abandoned_;  // reservations
    std::set<Name> open_;              // what they are of: no engine saves that beside them
};

class Client {
  public:
    Client(Model& model, uint32_t number, uint32_t threads);
    /** The process's main thread. */
    void main();

    Model& model;
    uint32_t number;
    std::string token;
    std::unique_ptr<Store> store;
    uint32_t rank = 0;
    uint32_t writer = 0;
    bool done = false;

  private:
    uint32_t threads_;
};

/** While one lives, its process may have mapped what the node knows of no more. */
class Closing {
  public:
    Closing() { proc_.closing++; }
    ~Closing() { proc_.closing--; }
    Closing(const Closing&) = delete;
    Closing& operator=(const Closing&) = delete;

  private:
    Proc& proc_ = host().scheduler.process();
};

/** Options of the namespaces of a run. */
std::string options_of(uint32_t space, uint32_t writer);

}  // namespace weft::seeds
