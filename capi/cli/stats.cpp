/** `weft stats`: what a node has counted, as weft_query says it; nothing is computed here. */
#include "command.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr const char* kExamples =
    R"(  weft stats                                memory, hits, misses by reason, per namespace
  weft stats --json | jq .namespaces        for programs
  weft stats --about                        versions, options and limits of the node
  watch -n 1 weft stats                     as it changes)";

}  // namespace

void add_stats(CLI::App& app, Settings& settings, Action& chosen) {
    auto about = std::make_shared<bool>(false);
    CLI::App* verb = add_verb(app, chosen, "stats", "What a node holds and has counted", kExamples,
                              [about, &settings] {
                                  const Store store = settings.open();
                                  const char* words = *about ? "about" : "stats";
                                  print_answer(Json::parse(store.query(words)), settings.json);
                                  return kOk;
                              });
    verb->add_flag("--about", *about, "Versions, kinds, options, devices and limits instead");
    add_settings(verb, settings);
}

}  // namespace weft::cli
