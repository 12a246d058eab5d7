// Text that is read: option text of every opening, the names and layouts of namespaces, pools and
// keys, the file of tokens, the node's configuration file. The first byte chooses the reader, the
// rest is its text.
//
// Invariants: a reader takes it or says why not in words; what it took it takes again when it is
// written down; the words about tokens do not repeat one.
#include <nlohmann/json.hpp>
#include <string>

#include "capi/cli/config.h"
#include "capi/keys.h"
#include "capi/open_options.h"
#include "capi/weft.h"
#include "core/node/pool.h"
#include "core/space/config.h"
#include "core/space/tokens.h"
#include "tests/fuzz/small_node.h"

namespace weft::fuzz {
namespace {

void refused(const Failure& failure) {
    must(failure.code > 0 && !failure.message.empty(), "a refusal has a code and words");
}

void openings(const std::string& text) {
    Result<OpenOptions> store = parse_open_options(text.c_str());
    if (!store) refused(store.failure());
    Result<QueueOptions> queue = parse_queue_options(text.c_str());
    if (!queue) refused(queue.failure());
}

void layouts(const std::string& text) {
    Result<NamespaceRequest> given = parse_namespace_options(text.c_str());
    if (!given) return refused(given.failure());
    const NamespaceConfig& config = given->config;
    bool whole = config.parts == 1 || !config.any_size();
    if (!whole) return;  // an opener's, of what exists; it cannot be created
    must(config.part_bytes.size() == config.parts, "one size a part");
    must(config.offset_of(config.parts - 1) <= config.block_bytes() || config.any_size(),
         "parts lie in their block");
    // As it is kept on disk, sent to a client, and given at a reopening.
    Result<NamespaceConfig> kept = config_from_json(nlohmann::json::parse(to_json(config).dump()));
    must(kept.ok() && to_json(*kept) == to_json(config), "a layout outlives its JSON");
    Result<NamespaceRequest> again = parse_namespace_options(to_options(config).c_str());
    must(again.ok() && to_json(again->config) == to_json(config), "a layout outlives its text");
}

void names(const std::string& text) {
    Status named = check_name(text);
    if (!named) return refused(named.failure());
    must(text.find('/') != std::string::npos && text.size() <= 200, "a name is tenant/model");
}

void tokens(const std::string& text) {
    Result<Tokens> parsed = Tokens::parse(text);
    std::string first = text.substr(0, text.find_first_of(" \t\r\n\v\f"));
    if (!parsed) {
        refused(parsed.failure());
        bool repeats =
            first.size() > 20 && parsed.failure().message.find(first) != std::string::npos;
        return must(!repeats, "words about tokens do not repeat one");
    }
    must(parsed->find("").empty(), "nobody is admitted without a token");
    for (const std::string& asked : {first, text, std::string("other")}) {
        for (const char* name : {"t/m", "t/m/deep", "*"}) {
            uint32_t rights = rights_on(parsed->find(asked), name);
            must((rights & ~uint32_t{kAllRights}) == 0, "rights are of four");
        }
    }
}

void pools(const std::string& text) {
    const uint64_t bases[] = {1u << 20, 2u << 20, 3u << 20, uint64_t{1} << 63};
    for (uint32_t count : {1u, 2u, 4u}) {
        Result<std::unique_ptr<fabric::Pages>> pool = describe_pool(text.c_str(), bases, count);
        if (!pool) refused(pool.failure());
        if (pool) must((*pool)->part_bytes() <= UINT32_MAX, "a part is below 4 GiB");
    }
}

void keys(const std::string& text) {
    static const uint32_t prompt[] = {1, 2, 300, 70000, UINT32_MAX, 6, 7, 8, 9, 10};
    weft_item items[4] = {};
    uint8_t chain[32] = {};
    std::string words;
    for (uint32_t block : {1u, 3u}) {
        int32_t made = make_keys(text.c_str(), chain, prompt, 10, block, items, 4, words);
        must(made >= 0 ? made <= 4 : !words.empty(), "keys, or words why not");
    }
}

/** The command's file: what it makes of it is read by the library. */
void files(const std::string& text) {
    cli::Options options;
    try {
        options = cli::split_options(text, "a file");
    } catch (const std::exception& refusal) {
        return must(refusal.what()[0] != '\0', "a refusal has words");
    }
    cli::set_option(options, "memory", "8MiB");
    must(cli::option_value(options, "memory") == "8MiB", "what is set last holds");
    openings(cli::options_text(options));
}

}  // namespace
}  // namespace weft::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft::fuzz;
    static constexpr void (*kReaders[])(const std::string&) = {openings, layouts, names, tokens,
                                                               pools,    keys,    files};
    if (size == 0) return 0;
    kReaders[data[0] % std::size(kReaders)](
        std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
    return 0;
}
