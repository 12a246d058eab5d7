/** `weft stats`: what a node has counted, as weft_query says it; nothing is computed here. */
#include <cstdio>

#include "command.h"
#include "print.h"

namespace weft::cli {

int run(const Stats& stats, const Settings& settings) {
    const Store store = settings.open();
    if (stats.about && !settings.json)
        std::fputs("weft: of this client; what the node has is in weft stats\n", stderr);
    print_json(store.query(stats.about ? "about" : "stats"), settings.json);
    return kOk;
}

}  // namespace weft::cli
