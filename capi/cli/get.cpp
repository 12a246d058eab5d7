/**
 * `weft get`: a block's part as a file, written straight from the view. A miss is status 3 and
 * writes nothing.
 */
#include "command.h"
#include "file.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr const char* kExamples = R"(  weft get demo/files --name notes          to stdout
  weft get demo/files --name notes -o notes.txt
  weft get demo/files 00112233445566778899aabbccddeeff -o notes.txt --verify
  weft get demo/files --name notes > notes.txt || [ $? -eq 3 ] && echo "a miss")";

struct Get {
    std::string name, key, key_name, output = "-", version;
    uint16_t part = 0;
    bool verify = false;
};

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
        print_answer(Json{{"key", key.text()}, {"bytes", view.size()}, {"file", get.output}}, true);
    return kOk;
}

}  // namespace

void add_get(CLI::App& app, Settings& settings, Action& chosen) {
    auto get = std::make_shared<Get>();
    CLI::App* verb = add_verb(app, chosen, "get", "Get a block as a file", kExamples,
                              [get, &settings] { return run(*get, settings); });
    verb->add_option("namespace", get->name, "tenant/model")->required();
    CLI::Option* key = verb->add_option("key", get->key, "The key, 32 hex digits");
    verb->add_option("--name", get->key_name, "The name it was put by")
        ->type_name("TEXT")
        ->excludes(key);
    verb->add_option("-o,--output", get->output, "Where to; - is stdout")
        ->type_name("FILE")
        ->capture_default_str();
    verb->add_option("--part", get->part, "Which part of the block")->type_name("N");
    verb->add_option("--version", get->version, "The version it is of [the floor]")
        ->type_name("N")
        ->check(CLI::NonNegativeNumber);
    verb->add_flag("--verify", get->verify, "Check the checksum first");
    add_settings(verb, settings);
}

}  // namespace weft::cli
