// A client's life: it connects, opens, works, closes; and what its threads share.
#include "tests/sim/seeds/client.h"

namespace weft::seeds {
namespace {

constexpr uint64_t kMs = 1'000'000;

Scheduler& machine() { return host().scheduler; }

}  // namespace

std::string options_of(uint32_t space, uint32_t writer) {
    const Setting& set = host().set;
    if (space == 1) return "part_bytes=" + std::to_string(kSecondPartBytes) + ",write_s=1";
    std::string text = "parts=" + std::to_string(set.parts) +
                       ",part_bytes=" + std::to_string(set.part_bytes) + ",write_s=1,pin_s=2";
    if (set.ttl_s != 0) text += ",ttl_s=" + std::to_string(set.ttl_s);
    if (set.quota != 0) text += ",quota=" + std::to_string(set.quota);
    if (set.parts > 1) text += ",writer=e" + std::to_string(writer);
    return text;
}

Client::Client(Model& model, uint32_t number, uint32_t threads)
    : model(model), number(number), threads_(threads) {
    token = number % 4 == 3 ? "first" : "all";
    rank = host().set.parts > 1 ? number % 2 : 0;
    writer = host().set.parts > 1 ? 1000 + number / 2 % 2 : number;
}

void Client::main() {
    StoreOptions options;
    options.connect = "node";
    options.token.text = token;
    options.timeout_ms = kTimeoutMs;
    fabric::Log quiet(-1, fabric::LogLevel::error);
    while (store == nullptr) {
        Result<std::unique_ptr<Store>> opened = Store::open(options, quiet);
        if (opened) {
            store = std::move(*opened);
        } else {
            machine().trace("connect: " + opened.failure().message);
            machine().sleep(50 * kMs);
        }
    }
    std::vector<std::unique_ptr<Thread>> work;
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < threads_; i++) work.push_back(std::make_unique<Thread>(*this, i));
    for (uint32_t i = 0; i < threads_; i++) threads.emplace_back([&, i] { work[i]->work(); });
    for (std::thread& thread : threads) thread.join();
    Status ready = store->check_close();
    if (!ready)
        machine().fail("P8: a store is busy after all was closed: " + ready.failure().message);
    store.reset();
    done = true;
    machine().wake(this, true);
}

}  // namespace weft::seeds
