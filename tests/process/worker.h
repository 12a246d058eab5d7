// One process of the load: what all roles share.
//
// Invariants: a worker judges bytes by itself and says of each wrong one which block it was; it
// ends with status 3 then, at once. Codes that a fault may cause are counted; any other is `odd`,
// printed, and fails the run.
#pragma once
#include <random>
#include <string>

#include "board.h"
#include "content.h"
#include "weft.hpp"

namespace load {

constexpr uint64_t kKeys = 400;
constexpr size_t kPartBytes = 16384;

struct Arguments {
    std::string role, socket;
    Board* board = nullptr;
    uint32_t id = 0;
};

class Worker {
  public:
    explicit Worker(const Arguments& arguments);

    Board& board() { return board_; }
    Counts& counts() { return counts_; }
    bool stopped() const { return board_.stop.load() != 0; }
    weft::Store& store() { return store_; }
    weft::Queue& queue() { return queue_; }
    weft::Namespace& any() { return any_; }
    weft::Namespace& parts() { return parts_; }
    uint64_t random(uint64_t below) { return random_() % below; }
    uint64_t stamp() { return (uint64_t{id_} + 1) << 48 | ++stamps_; }

    weft_event run(const weft_op& op, const char* what);
    /** Counts how a call ended; after a fence, opens the namespaces at the new version. */
    void count(int32_t status, const char* what, uint32_t detail = 0);
    /** Judges a part that a get brought which began when `floor` was the board's. Returns its
     * stamp. */
    uint64_t judge(const weft::Namespace& space, const std::byte* from, size_t size,
                   uint64_t number, uint32_t part, uint64_t floor, const char* what);

    /** Says what is wrong and ends the process. */
    [[noreturn]] void fail(const char* what, uint64_t number);

  private:
    void reopen();

    Board& board_;
    Counts& counts_;
    uint32_t id_;
    std::mt19937_64 random_;
    uint64_t stamps_ = 0;
    weft::Store store_;
    weft::Queue queue_;
    weft::Namespace any_;
    weft::Namespace parts_;
};

void read_all(Worker& worker);
void write_all(Worker& worker);
void advance_all(Worker& worker);
void relay_write(Worker& worker);
void relay_read(Worker& worker);
void fly(Worker& worker);

}  // namespace load
