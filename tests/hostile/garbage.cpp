// Half of the writes are any words anywhere, half are what could be taken for something: slots that
// exist, counts that jump, records of the longest chains.
#include "tests/hostile/garbage.h"

#include <random>

#include "capi/weft.h"
#include "fabric/clock/clock.h"

namespace weft::hostile {
namespace {

constexpr uint32_t kWordsAtOnce = 4096;
constexpr uint32_t kOpeningsSeen = 64;

class Garbage {
  public:
    Garbage(RawClient& client, uint64_t seed) : client_(client), dice_(seed) {}

    uint64_t write(const File& file) {
        auto* words = reinterpret_cast<SharedWord*>(file.mapped);
        uint64_t count = file.size / sizeof(SharedWord);
        bool page = file.kind == Kind::page;
        for (uint32_t i = 0; i < kWordsAtOnce; i++)
            words[dice_() % count].store_relaxed(page ? likely() : dice_());
        if (!page) return kWordsAtOnce;
        auto* shared = reinterpret_cast<ReaderPage*>(file.mapped);
        shared->touch_count.store_release(dice_() % 2 == 0 ? dice_() : likely());
        if (dice_() % 4 == 0) {
            uint64_t first = dice_() % 100000;
            for (uint32_t i = 0; i < kReaderCells; i++)
                shared->cells[i].store_release(first + i + 1);
        }
        return kWordsAtOnce;
    }
    uint64_t call() {
        Request request;
        request.verb = static_cast<Verb>(dice_() % (int(Verb::release) + 1));
        request.flags = static_cast<uint32_t>(dice_()) & 0x3fff & ~uint32_t{WEFT_WAIT_WRITER};
        request.part = static_cast<uint32_t>(dice_() % 3 == 0 ? likely() : 0);
        request.start = dice_() % 3 == 0 ? likely() : 0;
        request.size = likely();
        request.number = dice_() % 2 == 0 ? handle_ : likely();
        request.ttl_s = static_cast<uint32_t>(dice_() % 2 == 0 ? likely() : 0);
        request.user = dice_() % 2 == 0;
        request.view = dice_() % 2 == 0;
        request.has_parent = dice_() % 4 == 0;
        request.deadline = fabric::boot_time() + dice_() % (50 * fabric::kMillisecond);
        uint32_t items = dice_() % 8 == 0 ? 3000 : dice_() % 9;
        for (uint32_t i = 0; i < items; i++) {
            auto slot = static_cast<uint32_t>(dice_() % 2 == 0 ? slot_ : likely());
            request.items.push_back(
                {{dice_() % 8 == 0 ? likely() : 1, dice_() % 64}, likely(), slot, dice_()});
        }
        uint64_t opening =
            openings.empty() || dice_() % 8 == 0 ? likely() : openings[dice_() % openings.size()];
        Reply reply = client_.ask(opening, request);
        if (reply.handle != 0) handle_ = reply.handle;
        if (!reply.stock.empty()) slot_ = reply.stock[0].slot;
        return 1;
    }
    void open() {
        static constexpr const char* kOptions[] = {"",
                                                   "part_bytes=4096",
                                                   "parts=2,part_bytes=64/1",
                                                   "version=18446744073709551615",
                                                   "layout=\"\xff\"",
                                                   "write_s=1,ttl_s=1"};
        if (openings.size() >= kOpeningsSeen) return;
        uint64_t opening = client_.open("x/n" + std::to_string(dice_() % 4),
                                        kOptions[dice_() % std::size(kOptions)]);
        if (opening != 0) openings.push_back(opening);
    }
    uint64_t dice() { return dice_(); }
    std::vector<uint64_t> openings;

  private:
    uint64_t likely() {
        switch (dice_() % 5) {
            case 0:
                return dice_();
            case 1:
                return uint64_t{1} << dice_() % 64;
            case 2:
                return UINT64_MAX - dice_() % 3;
            case 3:
                return Touch{static_cast<uint32_t>(dice_() % 5000), 0xfffff,
                             static_cast<uint32_t>(dice_() % 4)}
                    .pack();
            default:
                return dice_() % 5000;
        }
    }

    RawClient& client_;
    std::mt19937_64 dice_;
    uint64_t handle_ = 0;
    uint32_t slot_ = 0;
};

}  // namespace

uint64_t write_garbage(RawClient& client, uint64_t seed, uint64_t milliseconds) {
    Garbage garbage(client, seed);
    uint64_t end = fabric::boot_time() + milliseconds * fabric::kMillisecond;
    uint64_t done = 0;
    while (fabric::boot_time() < end) {
        size_t which = garbage.dice() % (client.files.empty() ? 1 : client.files.size());
        if (which < client.files.size() && client.files[which].writable())
            done += garbage.write(client.files[which]);
        if (garbage.dice() % 4 == 0) done += garbage.call();
        if (garbage.dice() % 64 == 0) garbage.open();
    }
    return done;
}

}  // namespace weft::hostile
