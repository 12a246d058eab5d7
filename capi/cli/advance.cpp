/**
 * `weft advance`: fences a namespace below a version. When it returns 0, no get that starts
 * afterwards returns a block of an older version, and no older put can still be published.
 */
#include "command.h"
#include "print.h"

namespace weft::cli {

int run(const Advance& advance, const Settings& settings) {
    const Store store = settings.open();
    const Namespace space = open_existing(store, advance.name);
    Queue queue(store);
    weft_op op = space.op(WEFT_OP_ADVANCE);
    op.offset = advance.version;
    const weft_event event = queue.run(op);
    require(store, event, "advance " + advance.name + " to " + std::to_string(advance.version));
    print_fields({{"namespace", advance.name}, {"floor", event.value}}, settings.json);
    return kOk;
}

}  // namespace weft::cli
