/**
 * `weft put`: a file as a block. By default the key is of the content, so that putting a file twice
 * stores it once; --name and --key choose it. A namespace that is not there is created for blocks
 * of any size, in one part.
 */
#include "command.h"
#include "config.h"
#include "file.h"
#include "print.h"

namespace weft::cli {
namespace {

Namespace open_or_create(const Store& store, const Put& put) {
    std::string options = put.version.empty() ? "" : option("version", put.version);
    if (!put.writer.empty()) options += (options.empty() ? "" : ",") + option("writer", put.writer);
    std::string layout = put.layout;
    if (layout.empty() && !exists(store, put.name)) layout = "parts=1,part_bytes=0";
    if (!layout.empty()) options += (options.empty() ? "" : ",") + layout;
    return Namespace(store, put.name, options);
}

}  // namespace

int run(const Put& put, const Settings& settings) {
    const std::vector<std::byte> bytes = read_file(put.file);
    if (bytes.empty())
        throw Failure(kFailed, put.file + ": is empty; a block has at least one byte");
    const Key key = !put.key.empty()        ? Key::from_text(put.key)
                    : !put.key_name.empty() ? Key::of(put.key_name)
                                            : Key::of(bytes.data(), bytes.size());
    const Store store = settings.open();
    const Namespace space = open_or_create(store, put);
    Queue queue(store);
    weft_op op = space.save(key, bytes.data(), bytes.size(), put.replace ? WEFT_REPLACE : 0);
    op.part = put.part;
    op.ttl_s = put.ttl_s;
    const weft_event event = queue.run(op);
    if (event.status != -WEFT_EEXISTS) require(store, event, "put " + key.text());
    print_fields({{"key", key.text()},
                  {"bytes", uint64_t{bytes.size()}},
                  {"published", event.status >= 0 && event.detail == 1}},
                 settings.json);
    return kOk;
}

}  // namespace weft::cli
