// weft_bench_redis SOCKET PORT [--quick]: get and set of 1 MiB against a Redis that run.sh started,
// by hiredis over its UNIX socket and TCP, beside a load and a save through a node. Nothing is held
// to a target here: Redis copies through a socket, and the ratio says what shared memory is worth.
#include <hiredis/hiredis.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "client.h"
#include "figure.h"

namespace {

using bench::require;

constexpr uint32_t kBlockBytes = 1 << 20;
constexpr uint64_t kBlocks = 64;

struct FreeContext {
    void operator()(redisContext* context) const { redisFree(context); }
};
using Context = std::unique_ptr<redisContext, FreeContext>;

/** SET or GET of block `index`; the reply's bytes are checked where there are any. */
double redis_call(redisContext* context, bool get, uint64_t index,
                  const std::vector<std::byte>& content) {
    const std::string key = "block:" + std::to_string(index);
    const uint64_t start = bench::now_ns();
    void* answer =
        get ? redisCommand(context, "GET %s", key.c_str())
            : redisCommand(context, "SET %s %b", key.c_str(), content.data(), content.size());
    const uint64_t took = bench::now_ns() - start;
    auto* reply = static_cast<redisReply*>(answer);
    require(reply != nullptr && reply->type != REDIS_REPLY_ERROR,
            "redis: " + std::string(context->errstr));
    if (get) {
        require(reply->type == REDIS_REPLY_STRING && reply->len == kBlockBytes &&
                    bench::is_block(reply->str, 4096, index),
                "redis returned other bytes");
    }
    freeReplyObject(reply);
    return static_cast<double>(took);
}

double weft_call(const bench::Client& client, bool get, uint64_t key, void* bytes) {
    weft_item item{};
    bench::set_key(item, key);
    weft_op op = client.op(get ? WEFT_OP_LOAD : WEFT_OP_SAVE);
    op.key_hi = item.key_hi;
    op.key_lo = item.key_lo;
    op.offset = reinterpret_cast<uintptr_t>(bytes);
    op.size = kBlockBytes;
    const uint64_t start = bench::now_ns();
    const weft_event event = client.run(op);
    const uint64_t took = bench::now_ns() - start;
    require(event.status >= 0 && event.value == kBlockBytes,
            "an op ended with " + std::string(weft_code_name(-event.status)));
    return static_cast<double>(took);
}

void compare_gets(const bench::Client& client, redisContext* context, const std::string& how,
                  size_t rounds) {
    std::vector<std::byte> content(kBlockBytes);
    std::vector<std::byte> place(kBlockBytes);
    std::memset(place.data(), 1, place.size());
    for (uint64_t i = 0; i < kBlocks; ++i) {
        bench::fill_block(content.data(), kBlockBytes, i);
        redis_call(context, false, i, content);
    }
    uint64_t at = 0;
    const bench::Pair gets = bench::in_turns(
        rounds, [&] { return redis_call(context, true, at % kBlocks, content); },
        [&] { return weft_call(client, true, at++ % kBlocks, place.data()); });
    bench::figure_of("load 1 MiB against Redis GET, " + how, "ns", gets, bench::Target::none(),
                     "Redis 7 by hiredis")
        .as_microseconds()
        .print();
}

/** After all gets: fresh blocks make the node evict the first ones. */
void compare_sets(const bench::Client& client, redisContext* context, const std::string& how,
                  size_t rounds, uint64_t& fresh) {
    std::vector<std::byte> content(kBlockBytes);
    bench::fill_block(content.data(), kBlockBytes, 1);
    uint64_t at = 0;
    const bench::Pair sets = bench::in_turns(
        rounds, [&] { return redis_call(context, false, kBlocks + at++ % kBlocks, content); },
        [&] { return weft_call(client, false, fresh++, content.data()); });
    bench::figure_of("save 1 MiB against Redis SET, " + how, "ns", sets, bench::Target::none(),
                     "Redis 7 by hiredis")
        .as_microseconds()
        .print();
}

}  // namespace

int main(int argument_count, char** arguments) {
    require(argument_count >= 3, "usage: weft_bench_redis SOCKET PORT [--quick]");
    const bool quick = argument_count > 3 && std::strcmp(arguments[3], "--quick") == 0;
    const size_t rounds = quick ? 200 : 1000;
    const bench::Node node("512MiB,prefault=yes", kBlocks, kBlockBytes);
    const bench::Client client("connect=" + node.address(), "bench/model", kBlockBytes);
    const Context by_socket(redisConnectUnix(arguments[1]));
    require(by_socket != nullptr && by_socket->err == 0,
            "redis: no connection to " + std::string(arguments[1]));
    const Context by_tcp(redisConnect("127.0.0.1", std::atoi(arguments[2])));
    require(by_tcp != nullptr && by_tcp->err == 0,
            "redis: no connection to port " + std::string(arguments[2]));
    compare_gets(client, by_socket.get(), "UNIX socket", rounds);
    compare_gets(client, by_tcp.get(), "TCP", rounds);
    // Once around the node's memory, so that no slot is new in what follows.
    uint64_t fresh = uint64_t{1} << 42;
    std::vector<std::byte> content(kBlockBytes);
    for (int i = 0; i < 1100; ++i) weft_call(client, false, fresh++, content.data());
    compare_sets(client, by_socket.get(), "UNIX socket", rounds, fresh);
    compare_sets(client, by_tcp.get(), "TCP", rounds, fresh);
    return 0;
}
