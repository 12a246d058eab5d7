// The C ABI as a program of any language may call it: ops with any fields on regions that are its
// own, lists of items with any bytes in them, views and releases, questions in any words. Memory
// that an op names must exist (weft.h, "Memory"), so no region here is all of the process's.
//
// Invariants: each op that was taken has exactly one event, within its timeout; when all that was
// opened is given back, the namespace closes; nothing outside the regions is touched.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "capi/weft.h"

namespace {

constexpr uint32_t kBytes = 64 << 10;
constexpr uint32_t kItems = 32;  // at the begin of the memory
constexpr uint32_t kOps = 12;
constexpr int32_t kPatienceMs = 20000;
constexpr const char* kLayouts[] = {"part_bytes=4096", "parts=2,part_bytes=1024/256",
                                    "parts=1,part_bytes=0", "part_bytes=2048,layers=4,ttl_s=1"};

void must(bool holds, const char* what, int64_t got = 0) {
    if (holds) return;
    fprintf(stderr, "does not hold: %s (%lld)\n", what, static_cast<long long>(got));
    abort();
}

class Program {
  public:
    Program() {
        must(weft_open("memory=8MiB,log_level=error,timeout_ms=2", &store_, nullptr) == 0, "open");
        memory_.resize(kBytes);
        must(weft_region_adopt(store_, reinterpret_cast<uint64_t>(memory_.data()), kBytes, -1,
                               &region_, nullptr) == 0,
             "adopt");
        std::array<uint64_t, 4> bases{};
        for (uint64_t i = 0; i < bases.size(); i++)
            bases[i] = reinterpret_cast<uint64_t>(memory_.data()) + i * 8192;
        must(weft_pool_open(store_, "pages=8,bytes=64,heads=2,tokens=4", bases.data(), 4, -1,
                            &pool_, nullptr) == 0,
             "pool");
    }
    void run(FuzzedDataProvider& input) {
        weft_namespace space{};
        space.struct_size = sizeof space;
        must(weft_namespace_open(store_, "f/m", input.PickValueInArray(kLayouts), &space,
                                 nullptr) == 0,
             "a namespace opens");
        space_ = space.space;
        must(weft_queue_open(store_, input.ConsumeBool() ? "" : "inline_bytes=0,depth=4", &queue_,
                             nullptr) == 0,
             "a queue opens");
        handles_.clear();
        for (int step = 0; step < 6 && input.remaining_bytes() > 0; step++) take_step(input);
        end();
    }

  private:
    void take_step(FuzzedDataProvider& input) {
        switch (input.ConsumeIntegralInRange(0, 7)) {
            case 0:
                ask(input);
                break;
            case 1:
                look(input);
                break;
            case 2:
                release(input);
                break;
            default:
                submit(input);
        }
    }
    uint64_t number(FuzzedDataProvider& input) {
        switch (input.ConsumeIntegralInRange(0, 4)) {
            case 0:
                return input.ConsumeIntegral<uint64_t>();
            case 1:
                return handles_.empty()
                           ? 1
                           : handles_[input.ConsumeIntegralInRange<size_t>(0, handles_.size() - 1)];
            case 2:
                return uint64_t{1} << input.ConsumeIntegralInRange(0, 63);
            default:
                return input.ConsumeIntegralInRange<uint64_t>(0, 4) * 1024;
        }
    }
    void write_items(FuzzedDataProvider& input, uint32_t count) {
        auto* items = reinterpret_cast<weft_item*>(memory_.data());
        for (uint32_t i = 0; i < count; i++) {
            items[i].key_hi = input.ConsumeIntegralInRange(0, 15) == 0 ? number(input) : 1;
            items[i].key_lo = input.ConsumeIntegralInRange<uint64_t>(0, 9);
            items[i].offset = number(input);
            items[i].size = input.ConsumeBool() ? 0 : static_cast<uint32_t>(number(input));
            items[i].status = 0;
        }
    }
    weft_op op(FuzzedDataProvider& input) {
        weft_op op{};
        op.kind = static_cast<uint16_t>(input.ConsumeIntegralInRange(0, 15));
        op.flags = input.ConsumeBool() ? 0 : input.ConsumeIntegral<uint16_t>();
        op.space =
            input.ConsumeIntegralInRange(0, 15) == 0 ? input.ConsumeIntegral<uint32_t>() : space_;
        bool moves = op.kind == WEFT_OP_LOAD || op.kind == WEFT_OP_SAVE;
        if (moves) op.region = input.ConsumeBool() ? region_ : input.ConsumeBool() ? pool_ : 77;
        op.part = static_cast<uint16_t>(input.ConsumeIntegralInRange(0, 2));
        op.timeout_ms = 1;
        if (input.ConsumeBool()) op.size = static_cast<uint32_t>(number(input));
        if (input.ConsumeBool()) op.start = static_cast<uint32_t>(number(input));
        if (input.ConsumeBool()) op.ttl_s = input.ConsumeIntegral<uint8_t>();
        op.key_hi = 1;
        op.key_lo = input.ConsumeIntegralInRange<uint64_t>(0, 9);
        op.offset = number(input);
        if ((op.flags & WEFT_LIST) != 0) {
            op.key_hi = input.ConsumeIntegralInRange<uint64_t>(1, kItems);
            op.key_lo = input.ConsumeIntegralInRange(0, 15) == 0 ? number(input) : region_;
            op.offset = input.ConsumeBool() ? 0 : number(input);
        }
        return op;
    }
    void submit(FuzzedDataProvider& input) {
        write_items(input, input.ConsumeIntegralInRange<uint32_t>(0, kItems));
        std::vector<weft_op> ops;
        uint32_t count = input.ConsumeIntegralInRange<uint32_t>(1, kOps);
        for (uint32_t i = 0; i < count; i++) {
            ops.push_back(op(input));
            ops.back().tag = i + 1;
        }
        int32_t taken = weft_submit(queue_, ops.data(), count);
        must(taken == -WEFT_EAGAIN || (taken > 0 && taken <= int32_t(count)), "submit", taken);
        uint64_t seen = 0;
        for (int32_t left = taken; left > 0;) {
            weft_event events[4];
            int32_t got = weft_reap(queue_, events, 4, kPatienceMs);
            must(got > 0, "an event for each op that was taken", got);
            for (int32_t i = 0; i < got; i++) {
                must(events[i].tag >= 1 && events[i].tag <= uint64_t(taken) &&
                         (seen >> events[i].tag & 1) == 0,
                     "one event an op", int64_t(events[i].tag));
                seen |= uint64_t{1} << events[i].tag;
                const weft_op& of = ops[events[i].tag - 1];
                fill(of, events[i]);
                if (events[i].handle != 0) handles_.push_back(events[i].handle);
            }
            left -= got;
        }
    }
    /** Writes where it was allowed to. */
    void fill(const weft_op& op, const weft_event& event) {
        bool opened =
            op.kind == WEFT_OP_RESERVE && event.status == 0 && (op.flags & WEFT_LIST) == 0;
        if (opened) memset(reinterpret_cast<void*>(event.value), 0x5a, event.detail);
    }
    void ask(FuzzedDataProvider& input) {
        static constexpr const char* kWords[] = {"stats",        "layout", "blocks limit=2",
                                                 "explain key=", "about",  "error id=",
                                                 "namespaces",   ""};
        std::string words = input.PickValueInArray(kWords);
        words += input.ConsumeRandomLengthString(80);
        char answer[64];
        weft_error error{};
        error.struct_size = input.ConsumeIntegralInRange<uint32_t>(0, sizeof error);
        uint32_t capacity = input.ConsumeIntegralInRange<uint32_t>(0, sizeof answer);
        bool drops = words.starts_with("drop");
        int32_t length = weft_query(store_, input.ConsumeBool() || drops ? space_ : 0,
                                    drops ? "stats" : words.c_str(), answer, capacity, &error);
        must(length >= -WEFT_ENOTSUP && length != -WEFT_EINTERNAL, "an answer or a code", length);
        if (length >= 0 && capacity > 0) must(memchr(answer, 0, capacity) != nullptr, "its end");
    }
    void look(FuzzedDataProvider& input) {
        uint32_t count = input.ConsumeIntegralInRange<uint32_t>(0, kItems);
        write_items(input, count);
        auto* items = reinterpret_cast<weft_item*>(memory_.data());
        uint32_t space = input.ConsumeBool() ? space_ : static_cast<uint32_t>(number(input));
        int32_t there = weft_match(store_, space, items, count);
        must(there <= int32_t(count), "match", there);
        uint64_t handle = 0;
        int32_t viewed =
            weft_view(store_, space, static_cast<uint32_t>(number(input)), items, count, &handle);
        must(viewed <= int32_t(count), "view", viewed);
        for (int32_t i = 0; i < viewed; i++) {
            volatile std::byte first = *reinterpret_cast<const std::byte*>(items[i].offset);
            (void)first;
        }
        if (handle != 0) handles_.push_back(handle);
    }
    void release(FuzzedDataProvider& input) {
        uint64_t handles[3] = {number(input), number(input), number(input)};
        weft_release(store_, handles, input.ConsumeIntegralInRange<uint32_t>(0, 3));
    }
    void end() {
        for (uint64_t handle : handles_) weft_release(store_, &handle, 1);
        while (weft_queue_close(queue_) > 0) {
            weft_event events[16];
            weft_reap(queue_, events, 16, kPatienceMs);
        }
        int32_t closed = weft_namespace_close(store_, space_);
        must(closed == 0, "all is given back", closed);
        must(weft_query(store_, 0, "drop", nullptr, 0, nullptr) >= 0, "drop");
    }

    weft_store* store_ = nullptr;
    weft_queue* queue_ = nullptr;
    std::vector<std::byte> memory_;
    uint32_t region_ = 0;
    uint32_t pool_ = 0;
    uint32_t space_ = 0;
    std::vector<uint64_t> handles_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static Program* program = new Program;  // for the process's life: its threads outlive main
    FuzzedDataProvider input(data, size);
    program->run(input);
    return 0;
}
