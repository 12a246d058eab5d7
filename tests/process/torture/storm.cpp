// A storm of clients: storm SOCKET BOARD SLOT SEED RATE SECONDS starts RATE processes a second,
// each of which connects, opens a namespace, reads and saves a block, and ends: by closing what it
// has opened, by _exit with a view and a reservation open, or by kill -9 at a random instant of
// this.
//
// Invariants: a client that is not done after a minute is a hang; the storm tells its stacks, ends
// it by SIGALRM, and ends with status 3 itself, as for a wrong byte. Nothing of Weft is used before
// the fork.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "../content.h"
#include "slots.h"

namespace torture {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kKeys = 400;
constexpr int kAway = 4, kWrong = 3, kOdd = 5;
constexpr uint32_t kHangSeconds = 60, kAliveMost = 400;

struct Storm {
    std::string socket;
    Board& board;
    Slot& slot;
    uint32_t id;
};

/** What a client may be told while faults are about. */
bool is_passing(int32_t code) {
    return code == WEFT_EPEER || code == WEFT_ETIMEOUT || code == WEFT_ENOMEM ||
           code == WEFT_EQUOTA || code == WEFT_EFENCED || code == WEFT_ECLOSED;
}

int judge(const weft::View& view, uint64_t number, uint64_t version, uint64_t floor) {
    const bool whole = view.size() == load::size_of(number) &&
                       load::stamp_of(view.data(), view.size(), number, version, 0) != 0;
    if (whole && version >= floor) return 0;
    std::fprintf(stderr, "storm: WRONG: key %llu version %llu floor %llu size %zu\n",
                 static_cast<unsigned long long>(number), static_cast<unsigned long long>(version),
                 static_cast<unsigned long long>(floor), view.size());
    return kWrong;
}

int use(const Storm& storm, std::mt19937_64& random, bool cleanly) {
    const weft::Store store("connect=" + storm.socket + ",timeout_ms=5000");
    storm.slot.starts++;
    weft::Queue queue(store);
    const weft::Namespace space(store, "torture/any", "part_bytes=0,write_s=1");
    const uint64_t floor = storm.board.floor.load(), version = space.info().version;
    const uint64_t number = random() % kKeys, other = random() % kKeys;
    const weft::View view = queue.view(space.op(WEFT_OP_VIEW, load::key_of(number)));
    if (view && judge(view, number, version, floor) != 0) return kWrong;
    if (view) storm.slot.hits++;
    std::vector<std::byte> memory(load::size_of(other));
    const uint64_t stamp = (uint64_t{storm.id} + 1) << 48 | ++storm.slot.stamps;
    load::fill(memory.data(), other, version, 0, stamp, 0, memory.size());
    if (queue.run(space.save(load::key_of(other), memory.data(), memory.size())).status >= 0)
        storm.slot.saves++;
    weft_op op = space.op(WEFT_OP_RESERVE, load::key_of(random() % kKeys));
    op.size = 4096;
    const weft::Reservation reservation = queue.reserve(op);
    if (!cleanly) _exit(0);
    return 0;
}

int client(const Storm& storm, uint64_t seed) {
    std::mt19937_64 random(seed);
    try {
        return use(storm, random, random() % 2 == 0);
    } catch (const weft::Error& error) {
        if (is_passing(error.code())) return kAway;
        std::fprintf(stderr, "storm: ODD: %s (%s)\n", error.what(), weft_code_name(error.code()));
        return kOdd;
    }
}

/** Counts how a client ended. */
void count(const Storm& storm, int status) {
    Slot& slot = storm.slot;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        slot.kills++;
    } else if (WIFSIGNALED(status)) {
        std::fprintf(stderr, "storm: WRONG: a client ended by signal %d%s\n", WTERMSIG(status),
                     WTERMSIG(status) == SIGALRM ? ": it hung" : "");
        slot.wrong++;
    } else if (WEXITSTATUS(status) == kAway) {
        slot.unreachable++;
    } else if (WEXITSTATUS(status) == kOdd) {
        slot.odd++;
    } else if (WEXITSTATUS(status) != 0) {
        slot.wrong++;
    }
}

/** Where the threads of a client are that will soon be said to hang; where there is a debugger. */
void tell_stacks(pid_t pid) {
    const std::string command = "gdb -q -batch -p " + std::to_string(pid) +
                                " -ex 'thread apply all bt 12' 2>/dev/null | grep '^[#T]' 1>&2";
    if (std::system(command.c_str()) != 0) std::fprintf(stderr, "storm: no stacks: no gdb\n");
}

/** Time as it passes for the storm: what it slept through, since others had the machine, was lost
 * to its clients too, and is counted as one step. */
class Patience {
  public:
    double seconds() {
        const auto now = Clock::now();
        total_ += std::min(std::chrono::duration<double>(now - last_).count(), 0.05);
        last_ = now;
        return total_;
    }

  private:
    Clock::time_point last_ = Clock::now();
    double total_ = 0;
};

/** Of a client that lives. */
struct Due {
    Clock::time_point dies;
    double since;
    bool told = false;
};

void reap(const Storm& storm, std::map<pid_t, Due>& alive, double now) {
    int status = 0;
    for (pid_t gone = 0; (gone = waitpid(-1, &status, WNOHANG)) > 0; alive.erase(gone))
        count(storm, status);
    for (auto& [pid, due] : alive) {
        if (Clock::now() >= due.dies) kill(pid, SIGKILL);
        if (now - due.since < kHangSeconds || due.told) continue;
        due.told = true;
        tell_stacks(pid);
        kill(pid, SIGALRM);
    }
}

int blow(const Storm& storm, uint64_t seed, double rate, double seconds) {
    std::mt19937_64 random(seed);
    std::map<pid_t, Due> alive;
    Patience patience;
    const auto begin = Clock::now();
    const auto every = std::chrono::duration<double>(1 / rate);
    const auto never = Clock::time_point::max();
    uint64_t started = 0;
    while (std::chrono::duration<double>(Clock::now() - begin).count() < seconds &&
           storm.board.stop.load() == 0) {
        reap(storm, alive, patience.seconds());
        std::this_thread::sleep_until(begin + every * static_cast<double>(started));
        if (alive.size() >= kAliveMost) continue;
        const uint64_t dice = random();
        const pid_t pid = fork();
        if (pid == 0) _exit(client(storm, dice));
        if (pid < 0) continue;  // the machine has no room for it now
        started++;
        const bool dies = dice % 4 == 0;
        const auto now = Clock::now();
        alive[pid] = {dies ? now + std::chrono::microseconds(random() % 20000) : never,
                      patience.seconds()};
        storm.slot.beat++;
    }
    while (!alive.empty()) {
        reap(storm, alive, patience.seconds());
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    const double took = std::chrono::duration<double>(Clock::now() - begin).count();
    std::fprintf(stderr, "storm: %llu clients in %.1f s\n",
                 static_cast<unsigned long long>(started), took);
    return storm.slot.wrong.load() != 0 ? kWrong : 0;
}

}  // namespace
}  // namespace torture

int main(int argc, char** argv) {
    using namespace torture;
    if (argc != 7) {
        std::fprintf(stderr, "storm SOCKET BOARD SLOT SEED RATE SECONDS\n");
        return 2;
    }
    Board& board = Board::open(argv[2]);
    const auto id = static_cast<uint32_t>(std::atoi(argv[3]));
    const Storm storm{argv[1], board, board.slots[id], id};
    return blow(storm, std::strtoull(argv[4], nullptr, 10), std::atof(argv[5]), std::atof(argv[6]));
}
