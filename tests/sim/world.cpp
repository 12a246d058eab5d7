// The simulated machine under core: memory without files, and what a reader was told compared with
// what was put.
#include "tests/sim/world.h"

#include <cstdlib>

#include "capi/weft.h"

namespace weft::fabric {

// The simulator's memory has no files and no mappings to undo.
Descriptor::~Descriptor() = default;
Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    fd_ = other.release();
    return *this;
}
Mapping::~Mapping() = default;
Mapping::Mapping(Mapping&& other) noexcept = default;
Mapping& Mapping::operator=(Mapping&& other) noexcept = default;

}  // namespace weft::fabric

namespace weft::sim {
namespace {

constexpr uint64_t kBudget = 4 << 20;  // one segment of 2 MiB, and the index
constexpr uint32_t kSlots = 64;

NamespaceConfig config() {
    NamespaceConfig config;
    config.part_bytes = {kBlockBytes};
    return config;
}

}  // namespace

/** Indexes lie in the machine's memory; block bytes are not looked at but through World::bytes_. */
class World::HeapMemory : public fabric::Memory {
  public:
    explicit HeapMemory(World& world) : world_(world) {}
    Result<fabric::SharedFile> create_data(uint64_t size, bool) override {
        fabric::SharedFile file;
        file.mapping = fabric::Mapping(nullptr, size);
        return file;
    }
    Result<fabric::SharedFile> create_index(uint64_t size) override {
        fabric::SharedFile file;
        file.mapping = fabric::Mapping(world_.take<std::byte>(size), size);
        return file;
    }
    Status reserve(const fabric::SharedFile&, uint64_t, uint64_t) override { return Nothing{}; }
    void punch(fabric::SharedFile&) override {}
    Result<fabric::Mapping> map(const fabric::Descriptor&, uint64_t, fabric::Access,
                                bool) override {
        return Failure{WEFT_ENOTSUP, "the simulator maps nothing"};
    }

  private:
    World& world_;
};

template <typename T>
T* World::take(size_t bytes) {
    uint64_t* at = explorer_.machine().memory() + taken_;
    taken_ += (bytes + 63) / 64 * 8;
    if (taken_ > kMachineWords) abort();
    return reinterpret_cast<T*>(at);
}

World::World(Explorer& explorer, uint32_t readers)
    : explorer_(explorer), memory_(std::make_unique<HeapMemory>(*this)), budget_(kBudget) {
    signal_ = take<SharedWord>(sizeof(SharedWord));
    bytes_ = take<uint64_t>(kSlots * sizeof(uint64_t));
    for (uint32_t i = 0; i < readers; i++) {
        pages_.push_back(take<ReaderPage>(sizeof(ReaderPage)));
        readers_.push_back(std::make_unique<Cells>(pages_.back()));
    }
    space_ =
        std::make_unique<Namespace>("tenant/model", config(), 1, *memory_, budget_, 1000, false);
    if (!space_->start(UINT64_MAX)) abort();
    for (uint32_t i = 0; i < readers; i++) space_->attach({i + 1, pages_[i], 0});
    index_ = IndexReader(space_->slots().index().mapping.address());
}

World::~World() = default;

SharedWord* World::word() { return take<SharedWord>(sizeof(SharedWord)); }

void World::write(uint32_t slot, const Block& block) {
    explorer_.machine().plain_store(&bytes_[slot], block.stamp());
}

uint32_t World::put(const Block& block, uint32_t old) {
    Result<uint32_t> slot = space_->allocate(kBlockBytes, kNow, SlotState::attempt);
    if (!slot || *slot >= kSlots) abort();
    write(*slot, block);
    Publication publication;
    publication.key = block.key;
    publication.version = block.version;
    publication.size = block.stamp();
    publication.expiry = kNow + block.stamp();
    uint64_t checksum = block.stamp();
    publication.checksums = {&checksum, 1};
    if (!space_->publish(*slot, publication, old, kNow)) abort();
    return *slot;
}

void World::evict(uint32_t slot) {
    space_->unpublish(slot, WEFT_MISS_EVICTED);
    space_->settle_limbo(kNow);
}

void World::judge(const char* call, Look look, const Found& found, const Block& block, Must must) {
    std::string what = std::string(call) + " of block " + std::to_string(block.number) + ": ";
    if (look == Look::miss && must.hit) return fail(what + "a miss, and it was there");
    if (look != Look::hit) return;
    if (found.size >> 8 != block.stamp() >> 8) return fail(what + "the header of another block");
    if (must.stamp != 0 && found.size != must.stamp)
        return fail(what + "an earlier put, after the event of a later one");
    if (found.checksum != found.size || found.expiry != kNow + found.size ||
        found.index != found.slot || found.segment != 0) {
        return fail(what + "fields of two blocks: size " + std::to_string(found.size) +
                    ", checksum " + std::to_string(found.checksum) + ", expiry " +
                    std::to_string(found.expiry - kNow));
    }
}

void World::look(const Block& block, Must must) {
    Found found;
    Look look = index_.look(block.key, hash_key(block.key), block.version, kNow, found);
    judge("look", look, found, block, must);
}

void World::view(uint32_t reader, const Block& block, Must must) {
    uint32_t cell = cells(reader).take(0);
    Found found;
    Look look = index_.hold(block.key, hash_key(block.key), block.version, kNow,
                            cells(reader).word(cell), found);
    judge("view", look, found, block, must);
    if (look == Look::hit) read_bytes("view", found.slot, found.size);
    cells(reader).give(cell);
}

void World::view_bytes(uint32_t reader, const Block& block, bool must_hit) {
    uint32_t cell = cells(reader).take(0);
    Found found;
    Look look = index_.hold(block.key, hash_key(block.key), block.version, kNow,
                            cells(reader).word(cell), found);
    if (look == Look::miss && must_hit) fail("view: a miss, after the block's event");
    if (look == Look::hit) read_bytes("view", found.slot, block.stamp());
    cells(reader).give(cell);
}

void World::follow(uint32_t reader, uint32_t slot, uint64_t gen, const Block& block) {
    uint32_t cell = cells(reader).take(0);
    Found found;
    if (index_.hold_slot(slot, gen, cells(reader).word(cell), found))
        read_bytes("follow", slot, block.stamp());
    cells(reader).give(cell);
}

void World::read_bytes(const char* call, uint32_t slot, uint64_t stamp) {
    uint64_t bytes = explorer_.machine().plain_load(&bytes_[slot]);
    if (bytes == stamp) return;
    fail(std::string(call) + " of a block of stamp " + std::to_string(stamp) + ": the bytes of " +
         std::to_string(bytes));
}

std::string World::name(const uint64_t* word) const {
    auto inside = [&](const void* base, size_t bytes) {
        auto from = reinterpret_cast<uintptr_t>(base);
        auto at = reinterpret_cast<uintptr_t>(word);
        return at >= from && at < from + bytes
                   ? std::optional<size_t>((at - from) / sizeof(uint64_t))
                   : std::nullopt;
    };
    static constexpr const char* kHeader[] = {"layout",    "floor",      "serve_until", "table",
                                              "buckets",   "overflow",   "slots",       "checksums",
                                              "slots_max", "buckets_max"};
    static constexpr const char* kSlot[] = {"gen",    "key_hi", "key_lo", "version",
                                            "expiry", "place",  "size",   "checksum"};
    auto entry = [](size_t at) {
        return at % 8 == 0 ? std::string("link") : "entry " + std::to_string(at % 8 - 1);
    };
    const std::byte* base = space_->slots().index().mapping.address();
    const IndexHeader& header = index_.header();
    if (auto at = inside(base, sizeof(IndexHeader))) return kHeader[*at];
    uint64_t buckets = header.buckets_max.load_relaxed() * sizeof(Bucket);
    if (auto at = inside(base + header.buckets.load_relaxed(), buckets)) {
        return "bucket " + std::to_string(*at / 8) + " " + entry(*at);
    }
    if (auto at = inside(base + header.overflow.load_relaxed(), buckets)) {
        return "overflow " + std::to_string(*at / 8) + " " + entry(*at);
    }
    if (auto at = inside(base + header.slots.load_relaxed(), kSlots * sizeof(SlotHeader))) {
        return "slot " + std::to_string(*at / 8) + " " + kSlot[*at % 8];
    }
    if (auto at = inside(bytes_, kSlots * sizeof(uint64_t)))
        return "bytes of slot " + std::to_string(*at);
    for (size_t i = 0; i < pages_.size(); i++) {
        if (auto at = inside(pages_[i], sizeof(ReaderPage))) {
            return "cell " + std::to_string(*at) + " of reader " + std::to_string(i);
        }
    }
    return word == reinterpret_cast<const uint64_t*>(signal_) ? "signal" : "a word";
}

}  // namespace weft::sim
