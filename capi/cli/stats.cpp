/** `weft stats`: what a node has counted, as weft_query says it; nothing is computed here. */
#include "command.h"
#include "print.h"

namespace weft::cli {

int run(const Stats& stats, const Settings& settings) {
    const Store store = settings.open();
    print_json(store.query(stats.about ? "about" : "stats"), settings.json);
    return kOk;
}

}  // namespace weft::cli
