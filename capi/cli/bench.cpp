/**
 * `weft bench`: a quick look at what this machine gives, in some seconds. Each figure that moves
 * bytes stands beside memcpy of the same bytes in the same run, warmed first and measured in turns
 * (weft, memcpy, weft, memcpy, ...), as medians; only the ratio says something about Weft. The
 * project's tests/bench has the figures that are held to targets.
 *
 * Invariants: every saved byte is read back and compared once; a figure of ops that failed is never
 * printed; what was put into a node of others is dropped again.
 */
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "command.h"
#include "config.h"
#include "json.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr size_t kBlockBytes = size_t{1} << 20;
constexpr size_t kBatch = 32;
constexpr size_t kSmall = 1000;
constexpr size_t kSmallBytes = 256;
constexpr size_t kRounds = 15;
constexpr size_t kWarmRounds = 3;  // until removed slots come round again, their pages touched
constexpr size_t kLastBatch = kWarmRounds + kRounds;

double now_s() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

/** Seconds of one call, as medians over rounds in turns. */
template <typename Ours, typename Reference, typename Prepare>
std::pair<double, double> in_turns(size_t rounds, Ours ours, Reference reference, Prepare prepare) {
    std::vector<double> a, b;
    for (size_t i = 0; i < kWarmRounds + rounds; i++) {
        prepare(i);
        const double start = now_s();
        ours(i);
        const double middle = now_s();
        reference();
        if (i < kWarmRounds) continue;
        a.push_back(middle - start);
        b.push_back(now_s() - middle);
    }
    return {median(a), median(b)};
}

template <typename Ours, typename Reference>
std::pair<double, double> in_turns(size_t rounds, Ours ours, Reference reference) {
    return in_turns(rounds, ours, reference, [](size_t) {});
}

std::vector<weft_item> items_of(uint64_t hi, size_t count, size_t size, std::byte* memory) {
    std::vector<weft_item> items(count);
    for (size_t i = 0; i < count; i++) {
        items[i].key_hi = hi;
        items[i].key_lo = i + 1;
        items[i].size = static_cast<uint32_t>(size);
        if (memory != nullptr) items[i].offset = reinterpret_cast<uintptr_t>(memory + i * size);
    }
    return items;
}

/** The figures, over one store and two namespaces of its own. */
class Run {
  public:
    Run(const Store& store, std::string name)
        : store_(store),
          name_(std::move(name)),
          large_(store, name_ + ".large", "parts=1,part_bytes=" + std::to_string(kBlockBytes)),
          small_(store, name_ + ".small", "parts=1,part_bytes=" + std::to_string(kSmallBytes)),
          queue_(store),
          from_(kBatch * kBlockBytes),
          to_(kBatch * kBlockBytes) {
        for (size_t i = 0; i < from_.size(); i++)
            from_[i] = static_cast<std::byte>((i * 2654435761u) >> 13);
    }

    Json figures() {
        save_batch();
        load_batch();
        load_single();
        small_blocks();
        return figures_;
    }
    void clean_up() {
        for (const Namespace* space : {&large_, &small_}) store_.query("drop", space->space());
    }

  private:
    void bytes_figure(const char* name, size_t bytes, std::pair<double, double> seconds) {
        const double gib = static_cast<double>(bytes) / (1 << 30);
        figures_.push_back({{"name", name},
                            {"value", gib / seconds.first},
                            {"unit", "GiB/s"},
                            {"reference", gib / seconds.second},
                            {"ratio", seconds.second / seconds.first}});
    }
    void run_list(const Namespace& space, uint16_t kind, std::vector<weft_item>& items,
                  const char* what) {
        const weft_event event = queue_.run(space.list(kind, items.data(), items.size()));
        require(store_, event, what);
        if (event.value != items.size())
            throw Failure(kFailed, std::string(what) + ": not all done");
    }
    void save_batch() {
        Progress progress("saving", kLastBatch, true);
        const auto times = in_turns(
            kRounds,
            [&](size_t i) {
                auto items = items_of(i + 1, kBatch, kBlockBytes, from_.data());
                run_list(large_, WEFT_OP_SAVE, items, "save");
                progress.at(i);
            },
            [&] { std::memcpy(to_.data(), from_.data(), from_.size()); },
            [&](size_t i) {
                if (i == 0) return;
                auto items = items_of(i, kBatch, 0, nullptr);
                run_list(large_, WEFT_OP_REMOVE, items, "remove");
            });
        bytes_figure("save 1 MiB, batch of 32, checksummed", from_.size(), times);
    }
    void load_batch() {
        auto items = items_of(kLastBatch, kBatch, kBlockBytes, to_.data());
        auto views = items_of(kLastBatch, kBatch, 0, nullptr);
        const View view = queue_.view(large_.list(WEFT_OP_VIEW, views.data(), views.size()));
        require(store_, view.event(), "view");
        const auto times = in_turns(
            kRounds, [&](size_t) { run_list(large_, WEFT_OP_LOAD, items, "load"); },
            [&] {
                for (size_t i = 0; i < kBatch; i++)
                    std::memcpy(to_.data() + i * kBlockBytes,
                                reinterpret_cast<const void*>(views[i].offset), kBlockBytes);
            });
        bytes_figure("load 1 MiB, batch of 32", to_.size(), times);
        std::memset(to_.data(), 0, to_.size());
        run_list(large_, WEFT_OP_LOAD, items, "load");
        if (to_ != from_) throw Failure(kFailed, "load: other bytes than were saved");
    }
    void load_single() {
        const Key key{kLastBatch, 1};
        const weft_op op = large_.load(key, to_.data(), kBlockBytes);
        const View view = queue_.view(large_.op(WEFT_OP_VIEW, key));
        require(store_, view.event(), "view");
        const auto times = in_turns(
            200, [&](size_t) { require(store_, queue_.run(op), "load"); },
            [&] { std::memcpy(to_.data(), view.data(), kBlockBytes); });
        bytes_figure("load 1 MiB, one at a time", kBlockBytes, times);
    }
    void small_blocks() {
        auto items = items_of(1, kSmall, kSmallBytes, from_.data());
        run_list(small_, WEFT_OP_SAVE, items, "save");
        items = items_of(1, kSmall, 0, nullptr);
        std::vector<double> view_s, match_s;
        for (size_t round = 0; round <= 100; round++) {
            double start = now_s();
            for (size_t i = 0; i < 64; i++) {
                weft_item item = items[(round * 64 + i) * 7919 % kSmall];
                uint64_t view = 0;
                if (check(weft_view(store_.get(), small_.space(), 0, &item, 1, &view)) != 1)
                    throw Failure(kFailed, "view: a block that was saved is not there");
                weft_release(store_.get(), &view, 1);
            }
            view_s.push_back((now_s() - start) / 64);
            start = now_s();
            if (small_.match(items.data(), items.size()) != kSmall)
                throw Failure(kFailed, "match: a block that was saved is not there");
            match_s.push_back(now_s() - start);
        }
        figures_.push_back({{"name", "view and release a block"},
                            {"value", median(view_s) * 1e9},
                            {"unit", "ns"}});
        figures_.push_back(
            {{"name", "match 1,000 keys"}, {"value", median(match_s) * 1e6}, {"unit", "us"}});
    }

    const Store& store_;
    std::string name_;
    Namespace large_, small_;
    Queue queue_;
    std::vector<std::byte> from_, to_;
    Json figures_ = Json::array();
};

std::string number_text(const Json& figure, const char* field) {
    if (!figure.contains(field)) return "";
    const double value = figure[field].get<double>();
    char text[64];
    std::snprintf(text, sizeof text, value < 10 ? "%.2f %s" : "%.1f %s", value,
                  figure["unit"].get<std::string>().c_str());
    return text;
}

}  // namespace

int run(const Bench& bench, const Settings& settings) {
    const std::string memory = option("memory", bench.memory) + ",prefault=yes";
    const Store store = bench.connects ? settings.open() : Store(memory);
    Run run(store, "weft-bench/" + std::to_string(getpid()));
    Json figures;
    try {
        figures = run.figures();
    } catch (...) {
        run.clean_up();
        throw;
    }
    run.clean_up();
    if (settings.json) {
        print_answer(Json{{"store", bench.connects ? settings.connect : "private"},
                          {"version", weft_version()},
                          {"figures", figures}},
                     true);
        return kOk;
    }
    std::vector<std::vector<std::string>> rows{{"what", "weft", "memcpy", "ratio"}};
    for (const Json& figure : figures) {
        char ratio[16] = "";
        if (figure.contains("ratio"))
            std::snprintf(ratio, sizeof ratio, "%.2f", figure["ratio"].get<double>());
        rows.push_back({figure["name"], number_text(figure, "value"),
                        number_text(figure, "reference"), ratio});
    }
    std::fputs(table_text(rows).c_str(), stdout);
    return kOk;
}

}  // namespace weft::cli
