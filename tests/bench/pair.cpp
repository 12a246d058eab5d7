// weft_bench_pair [--quick]: two reader processes that load 1 MiB blocks from one node at once,
// beside the same two processes copying such blocks from their views by memcpy at once. What is
// lost between the two is what readers cost each other.
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "client.h"
#include "figure.h"

namespace {

using bench::Client;
using bench::require;

constexpr uint32_t kBlockBytes = 1 << 20;
constexpr size_t kBatch = 32;
constexpr uint64_t kBlocks = 512;
constexpr int kReaders = 2;
constexpr int kBatchesPerTurn = 4;

/** What the parent and its readers share: a barrier at each turn's ends, and when each reader began
 * and ended its turn. */
struct Turn {
    pthread_barrier_t barrier;
    uint64_t begin[kReaders];
    uint64_t end[kReaders];
};

Turn* shared_turn() {
    void* at =
        mmap(nullptr, sizeof(Turn), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(at != MAP_FAILED, "mmap");
    Turn* turn = new (at) Turn{};
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    require(pthread_barrier_init(&turn->barrier, &attributes, kReaders + 1) == 0,
            "pthread_barrier_init");
    return turn;
}

/** One reader: its own store, its own place for a batch, its own walk over the blocks. */
class Reader {
  public:
    Reader(const std::string& address, int number)
        : client_("connect=" + address, "bench/model", kBlockBytes),
          place_(kBatch * kBlockBytes),
          at_(static_cast<uint64_t>(number) * 251) {
        std::memset(place_.data(), 1, place_.size());
        for (size_t i = 0; i < 2 * kBlocks / kBatch; ++i) copy();
        load();
        for (size_t i = 0; i < kBatch; ++i) {
            require(bench::is_block(place_.data() + i * kBlockBytes, kBlockBytes, indices_[i]),
                    "a load's bytes are wrong");
        }
    }
    void copy() {
        draw();
        uint64_t handle = 0;
        require(weft_view(client_.store(), client_.space(), 0, items_.data(), kBatch, &handle) ==
                    kBatch,
                "a block is missing");
        for (size_t i = 0; i < kBatch; ++i) {
            std::memcpy(place_.data() + i * kBlockBytes,
                        reinterpret_cast<const void*>(items_[i].offset), kBlockBytes);
        }
        weft_release(client_.store(), &handle, 1);
    }
    void load() {
        draw();
        for (size_t i = 0; i < kBatch; ++i) {
            items_[i].offset = reinterpret_cast<uintptr_t>(place_.data() + i * kBlockBytes);
            items_[i].size = kBlockBytes;
        }
        const weft_event event = client_.run(client_.list(WEFT_OP_LOAD, items_, 0));
        require(event.status >= 0 && event.value == kBatch, "a load failed");
    }

  private:
    void draw() {
        items_.assign(kBatch, weft_item{});
        for (size_t i = 0; i < kBatch; ++i) {
            indices_[i] = (at_++ * 37) % kBlocks;
            bench::set_key(items_[i], indices_[i]);
        }
    }

    Client client_;
    std::vector<std::byte> place_;
    std::vector<weft_item> items_;
    uint64_t indices_[kBatch];
    uint64_t at_;
};

/** A reader's life: even turns copy, odd turns load. */
void read_turns(const std::string& address, int number, size_t turns, Turn* turn) {
    Reader reader(address, number);
    for (size_t i = 0; i < turns; ++i) {
        pthread_barrier_wait(&turn->barrier);
        turn->begin[number] = bench::now_ns();
        for (int batch = 0; batch < kBatchesPerTurn; ++batch)
            i % 2 == 0 ? reader.copy() : reader.load();
        turn->end[number] = bench::now_ns();
        pthread_barrier_wait(&turn->barrier);
    }
}

/** A reader that failed would never come to the barrier: the parent ends with it. */
void end_with_reader(int) {
    int status = 0;
    while (waitpid(-1, &status, WNOHANG) > 0) {
        if (status != 0) _exit(1);
    }
}

}  // namespace

int main(int argument_count, char** arguments) {
    const bool quick = argument_count > 1 && std::strcmp(arguments[1], "--quick") == 0;
    const size_t turns = 2 * ((quick ? 20 : 80) + 1);
    Turn* turn = shared_turn();
    const bench::Node node("1GiB,prefault=yes", kBlocks, kBlockBytes);
    pid_t readers[kReaders];
    signal(SIGCHLD, end_with_reader);
    for (int i = 0; i < kReaders; ++i) {
        readers[i] = fork();
        require(readers[i] >= 0, "fork");
        if (readers[i] == 0) {
            read_turns(node.address(), i, turns, turn);
            _exit(0);
        }
    }
    auto one_turn = [&] {
        pthread_barrier_wait(&turn->barrier);
        pthread_barrier_wait(&turn->barrier);
        const uint64_t begin = *std::min_element(turn->begin, turn->begin + kReaders);
        const uint64_t end = *std::max_element(turn->end, turn->end + kReaders);
        return static_cast<double>(end - begin);
    };
    const bench::Pair pair = bench::in_turns(turns / 2 - 1, one_turn, one_turn);
    signal(SIGCHLD, SIG_DFL);
    bench::figure_of("two readers together, 1 MiB, batch of 32", "ns", pair,
                     bench::Target::ratio_at_least(0.95), "two bare copy loops together")
        .as_rate(kReaders * kBatchesPerTurn * kBatch * kBlockBytes)
        .print();
    return 0;
}
