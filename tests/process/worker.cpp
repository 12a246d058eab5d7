// A process of the load: worker ROLE SOCKET BOARD ID, until the board says stop. run.py starts,
// stops and kills it.
#include "worker.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>

namespace load {
namespace {

constexpr const char* kAnyOptions = "part_bytes=0,write_s=2";
constexpr const char* kPartsOptions = "parts=2,part_bytes=16384,write_s=2,pin_s=30";

/** A fault may have taken the node: what needs it is tried again until there is one. */
template <typename Make>
auto patiently(const Board& board, const char* what, Make make) {
    for (;;) {
        try {
            return make();
        } catch (const weft::Error& error) {
            const bool passing = error.code() == WEFT_EPEER || error.code() == WEFT_ETIMEOUT ||
                                 error.code() == WEFT_EFENCED;
            if (!passing || board.stop.load() != 0) {
                std::fprintf(stderr, "worker %d: %s: %s (%s)\n", getpid(), what, error.what(),
                             weft_code_name(error.code()));
                std::exit(board.stop.load() != 0 && passing ? 0 : 2);
            }
            usleep(20000);
        }
    }
}

}  // namespace

Worker::Worker(const Arguments& arguments)
    : board_(*arguments.board),
      counts_(board_.counts[arguments.id]),
      id_(arguments.id),
      random_(arguments.id * 7919 + 1),
      store_(patiently(
          board_, "open",
          [&] { return weft::Store("connect=" + arguments.socket + ",timeout_ms=5000"); })),
      queue_(store_),
      any_(patiently(board_, "namespace",
                     [&] { return weft::Namespace(store_, "load/any", kAnyOptions); })),
      parts_(patiently(board_, "namespace",
                       [&] { return weft::Namespace(store_, "load/parts", kPartsOptions); })) {
    board_.ready.fetch_add(1);
}

void Worker::reopen() {
    any_ = patiently(board_, "reopen", [&] { return weft::Namespace(store_, "load/any"); });
    parts_ = patiently(board_, "reopen", [&] { return weft::Namespace(store_, "load/parts"); });
}

weft_event Worker::run(const weft_op& op, const char* what) {
    const weft_event event = queue_.run(op);
    count(event.status, what, event.detail);
    return event;
}

void Worker::count(int32_t status, const char* what, uint32_t detail) {
    const int32_t code = -status;
    const bool given_back =
        (code == WEFT_EINVAL || code == WEFT_ECLOSED) && std::string(what) == "end";
    if (code == WEFT_EMISS)
        (detail == WEFT_MISS_UNREACHABLE ? counts_.unreachable : counts_.misses)++;
    else if (code == WEFT_EFENCED)
        counts_.fenced++, reopen();
    else if (code == WEFT_EPEER || code == WEFT_ETIMEOUT)
        counts_.unreachable++, usleep(1000);
    else if (code == WEFT_EEXISTS || code == WEFT_EHELD || code == WEFT_EQUOTA || given_back)
        counts_.refused++;
    else if (code > 0 && counts_.odd++ < 5)
        std::fprintf(stderr, "worker %d: %s ended with %s (detail %u)\n", getpid(), what,
                     weft_code_name(-code), detail);
}

uint64_t Worker::judge(const weft::Namespace& space, const std::byte* from, size_t size,
                       uint64_t number, uint32_t part, uint64_t floor, const char* what) {
    const uint64_t version = space.info().version;
    const size_t whole = &space == &parts_ ? kPartBytes : size_of(number);
    const uint64_t stamp = size == whole ? stamp_of(from, size, number, version, part) : 0;
    counts_.hits++;
    if (stamp != 0 && version >= floor) return stamp;
    counts_.wrong++;
    uint64_t first = 0;
    std::memcpy(&first, from, size < 8 ? size : 8);
    std::fprintf(stderr,
                 "worker %d: WRONG %s: key %llu part %u version %llu floor %llu size %zu of %zu, "
                 "stamp %016llx\n",
                 getpid(), what, static_cast<unsigned long long>(number), part,
                 static_cast<unsigned long long>(version), static_cast<unsigned long long>(floor),
                 size, whole, static_cast<unsigned long long>(first));
    std::_Exit(3);
}

void Worker::fail(const char* what, uint64_t number) {
    counts_.wrong++;
    std::fprintf(stderr, "worker %d: WRONG: %s: key %llu\n", getpid(), what,
                 static_cast<unsigned long long>(number));
    std::_Exit(3);
}

/** Raises both namespaces' floors again and again, and says on the board where they are. */
void advance_all(Worker& worker) {
    while (!worker.stopped()) {
        const uint64_t next = worker.board().floor.load() + 1;
        uint64_t done = 0;
        for (weft::Namespace* space : {&worker.any(), &worker.parts()}) {
            weft_op op = space->op(WEFT_OP_ADVANCE);
            op.offset = next;
            const weft_event event = worker.run(op, "advance");
            if (event.status >= 0 && event.value >= next) done++;
        }
        if (done == 2) worker.board().floor.store(next);
        usleep(400000);
    }
}

}  // namespace load

int main(int argc, char** argv) {
    using namespace load;
    if (argc != 5) {
        std::fprintf(stderr, "worker ROLE SOCKET BOARD ID\n");
        return 2;
    }
    const std::map<std::string, void (*)(Worker&)> roles = {
        {"reader", read_all},          {"writer", write_all},        {"advancer", advance_all},
        {"relay_writer", relay_write}, {"relay_reader", relay_read}, {"flight", fly}};
    const auto role = roles.find(argv[1]);
    if (role == roles.end()) return 2;
    Worker worker(
        {argv[1], argv[2], &Board::open(argv[3]), static_cast<uint32_t>(std::atoi(argv[4]))});
    role->second(worker);
    return 0;
}
