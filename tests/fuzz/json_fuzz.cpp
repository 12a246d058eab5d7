// JSON that is read: the file of state=DIR, the layout that a node tells its client. (Nothing reads
// msgpack today: Weft will write it.)
//
// Invariants: a damaged file is refused in words that say so, by no exception; what a node keeps of
// what it took, another node takes.
#include <nlohmann/json.hpp>
#include <string>

#include "tests/fuzz/small_node.h"

namespace weft::fuzz {
namespace {

/** The first texts are kept: a node writes at each advance. */
class Kept final : public StateKeeper {
  public:
    Status save(const std::string& text) override {
        kept = text;
        return Nothing{};
    }
    std::string kept;
};

CacheOptions options() {
    CacheOptions options;
    options.memory = uint64_t{8} << 20;
    options.incarnation = 3;
    options.ephemeral = false;
    return options;
}

void state(const std::string& text) {
    FakeMemory memory;
    Kept keeper;
    {
        Cache cache(options(), memory, &keeper);
        Status restored = cache.restore(text);
        if (!restored) {
            must(!restored.failure().message.empty(), "a refusal has words");
            return;
        }
        QuietProcess process;
        auto page = std::make_unique<ReaderPage>();
        memset(static_cast<void*>(page.get()), 0, sizeof(ReaderPage));
        uint32_t session = *cache.begin_session(process, {{"*", kAllRights}}, 1);
        Result<Opened> opened = cache.open_namespace(session, "new/one", "", page.get(), 0, 1);
        must(opened.ok() || opened.failure().code == WEFT_EQUOTA ||
                 opened.failure().code == WEFT_EFENCED || opened.failure().code == WEFT_EINVAL,
             "a node that restored goes on");
        cache.end_session(session, 2);
    }
    if (keeper.kept.empty()) return;
    Cache next(options(), memory, &keeper);
    Status again = next.restore(keeper.kept);
    must(again.ok(),
         ("a node restores what a node kept: " + (again.ok() ? "" : again.failure().message))
             .c_str());
}

/** As a client reads what its node sent. */
void layout(const std::string& text) {
    nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_discarded()) return;
    Result<NamespaceConfig> config = config_from_json(json);
    must(config.ok() || !config.failure().message.empty(), "a refusal has words");
}

}  // namespace
}  // namespace weft::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
    data[0] % 2 == 0 ? weft::fuzz::state(text) : weft::fuzz::layout(text);
    return 0;
}
