/**
 * `weft get`: a block's part as a file, written straight from the view. A miss is status 3 and
 * writes nothing.
 */
#include "command.h"
#include "config.h"
#include "file.h"
#include "print.h"

namespace weft::cli {

int run(const Get& get, const Settings& settings) {
    if (get.key.empty() == get.key_name.empty())
        throw Failure(kUsage, "get: say either the key or --name");
    if (settings.json && get.output == "-")
        throw Failure(kUsage, "get: --json needs -o FILE, or the bytes and the words would mix");
    const Key key = get.key.empty() ? Key::of(get.key_name) : Key::from_text(get.key);
    const Store store = settings.open();
    const Namespace space =
        open_existing(store, get.name, get.version.empty() ? "" : option("version", get.version));
    Queue queue(store);
    weft_op op = space.op(WEFT_OP_VIEW, key, get.verify ? WEFT_VERIFY : 0);
    op.part = get.part;
    const View view = queue.view(op);
    require(store, view.event(), "get " + key.text());
    write_file(get.output, view.data(), view.size());
    if (settings.json)
        print_fields({{"key", key.text()}, {"bytes", uint64_t{view.size()}}, {"file", get.output}},
                     true);
    return kOk;
}

}  // namespace weft::cli
