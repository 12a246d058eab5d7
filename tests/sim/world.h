// One namespace of a node, with the shipping code of core, and readers of its index, in simulated
// memory; made anew for each execution. The scenarios (scenarios.cpp) say what the actors do.
//
// Invariants: a block's stamp is in its size, its checksum, its expiry and its bytes, and says
// whose block it is, so that whatever a reader is given can be told right, foreign or torn.
#pragma once
#include <optional>

#include "core/index/cells.h"
#include "core/space/namespace.h"
#include "core/write/writing.h"
#include "tests/sim/explorer.h"

namespace weft::sim {

constexpr uint64_t kNow = 1'000'000;
constexpr uint64_t kBlockBytes = 64 << 10;
constexpr size_t kMachineWords = 128 << 10;

/** A block's name, and which of the puts under it: the stamp. */
struct Block {
    Key key;
    uint64_t version = 1;
    uint32_t number = 0;  // of the key, up to 255
    uint32_t put = 1;
    uint64_t stamp() const { return uint64_t{number} << 16 | version << 8 | put; }
    Block again() const { return {key, version, number, put + 1}; }
    Block newer() const { return {key, version + 1, number, put}; }
};

/** What a reader may be told: anything true; the block, as it was there all the time; the put with
 * this stamp. */
struct Must {
    bool hit = false;
    uint64_t stamp = 0;
};

class World : public Run {
  public:
    World(Explorer& explorer, uint32_t readers);
    ~World() override;
    std::string name(const uint64_t* word) const override;

    // The node's side.
    Namespace& space() { return *space_; }
    uint32_t put(const Block& block, uint32_t old = kNoSlot);
    uint32_t slot_of(const Block& block) { return space_->find(block.key, block.version, kNow); }
    void evict(uint32_t slot);
    /** Tells the readers that something is done, as an event does. */
    void signal() { signal_->store_release(1); }
    void write(uint32_t slot, const Block& block);

    // A reader's.
    const IndexReader& index() const { return index_; }
    bool signalled() const { return signal_->load_acquire() != 0; }
    void look(const Block& block, Must must);
    void view(uint32_t reader, const Block& block, Must must);
    /** As view, of a block that a writer put: its bytes are what is judged. */
    void view_bytes(uint32_t reader, const Block& block, bool must_hit);
    /** Reads an unfinished attempt. */
    void follow(uint32_t reader, uint32_t slot, uint64_t gen, const Block& block);
    void fail(const std::string& what) { explorer_.fail(what); }

  protected:
    SharedWord* word();
    /** Both may be: which, the exploration says. */
    uint32_t chance(uint32_t count) { return explorer_.chance(count); }

  private:
    class HeapMemory;
    template <typename T>
    T* take(size_t bytes);
    Cells& cells(uint32_t reader) { return *readers_[reader]; }
    void read_bytes(const char* call, uint32_t slot, uint64_t stamp);
    void judge(const char* call, Look look, const Found& found, const Block& block, Must must);

    Explorer& explorer_;
    size_t taken_ = 0;  // words of the machine's memory
    std::unique_ptr<HeapMemory> memory_;
    Budget budget_;
    std::unique_ptr<Namespace> space_;
    IndexReader index_;
    std::vector<std::unique_ptr<Cells>> readers_;
    std::vector<ReaderPage*> pages_;
    SharedWord* signal_ = nullptr;
    uint64_t* bytes_ = nullptr;  // a word stands for a slot's bytes
};

struct Scenario {
    const char* name;
    std::function<std::unique_ptr<Run>(Explorer&)> make;
};
std::vector<Scenario> scenarios();
/** deep: with one switch more where all orders are too many; minutes. */
std::vector<Scenario> writers_scenarios(bool deep);

}  // namespace weft::sim
