/**
 * `weft ls`: the namespaces of a node, the blocks of one, or what is known of one block. Blocks
 * come in pages of the node's, so that a namespace of millions is listed without anybody holding it
 * whole: with --json they are gathered up to --limit, and `next` says where to go on.
 */
#include <algorithm>

#include "command.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr const char* kExamples =
    R"(  weft ls                                   the namespaces of the node
  weft ls acme/llama-70b                    its first 100 blocks
  weft ls acme/llama-70b --limit 0          all of them
  weft ls acme/llama-70b --version 7        those of version 7, if it is not fenced
  weft ls acme/llama-70b --layout           what their bytes mean
  weft ls acme/llama-70b --key 00112233445566778899aabbccddeeff
                                            why is this one there, or not)";

constexpr uint64_t kPage = 1000;

struct Ls {
    std::string name, version, after, key;
    uint64_t limit = 100;
    bool layout = false;
};

Json ask(const Store& store, const std::string& words, uint32_t space = 0) {
    return Json::parse(store.query(words, space));
}

/** At most limit blocks (0: all) behind `after`; leaves in `after` where to go on, "" at the end.
 */
Json list_blocks(const Store& store, const Namespace& space, std::string& after, uint64_t limit) {
    Json blocks = Json::array();
    for (;;) {
        const uint64_t want = limit == 0 ? kPage : std::min(kPage, limit - blocks.size());
        if (want == 0) return blocks;
        std::string words = "blocks limit=" + std::to_string(want);
        if (!after.empty()) words += ",after=" + after;
        const Json page = rows_of(ask(store, words, space.space()), "blocks");
        for (const Json& row : page) blocks.push_back(row);
        if (page.size() < want) {
            after.clear();
            return blocks;
        }
        after = page.back().at("key").get<std::string>();
    }
}

int run(const Ls& ls, const Settings& settings) {
    const Store store = settings.open();
    if (ls.name.empty()) {
        const Json answer = rows_of(ask(store, "namespaces"), "namespaces");
        if (answer.empty() && !settings.json) std::fputs("weft: no namespaces yet\n", stderr);
        print_answer(settings.json ? Json{{"namespaces", answer}} : answer, settings.json);
        return kOk;
    }
    const Namespace space =
        open_existing(store, ls.name, ls.version.empty() ? "" : option("version", ls.version));
    if (ls.layout) {
        print_answer(ask(store, "layout", space.space()), settings.json);
        return kOk;
    }
    if (!ls.key.empty()) {
        const std::string key = Key::from_text(ls.key).text();
        print_answer(ask(store, "explain key=" + key, space.space()), settings.json);
        return kOk;
    }
    std::string next = ls.after.empty() ? "" : Key::from_text(ls.after).text();
    const Json blocks = list_blocks(store, space, next, ls.limit);
    if (settings.json) {
        Json answer = {{"namespace", ls.name}, {"version", space.info().version}};
        answer["blocks"] = blocks;
        answer["next"] = next.empty() ? Json() : Json(next);
        print_answer(answer, true);
        return kOk;
    }
    if (blocks.empty())
        std::fprintf(stderr, "weft: %s has no blocks of version %llu\n", ls.name.c_str(),
                     static_cast<unsigned long long>(space.info().version));
    else
        print_answer(blocks, false);
    if (!next.empty()) std::fprintf(stderr, "weft: more with --after %s\n", next.c_str());
    return kOk;
}

}  // namespace

void add_ls(CLI::App& app, Settings& settings, Action& chosen) {
    auto ls = std::make_shared<Ls>();
    CLI::App* verb = add_verb(app, chosen, "ls", "List namespaces, or the blocks of one", kExamples,
                              [ls, &settings] { return run(*ls, settings); });
    CLI::Option* name = verb->add_option("namespace", ls->name, "tenant/model");
    verb->add_option("--version", ls->version, "The version to look at [its floor]")
        ->type_name("N")
        ->check(CLI::NonNegativeNumber)
        ->needs(name);
    verb->add_option("--limit", ls->limit, "At most this many blocks; 0: all")
        ->type_name("N")
        ->capture_default_str();
    verb->add_option("--after", ls->after, "Go on behind this key")->type_name("KEY")->needs(name);
    CLI::Option* layout = verb->add_flag("--layout", ls->layout, "Its layout instead")->needs(name);
    verb->add_option("--key", ls->key, "What is known of this block, 32 hex digits")
        ->type_name("KEY")
        ->needs(name)
        ->excludes(layout);
    add_settings(verb, settings);
}

}  // namespace weft::cli
