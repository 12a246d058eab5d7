/**
 * `weft ls`: the namespaces of a node, the blocks of one, or what is known of one block. Blocks
 * come in pages of the node's, so that a namespace of millions is listed without anybody holding it
 * whole: with --json they are gathered up to --limit, and `next` says where to go on.
 */
#include <algorithm>

#include "command.h"
#include "config.h"
#include "json.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr uint64_t kPage = 1000;

Json ask(const Store& store, const std::string& words, uint32_t space = 0) {
    return Json::parse(store.query(words, space));
}

/** The namespaces with what tells them apart; --layout has the rest. */
Json in_short(const Json& namespaces) {
    Json rows = Json::array();
    for (const Json& each : namespaces) {
        Json row;
        for (const char* field : {"name", "blocks", "floor"})
            row[field] = each.value(field, Json());
        const Json config = each.value("config", Json::object());
        for (const char* field : {"parts", "part_bytes", "block_tokens", "policy"})
            row[field] = config.value(field, Json());
        rows.push_back(std::move(row));
    }
    return rows;
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

}  // namespace

int run(const Ls& ls, const Settings& settings) {
    const Store store = settings.open();
    if (ls.name.empty()) {
        const Json answer = rows_of(ask(store, "namespaces"), "namespaces");
        if (answer.empty() && !settings.json) std::fputs("weft: no namespaces yet\n", stderr);
        if (settings.json)
            print_answer(Json{{"namespaces", answer}}, true);
        else
            print_answer(in_short(answer), false);
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

}  // namespace weft::cli
