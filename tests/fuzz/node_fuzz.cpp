// What a process can do to a node, by requests and by the memory that they share: any request with
// any numbers, any word of its page at any time, between openings, closings, resumptions and death.
// The input is read as such steps; numbers that the node gave (slots, handles) are among those that
// are said to it.
//
// Invariants: the node answers each request at most once and stays whole; a tenant that may only
// read changes nothing that others read, and one with all rights in a namespace of its own only
// takes memory; when it has died, all that it held is the node's again, to the byte.
//
// Kept from one input to the next, of which kInputsANode have one node: the node, its time, and a
// witness with the same blocks as before. The hostile's namespace, sessions and segments end with
// each input, so that one input alone repeats what it did, but for the numbers that a node counts
// up.
#include <fuzzer/FuzzedDataProvider.h>

#include "tests/fuzz/small_node.h"

namespace weft::fuzz {
namespace {

constexpr uint64_t kMemory = uint64_t{8} << 20;
constexpr uint64_t kInputsANode = 512;
// Most have little room, so that it is used up within an input.
constexpr const char* kLayouts[] = {"part_bytes=4096,quota=64KiB",
                                    "parts=2,part_bytes=4096/256,quota=128KiB", "",
                                    "part_bytes=4096,quota=3MiB,policy=windowed,ttl_s=1"};

class Hostile {
  public:
    /** own: its namespace, where it may do anything in one. */
    Hostile(SmallNode& node, Tenant& tenant, FuzzedDataProvider& input, const char* own)
        : node_(node), tenant_(tenant), input_(input), own_(own) {
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
        std::string name = own_ == nullptr ? "w/m" : own_;
        std::string options = own_ == nullptr ? "" : input_.PickValueInArray(kLayouts);
        Grants grants = {{name, own_ == nullptr ? uint32_t{kRead} : uint32_t{kAllRights}}};
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
    Tenant& tenant_;
    FuzzedDataProvider& input_;
    const char* own_;
};

/** A node, a witness, and one hostile tenant after the other. */
class Field {
  public:
    Field() : witness_(node_, "w/m"), used_(report().memory_used), before_(report().spaces[0]) {}
    ~Field() {
        QuietProcess process;
        node_.leave(witness_.tenant);
        uint32_t owner = *node_.cache.begin_session(process, {{"*", kAllRights}}, 1);
        must(node_.cache.query(owner, 0, "drop", node_.time).ok(), "all is dropped");
        must(report().memory_used == 0, "an empty node uses no memory");
    }
    /** It can take no more inputs. */
    bool spent() const { return inputs_ == kInputsANode || !whole_; }
    void run(FuzzedDataProvider& input) {
        // A name that comes back has the floor that it had.
        std::string own = "h/" + std::to_string(inputs_++);
        bool reads_only = input.ConsumeBool();
        tenant_.forget();
        Hostile hostile(node_, tenant_, input, reads_only ? nullptr : own.c_str());
        for (int steps = 0; input.remaining_bytes() > 0 && steps < 64; steps++) {
            hostile.step();
            if (steps % 8 == 7) witness_.look(!reads_only);
        }
        witness_.look(!reads_only);
        hostile.die();
        node_.pass(5000);
        witness_.look(!reads_only);
        clear(reads_only);
    }

  private:
    NodeReport report() { return node_.cache.report(node_.time); }
    /** The hostile's namespace goes, and with it all that its tenant had. */
    void clear(bool reads_only) {
        uint32_t owner = witness_.tenant.session;
        must(reads_only || node_.cache.query(owner, 0, "drop", node_.time).ok(), "all is dropped");
        for (uint32_t i = 0; i < Witness::kBlocks; i++)
            must(witness_.put(i), "a witness saves again");
        node_.pass(5000);
        witness_.look(false);
        NodeReport now = report();
        must(now.sessions == 1 && now.spaces.size() == 1 && now.pins == 0, "the dead hold nothing");
        const SpaceReport& of = now.spaces[0];
        must(of.attempts == 0 && of.quarantined == 0 && of.claims == 0 && of.waiting == 0 &&
                 of.limbo == 0 && of.blocks == Witness::kBlocks,
             "a witness's namespace is as it was");
        // Where the witness got another segment meanwhile, that may be of another size.
        whole_ = of.data_bytes == before_.data_bytes && of.index_bytes == before_.index_bytes;
        must(!whole_ || now.memory_used == used_, "the memory of the dead is the node's again");
    }

    SmallNode node_{kMemory};
    Witness witness_;
    Tenant tenant_;
    uint64_t used_;
    SpaceReport before_;
    uint64_t inputs_ = 0;
    bool whole_ = true;
};

}  // namespace
}  // namespace weft::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft::fuzz;
    static std::unique_ptr<Field> field;
    if (field == nullptr || field->spent()) field = std::make_unique<Field>();
    FuzzedDataProvider input(data, size);
    field->run(input);
    return 0;
}
