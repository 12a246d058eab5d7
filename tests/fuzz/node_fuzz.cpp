// What a process can do to a node, by requests and by the memory that they share: any request with
// any numbers, any word of its page at any time, between openings, closings, resumptions and death.
// The input is read as such steps; numbers that the node gave (slots, handles) are among those that
// are said to it.
//
// Invariants: the node answers each request at most once and stays whole; a tenant that may only
// read changes nothing that others read, and one with all rights in a namespace of its own only
// takes memory; when it has died, all that it held is the node's again.
#include <fuzzer/FuzzedDataProvider.h>

#include "tests/fuzz/small_node.h"

namespace weft::fuzz {
namespace {

constexpr uint64_t kMemory = uint64_t{8} << 20;
constexpr const char* kLayouts[] = {"part_bytes=4096", "parts=2,part_bytes=4096/256", "",
                                    "part_bytes=4096,quota=3MiB,policy=windowed,ttl_s=1"};

class Hostile {
  public:
    Hostile(SmallNode& node, FuzzedDataProvider& input, bool reads_only)
        : node_(node), input_(input), reads_only_(reads_only) {
        enter();
    }
    void step() {
        switch (input_.ConsumeIntegralInRange(0, 19)) {
            case 0:
                return node_.pass(input_.ConsumeIntegralInRange<uint64_t>(1, 3000));
            case 1:
                return write_words();
            case 2:
                return write_words();
            case 3:
                return write_words();
            case 4:
                return again();
            case 5:
                return resume();
            case 6:
                return (void)node_.cache.query(tenant_.session, opening(),
                                               input_.ConsumeRandomLengthString(64), node_.time);
            case 7:
                return (void)(tenant_.process.confirms = !tenant_.process.confirms);
            case 8:
                return node_.cache.confirm_segment(opening(), number32(), node_.time);
            case 9:
                return node_.cache.confirm_drop(opening(), number32(), node_.time);
            case 10:
                return fill();
            default:
                return (void)node_.ask(tenant_, request());
        }
    }
    void die() {
        tenant_.process.confirms = true;
        node_.leave(tenant_);
    }

  private:
    void enter() {
        std::string name = reads_only_ ? "w/m" : "h/m";
        std::string options = reads_only_ ? "" : input_.PickValueInArray(kLayouts);
        Grants grants = {{name, reads_only_ ? uint32_t{kRead} : uint32_t{kAllRights}}};
        node_.enter(tenant_, name, options, grants);
    }
    void again() {
        die();
        tenant_.slots.clear();
        enter();
    }
    /** Comes back and says what it still holds, or something else. */
    void resume() {
        std::set<uint64_t> known;
        std::set<uint32_t> stock;
        for (uint32_t count = input_.ConsumeIntegralInRange<uint32_t>(0, 6); count > 0; count--) {
            known.insert(number());
            stock.insert(slot());
        }
        node_.cache.keep_only(tenant_.session, opening(), known, stock, node_.time);
    }
    uint64_t opening() { return input_.ConsumeBool() ? tenant_.opening : number(); }
    uint64_t number() {
        switch (input_.ConsumeIntegralInRange(0, 5)) {
            case 0:
                return input_.ConsumeIntegral<uint64_t>();
            case 1:
                return input_.ConsumeIntegral<uint8_t>();
            case 2:
                return UINT64_MAX - input_.ConsumeIntegral<uint8_t>();
            case 3:
                return uint64_t{1} << input_.ConsumeIntegralInRange(0, 63);
            case 4:
                return tenant_.handles.empty() ? 0 : pick(tenant_.handles);
            default:
                return 4096;
        }
    }
    uint32_t number32() { return static_cast<uint32_t>(number()); }
    template <typename T>
    T pick(const std::vector<T>& of) {
        return of[input_.ConsumeIntegralInRange<size_t>(0, of.size() - 1)];
    }
    uint32_t slot() {
        return tenant_.slots.empty() || input_.ConsumeIntegralInRange(0, 3) == 0
                   ? number32()
                   : pick(tenant_.slots);
    }
    Key key() {
        if (input_.ConsumeIntegralInRange(0, 15) == 0) return {number(), number()};
        return {7, input_.ConsumeIntegralInRange<uint64_t>(0, 12)};  // the witness's among them
    }
    Request request() {
        Request request;
        request.verb = static_cast<Verb>(input_.ConsumeIntegralInRange(0, int(Verb::release)));
        request.flags = input_.ConsumeIntegral<uint16_t>() & 0x3fff;
        request.part = input_.ConsumeIntegralInRange<uint32_t>(0, 2);
        if (input_.ConsumeBool()) request.start = number();
        if (input_.ConsumeBool()) request.size = number();
        request.number = number();
        request.deadline = node_.time + input_.ConsumeIntegralInRange<uint64_t>(0, fabric::kSecond);
        request.ttl_s = input_.ConsumeBool() ? 0 : number32();
        request.user = input_.ConsumeBool();
        request.view = input_.ConsumeBool();
        request.has_parent = input_.ConsumeBool();
        request.parent = key();
        uint32_t items = input_.ConsumeIntegralInRange<uint32_t>(0, 8);
        for (uint32_t i = 0; i < items; i++) {
            Key of = key();
            if (request.verb == Verb::release) of.lo = number();
            uint64_t size = input_.ConsumeBool() ? 0 : number();
            request.items.push_back({of, size, slot(), number()});
        }
        return request;
    }
    /** Of its page, whatever stands there. */
    void write_words() {
        auto* words = reinterpret_cast<SharedWord*>(tenant_.page.get());
        constexpr uint32_t kWords = sizeof(ReaderPage) / sizeof(SharedWord);
        uint32_t at = input_.ConsumeBool() ? input_.ConsumeIntegralInRange<uint32_t>(0, kWords - 1)
                                           : kReaderCells;
        uint32_t count = input_.ConsumeIntegralInRange<uint32_t>(1, 8);
        for (uint32_t i = 0; i < count && at + i < kWords; i++)
            words[at + i].store_relaxed(input_.ConsumeBool() ? number() : slot() + uint64_t{1});
    }
    /** All of its page at once: every cell a slot, every record a chain. */
    void fill() {
        auto* words = reinterpret_cast<SharedWord*>(tenant_.page.get());
        constexpr uint32_t kWords = sizeof(ReaderPage) / sizeof(SharedWord);
        uint64_t value = number();
        uint64_t step = input_.ConsumeIntegralInRange<uint64_t>(0, 3);
        for (uint32_t i = 0; i < kWords; i++) words[i].store_relaxed(value + i * step);
    }

    SmallNode& node_;
    FuzzedDataProvider& input_;
    bool reads_only_;
    Tenant tenant_;
};

}  // namespace
}  // namespace weft::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft;
    using namespace weft::fuzz;
    FuzzedDataProvider input(data, size);
    SmallNode node(kMemory);
    Witness witness(node, "w/m");
    bool reads_only = input.ConsumeBool();
    Hostile hostile(node, input, reads_only);
    for (int steps = 0; input.remaining_bytes() > 0 && steps < 64; steps++) {
        hostile.step();
        if (steps % 8 == 7) witness.look(!reads_only);
    }
    witness.look(!reads_only);
    hostile.die();
    node.pass(5000);
    node.pass(5000);
    witness.look(!reads_only);
    for (uint32_t i = 0; i < Witness::kBlocks; i++) must(witness.put(i), "a witness saves again");
    witness.look(false);
    return 0;
}
