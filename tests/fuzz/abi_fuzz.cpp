// The C ABI as a program of any language may call it: ops with any fields on regions that are its
// own, lists of items with any bytes in them, views and releases, questions and options in any
// words. Memory that an op names must exist (weft.h, "Memory"), so no region here is all of the
// process's.
//
// Invariants: each op that was taken has exactly one event, within its timeout or when its queue
// closes; when all that was opened is given back, the namespace closes; nothing outside the regions
// is touched.
//
// Kept from one input to the next, of which kInputsAStore have one store: the store, its region and
// pool, and a namespace a layout, with segments and no blocks. One whose floor an input raised is
// dropped, and another one comes. Ops that wait are ended by their queue's end; one input in
// kOfWhichOneWaits, chosen by its bytes, gives them a millisecond instead and waits for that.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "capi/weft.h"

namespace {

constexpr uint64_t kInputsAStore = 512;
constexpr uint64_t kOfWhichOneWaits = 256;
constexpr uint32_t kBytes = 64 << 10;
constexpr uint32_t kItems = 32;  // of a step, at the begin of the memory
constexpr int kSteps = 8;
constexpr uint32_t kOps = 12;
constexpr int32_t kPatienceMs = 20000;
// With little room, so that it is used up within an input, and cheap to get.
constexpr const char* kLayouts[] = {
    "part_bytes=4096,quota=128KiB", "parts=2,part_bytes=1024/256,quota=64KiB",
    "parts=1,part_bytes=0,quota=512KiB", "part_bytes=2048,layers=4,ttl_s=1,quota=64KiB"};

void must(bool holds, const char* what, int64_t got = 0) {
    if (holds) return;
    fprintf(stderr, "does not hold: %s (%lld)\n", what, static_cast<long long>(got));
    abort();
}

class Program {
  public:
    Program() {
        must(weft_open("memory=8MiB,log_level=error,timeout_ms=20000", &store_, nullptr) == 0,
             "open");
        memory_.resize(kBytes);
        must(weft_region_adopt(store_, reinterpret_cast<uint64_t>(memory_.data()), kBytes, -1,
                               &region_, nullptr) == 0,
             "adopt");
        for (uint64_t i = 0; i < bases_.size(); i++)
            bases_[i] = reinterpret_cast<uint64_t>(memory_.data()) + i * 8192;
        must(weft_pool_open(store_, "pages=8,bytes=64,heads=2,tokens=4", bases_.data(), 4, -1,
                            &pool_, nullptr) == 0,
             "pool");
        for (size_t i = 0; i < std::size(kLayouts); i++) {
            must(weft_namespace_close(store_, open(i, kLayouts[i]).space) == 0, "it closes");
        }
    }
    ~Program() {
        must(weft_region_drop(store_, pool_) == 0, "the pool is given back");
        must(weft_region_drop(store_, region_) == 0, "the region is given back");
        must(weft_close(store_) == 0, "the store closes");
    }
    bool spent() const { return inputs_ == kInputsAStore; }
    void run(FuzzedDataProvider& input, bool waits) {
        inputs_++;
        waits_ = waits;
        layout_ = input.ConsumeIntegralInRange<size_t>(0, std::size(kLayouts) - 1);
        weft_namespace space = open(layout_, "");
        space_ = space.space;
        // What is copied by the store's own thread costs its wakening.
        bool moved = input.ConsumeIntegralInRange(0, 15) == 0;
        const char* options = moved                 ? "inline_bytes=0,depth=4"
                              : input.ConsumeBool() ? "depth=16"
                                                    : "depth=4";
        must(weft_queue_open(store_, options, &queue_, nullptr) == 0, "a queue opens");
        for (step_ = 0; step_ < kSteps && input.remaining_bytes() > 0; step_++) take_step(input);
        end();
    }

  private:
    /** An op under way, by its tag. */
    struct Taken {
        weft_op op{};
        bool ended = false;
    };

    weft_namespace open(size_t layout, const char* options) {
        std::string name = "f/" + std::to_string(layout) + "." + std::to_string(made_[layout]);
        weft_namespace space{};
        space.struct_size = sizeof space;
        must(weft_namespace_open(store_, name.c_str(), options, &space, nullptr) == 0,
             "a namespace opens");
        return space;
    }
    void take_step(FuzzedDataProvider& input) {
        switch (input.ConsumeIntegralInRange(0, 15)) {
            case 0:
                return ask(input);
            case 1:
            case 2:
            case 3:
                return look(input);
            case 4:
            case 5:
                return release(input);
            case 6:
                return open_anything(input);
            default:
                return submit(input);
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
    weft_item* step_items() {
        return reinterpret_cast<weft_item*>(memory_.data()) + size_t(step_) * kItems;
    }
    void write_items(FuzzedDataProvider& input, uint32_t count) {
        // Items of ops under way are theirs: each step has its own.
        weft_item* items = step_items();
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
        op.timeout_ms = waits_ ? 1 : kPatienceMs;
        if (input.ConsumeBool()) op.size = static_cast<uint32_t>(number(input));
        if (input.ConsumeBool()) op.start = static_cast<uint32_t>(number(input));
        if (input.ConsumeBool()) op.ttl_s = input.ConsumeIntegral<uint8_t>();
        op.key_hi = 1;
        op.key_lo = input.ConsumeIntegralInRange<uint64_t>(0, 9);
        op.offset = number(input);
        if ((op.flags & WEFT_LIST) != 0) {
            op.key_hi = input.ConsumeIntegralInRange<uint64_t>(1, kItems);
            op.key_lo = input.ConsumeIntegralInRange(0, 15) == 0 ? number(input) : region_;
            op.offset =
                input.ConsumeBool() ? uint64_t(step_) * kItems * sizeof(weft_item) : number(input);
        }
        return op;
    }
    void submit(FuzzedDataProvider& input) {
        write_items(input, input.ConsumeIntegralInRange<uint32_t>(0, kItems));
        std::vector<weft_op> ops;
        uint32_t count = input.ConsumeIntegralInRange<uint32_t>(1, kOps);
        for (uint32_t i = 0; i < count; i++) {
            ops.push_back(op(input));
            ops.back().tag = taken_.size() + i + 1;
            if (ops.back().kind == WEFT_OP_CANCEL) ops.back().offset %= ops.back().tag;
        }
        int32_t taken = weft_submit(queue_, ops.data(), count);
        must(taken == -WEFT_EAGAIN || (taken > 0 && taken <= int32_t(count)), "submit", taken);
        for (int32_t i = 0; i < taken; i++) taken_.push_back({ops[size_t(i)], false});
        reap(0);
        while (waits_ && ended_ < taken_.size()) must(reap(kPatienceMs) > 0, "an event in time");
    }
    int32_t reap(int32_t timeout_ms) {
        int32_t all = 0;
        for (;;) {
            weft_event events[4];
            int32_t got = weft_reap(queue_, events, 4, timeout_ms);
            if (got == -WEFT_ECLOSED) return all;
            must(got >= 0, "reap", got);
            for (int32_t i = 0; i < got; i++) note(events[i]);
            all += got;
            if (got < 4) return all;
            timeout_ms = 0;
        }
    }
    void note(const weft_event& event) {
        must(event.tag >= 1 && event.tag <= taken_.size(), "an event is of an op",
             int64_t(event.tag));
        Taken& of = taken_[event.tag - 1];
        must(!of.ended, "one event an op", int64_t(event.tag));
        of.ended = true;
        ended_++;
        bool untold = event.status == -WEFT_ETIMEOUT || event.status == -WEFT_ECANCELED;
        if (of.op.kind == WEFT_OP_ADVANCE && (event.value != 0 || untold)) raised_ = true;
        fill(of.op, event);
        if (event.handle != 0) handles_.push_back(event.handle);
    }
    /** Writes where it was allowed to. */
    void fill(const weft_op& op, const weft_event& event) {
        bool opened =
            op.kind == WEFT_OP_RESERVE && event.status == 0 && (op.flags & WEFT_LIST) == 0;
        if (opened) memset(reinterpret_cast<void*>(event.value), 0x5a, event.detail);
    }
    /** Once an input: an answer about all of the store costs more than many ops. */
    void ask(FuzzedDataProvider& input) {
        if (asked_) return;
        asked_ = true;
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
    /** What is opened by any words is given back at once. */
    void open_anything(FuzzedDataProvider& input) {
        int what = input.ConsumeIntegralInRange(0, 3);
        bool longer = input.ConsumeBool();
        std::string words = input.ConsumeRandomLengthString(longer ? 300 : 40);
        weft_error error{};
        error.struct_size = sizeof error;
        int32_t opened = 0;
        weft_queue* queue = nullptr;
        weft_namespace space{};
        space.struct_size = input.ConsumeIntegralInRange<uint32_t>(0, sizeof space);
        uint32_t region = 0;
        switch (what) {
            case 0:
                opened = weft_queue_open(store_, words.c_str(), &queue, &error);
                if (opened == 0) must(weft_queue_close(queue) == 0, "an empty queue closes");
                break;
            case 1:
                opened = weft_pool_open(store_, words.c_str(), bases_.data(),
                                        input.ConsumeIntegralInRange<uint32_t>(0, 4),
                                        input.ConsumeBool() ? -1 : 0, &region, &error);
                if (opened == 0) must(weft_region_drop(store_, region) == 0, "a pool is dropped");
                break;
            case 2:
                opened = weft_namespace_open(store_, "f/any", words.c_str(), &space, &error);
                if (opened == 0 && space.struct_size >= 8) opened_any(space.space);
                break;
            default:
                opened = weft_namespace_open(store_, words.c_str(), "create=no", &space, &error);
                if (opened == 0 && space.struct_size >= 8)
                    must(weft_namespace_close(store_, space.space) == 0, "it closes");
        }
        must(opened == 0 || (opened < 0 && error.code == -opened && error.message[0] != 0),
             "words why not", opened);
    }
    void opened_any(uint32_t space) {
        must(weft_query(store_, space, "drop", nullptr, 0, nullptr) >= 0, "it is dropped");
        must(weft_namespace_close(store_, space) == 0, "it closes");
    }
    void end() {
        for (int32_t left = 0; (left = weft_queue_close(queue_)) > 0;) {
            must(reap(kPatienceMs) > 0, "the events of a queue that closes", left);
        }
        must(ended_ == taken_.size(), "an event for each op that was taken",
             int64_t(taken_.size() - ended_));
        taken_.clear();
        ended_ = 0;
        for (uint64_t handle : handles_) weft_release(store_, &handle, 1);
        handles_.clear();
        must(weft_query(store_, space_, "flush", nullptr, 0, nullptr) >= 0, "it is emptied");
        int32_t closed = weft_namespace_close(store_, space_);
        must(closed == 0, "all is given back", closed);
        asked_ = false;
        if (raised_) replace();
        raised_ = false;
    }
    void replace() {
        uint32_t before = open(layout_, "create=no").space;
        must(weft_query(store_, before, "drop", nullptr, 0, nullptr) >= 0, "it is dropped");
        must(weft_namespace_close(store_, before) == 0, "it closes");
        made_[layout_]++;
        uint32_t next = open(layout_, kLayouts[layout_]).space;
        must(weft_namespace_close(store_, next) == 0, "another one comes");
    }

    weft_store* store_ = nullptr;
    weft_queue* queue_ = nullptr;
    std::vector<std::byte> memory_;
    uint32_t region_ = 0;
    uint32_t pool_ = 0;
    uint32_t space_ = 0;
    std::array<uint64_t, 4> bases_{};
    std::array<uint64_t, std::size(kLayouts)> made_{};  // namespaces of each layout
    size_t layout_ = 0;
    int step_ = 0;
    bool waits_ = false;
    bool asked_ = false;
    bool raised_ = false;  // the namespace's floor
    std::vector<Taken> taken_;
    size_t ended_ = 0;  // of them
    std::vector<uint64_t> handles_;
    uint64_t inputs_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    // One at a time; the last is never destroyed: its threads outlive main.
    static Program* program = nullptr;
    if (program != nullptr && program->spent()) {
        delete program;
        program = nullptr;
    }
    if (program == nullptr) program = new Program;
    FuzzedDataProvider input(data, size);
    size_t hash = std::hash<std::string_view>{}({reinterpret_cast<const char*>(data), size});
    program->run(input, hash % kOfWhichOneWaits == 0);
    return 0;
}
