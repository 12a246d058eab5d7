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

void confirm(const std::string& what) {
    if (isatty(STDIN_FILENO) != 1)
        throw Failure(kUsage, what + ": say --yes where nobody can be asked");
    std::cerr << what << ": are you sure? [y/N] " << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "y" && answer != "yes") throw Failure(kFailed, what + ": left as it is");
}

}  // namespace

int run(const Drop& drop, const Settings& settings) {
    const Store store = settings.open();
    const Namespace space = open_existing(store, drop.name);
    std::string words = drop.flush ? "flush" : "drop";
    if (!drop.version.empty()) words += " version=" + drop.version;
    if (!drop.yes) confirm(words + " " + drop.name);
    print_json(store.query(words, space.space()), settings.json);
    return kOk;
}

}  // namespace weft::cli
