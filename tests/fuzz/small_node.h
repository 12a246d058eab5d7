// A node's cache without a machine, small enough to be made anew every few inputs: fake memory,
// processes that confirm or not, a clock that moves only when it is told to.
//
// Invariants: what goes wrong aborts, so that the fuzzer keeps the input; nothing here depends on
// anything but the input.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include "core/cache.h"
#include "core/index/cells.h"
#include "fabric/clock/clock.h"
#include "tests/unit/fake_memory.h"

namespace weft::fuzz {

/** Ends the process where what must hold does not. */
inline void must(bool holds, const char* what) {
    if (holds) return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

class QuietProcess final : public Process {
  public:
    bool push_segment(uint64_t, const Segment&, bool) override { return confirms; }
    bool drop_segment(uint64_t, uint32_t) override { return confirms; }
    bool confirms = true;
};

/** A session with one opening, and what it was given. */
struct Tenant {
    QuietProcess process;
    std::unique_ptr<ReaderPage> page = std::make_unique<ReaderPage>();
    uint32_t session = 0;
    uint64_t opening = 0;
    Namespace* space = nullptr;
    uint64_t version = 0;
    std::vector<uint32_t> slots;    // of its stock
    std::vector<uint64_t> handles;  // reservations, claims and pins
    uint64_t answers = 0;
    /** Another process takes its place. */
    void forget() {
        slots.clear();
        handles.clear();
        process.confirms = true;
    }
};

class SmallNode {
  public:
    explicit SmallNode(uint64_t memory_bytes) : cache(options_of(memory_bytes), memory, nullptr) {}
    ~SmallNode() {
        // A node that stops asks nothing of its sessions.
        cache.take_replies();
    }

    bool enter(Tenant& tenant, const std::string& name, const std::string& options, Grants grants) {
        memset(static_cast<void*>(tenant.page.get()), 0, sizeof(ReaderPage));
        tenant.session = *cache.begin_session(tenant.process, std::move(grants), 1);
        Result<Opened> opened =
            cache.open_namespace(tenant.session, name, options, tenant.page.get(), 0, time);
        if (!opened) return false;
        tenant.opening = opened->opening;
        tenant.space = opened->space;
        tenant.version = opened->version;
        return true;
    }
    /** nullopt: it waits. Its answer, whenever it comes, is counted and its handles are known. */
    std::optional<Reply> ask(Tenant& tenant, Request request) {
        auto answer = std::make_shared<std::optional<Reply>>();  // shared with the cache's answer
        Verb verb = request.verb;
        Tenant* of = &tenant;
        cache.run(
            tenant.session, tenant.opening, std::move(request),
            [answer, of, verb](Reply&& reply) {
                must(!*answer, "one answer to each request");
                for (const ReplyItem& item : reply.stock) of->slots.push_back(item.slot);
                if (reply.handle != 0) of->handles.push_back(reply.handle);
                of->answers++;
                *answer = std::move(reply);
                (void)verb;
            },
            time);
        deliver();
        return *answer;
    }
    void pass(uint64_t milliseconds) {
        time += milliseconds * fabric::kMillisecond;
        cache.tick(time);
        deliver();
    }
    void deliver() {
        for (Cache::Answer& answer : cache.take_replies()) answer.done(std::move(answer.reply));
    }
    void leave(Tenant& tenant) {
        cache.end_session(tenant.session, time);
        deliver();
    }

    FakeMemory memory;
    uint64_t time = 1000 * fabric::kSecond;
    Cache cache;

  private:
    static CacheOptions options_of(uint64_t memory_bytes) {
        CacheOptions options;
        options.memory = memory_bytes;
        options.incarnation = 0x1234567;
        return options;
    }
};

/** Blocks whose bytes are known, in a namespace of its own tenant. */
class Witness {
  public:
    static constexpr uint32_t kBlocks = 3;
    static constexpr uint64_t kBytes = 4096;

    Witness(SmallNode& node, const std::string& name) : node_(node) {
        must(node.enter(tenant, name, "part_bytes=4096", {{"*", kAllRights}}), "a witness enters");
        for (uint32_t i = 0; i < kBlocks; i++) must(put(i), "a witness's first blocks are saved");
    }
    /** Its blocks by the reader's own way. Each is there with its bytes, or (`may_miss`) is not. */
    void look(bool may_miss) {
        IndexReader reader(tenant.space->slots().index().mapping.address());
        for (uint32_t i = 0; i < kBlocks; i++) {
            Found found;
            Look seen = reader.look(key(i), hash_key(key(i)), tenant.version, node_.time, found);
            must(seen == Look::hit || (may_miss && seen == Look::miss), "a witness's block");
            if (seen != Look::hit) continue;
            const std::byte* bytes = tenant.space->slots().address(found.slot);
            bool same = found.size == kBytes;
            for (uint64_t at = 0; same && at < kBytes; at += 64) same = bytes[at] == byte_of(i);
            must(same, "a witness's bytes");
        }
    }
    bool put(uint32_t i) {
        Request wanted;
        wanted.verb = Verb::reserve;
        wanted.user = true;
        wanted.flags = WEFT_REPLACE;
        wanted.deadline = node_.time + fabric::kSecond;
        wanted.items.push_back({key(i), 0, kNoSlot, 0});
        std::optional<Reply> held = node_.ask(tenant, wanted);
        if (!held || held->items[0].status != 0) return false;
        memset(tenant.space->slots().address(held->items[0].slot), int(byte_of(i)), kBytes);
        Request word;
        word.verb = Verb::commit;
        word.number = held->handle;
        std::optional<Reply> done = node_.ask(tenant, word);
        return done && done->status == 0;
    }

    Tenant tenant;

  private:
    static Key key(uint32_t i) { return {7, i + 1}; }
    static std::byte byte_of(uint32_t i) { return std::byte(0x51 + i); }
    SmallNode& node_;
};

}  // namespace weft::fuzz
