/**
 * `weft drop`: a namespace with all its blocks, or with --flush its blocks alone. Both need the
 * admin right and cannot be undone, so that a person is asked and a script must say --yes.
 */
#include <unistd.h>

#include <iostream>

#include "command.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr const char* kExamples =
    R"(  weft drop acme/llama-70b                  the namespace, its layout and its blocks
  weft drop acme/llama-70b --flush          its blocks alone
  weft drop acme/llama-70b --flush --version 7 --yes    those of one version, without asking)";

struct Drop {
    std::string name;
    bool flush = false;
    bool yes = false;
    std::string version;
};

void confirm(const std::string& what) {
    if (isatty(STDIN_FILENO) != 1)
        throw Failure(kUsage, what + ": say --yes where nobody can be asked");
    std::cerr << what << ": are you sure? [y/N] " << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "y" && answer != "yes") throw Failure(kFailed, what + ": left as it is");
}

int run(const Drop& drop, const Settings& settings) {
    const Store store = settings.open();
    if (!exists(store, drop.name))
        throw Failure(kMiss, "namespace " + drop.name + ": the node has none of this name");
    std::string words = drop.flush ? "flush" : "drop";
    if (!drop.version.empty()) words += " version=" + drop.version;
    if (!drop.yes) confirm(words + " " + drop.name);
    const Namespace space = open_existing(store, drop.name);
    const Json answer = Json::parse(store.query(words, space.space()));
    print_answer(answer, settings.json);
    return kOk;
}

}  // namespace

void add_drop(CLI::App& app, Settings& settings, Action& chosen) {
    auto drop = std::make_shared<Drop>();
    CLI::App* verb = add_verb(app, chosen, "drop", "Drop a namespace, or flush its blocks",
                              kExamples, [drop, &settings] { return run(*drop, settings); });
    verb->add_option("namespace", drop->name, "tenant/model")->required();
    CLI::Option* flush = verb->add_flag("--flush", drop->flush, "Only its blocks; it stays");
    verb->add_option("--version", drop->version, "With --flush: only the blocks of this version")
        ->type_name("N")
        ->check(CLI::NonNegativeNumber)
        ->needs(flush);
    verb->add_flag("-y,--yes", drop->yes, "Do not ask");
    add_settings(verb, settings);
}

}  // namespace weft::cli
