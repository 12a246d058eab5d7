/**
 * `weft advance`: fences a namespace below a version. When it returns 0, no get that starts
 * afterwards returns a block of an older version, and no older put can still be published.
 */
#include "command.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr const char* kExamples =
    R"(  weft advance acme/llama-70b 8             the weights of version 8 are live
  weft advance acme/llama-70b 8 && restart-engines
The floor only grows: a lower version leaves it as it is, and the floor that holds is printed.)";

struct Advance {
    std::string name;
    uint64_t version = 0;
};

int run(const Advance& advance, const Settings& settings) {
    const Store store = settings.open();
    const Namespace space = open_existing(store, advance.name);
    Queue queue(store);
    weft_op op = space.op(WEFT_OP_ADVANCE);
    op.offset = advance.version;
    const weft_event event = queue.run(op);
    require(store, event, "advance " + advance.name + " to " + std::to_string(advance.version));
    print_answer(Json{{"namespace", advance.name}, {"floor", event.value}}, settings.json);
    return kOk;
}

}  // namespace

void add_advance(CLI::App& app, Settings& settings, Action& chosen) {
    auto advance = std::make_shared<Advance>();
    CLI::App* verb = add_verb(app, chosen, "advance", "Make every block below a version unreadable",
                              kExamples, [advance, &settings] { return run(*advance, settings); });
    verb->add_option("namespace", advance->name, "tenant/model")->required();
    verb->add_option("version", advance->version, "The lowest version that stays")->required();
    add_settings(verb, settings);
}

}  // namespace weft::cli
