/**
 * `weft put`: a file as a block. By default the key is of the content, so that putting a file twice
 * stores it once; --name and --key choose it. A namespace that is not there is created for blocks
 * of any size, in one part.
 */
#include "command.h"
#include "file.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr const char* kExamples =
    R"(  weft put demo/files notes.txt             prints the key, which is of the content
  weft put demo/files notes.txt --name notes    get it by that name
  weft put demo/files - < notes.txt         from stdin
  weft put demo/files notes.txt --name notes --replace --ttl 3600
  weft put acme/llama-70b part1.bin --part 1 --writer tp --key 00112233445566778899aabbccddeeff
A block that is there already is left alone: status 0, and `published` says no.)";

struct Put {
    std::string name, file, key, key_name, version, layout, writer;
    uint16_t part = 0;
    uint32_t ttl_s = 0;
    bool replace = false;
};

Namespace open_or_create(const Store& store, const Put& put) {
    std::string options = put.version.empty() ? "" : option("version", put.version);
    if (!put.writer.empty()) options += (options.empty() ? "" : ",") + option("writer", put.writer);
    std::string layout = put.layout;
    if (layout.empty() && !exists(store, put.name)) layout = "parts=1,part_bytes=0";
    if (!layout.empty()) options += (options.empty() ? "" : ",") + layout;
    return Namespace(store, put.name, options);
}

int run(const Put& put, const Settings& settings) {
    const std::vector<std::byte> bytes = read_file(put.file);
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
    print_answer(Json{{"key", key.text()},
                      {"bytes", bytes.size()},
                      {"published", event.status >= 0 && event.detail == 1}},
                 settings.json);
    return kOk;
}

}  // namespace

void add_put(CLI::App& app, Settings& settings, Action& chosen) {
    auto put = std::make_shared<Put>();
    CLI::App* verb = add_verb(app, chosen, "put", "Put a file as a block", kExamples,
                              [put, &settings] { return run(*put, settings); });
    verb->add_option("namespace", put->name, "tenant/model")->required();
    verb->add_option("file", put->file, "The file; - is stdin")->required();
    CLI::Option* key =
        verb->add_option("--key", put->key, "Its key, 32 hex digits")->type_name("KEY");
    verb->add_option("--name", put->key_name, "Its key is of this name")
        ->type_name("TEXT")
        ->excludes(key);
    verb->add_option("--part", put->part, "Which part of the block the file is")->type_name("N");
    verb->add_option("--writer", put->writer, "Whose parts join: one name for all that write it")
        ->type_name("NAME");
    verb->add_option("--ttl", put->ttl_s, "Seconds until it expires [the namespace's]")
        ->type_name("SECONDS");
    verb->add_flag("--replace", put->replace, "Replace the block if it is there");
    verb->add_option("--version", put->version, "The version it is of [the floor]")
        ->type_name("N")
        ->check(CLI::NonNegativeNumber);
    verb->add_option("--layout", put->layout,
                     "Options of a namespace to create [parts=1,part_bytes=0]")
        ->type_name("OPTIONS");
    add_settings(verb, settings);
}

}  // namespace weft::cli
