/**
 * `weft`: a node as a daemon, and a look into one from the shell. This file wires the verbs and
 * turns whatever went wrong into words and an exit status. Invariant: no exception leaves main, and
 * usage errors are always status 2.
 */
#include <cstdio>
#include <string>

#include "command.h"
#include "print.h"

namespace {

constexpr const char* kFooter = R"(Start here:
  weft doctor                        is this machine fit for it?
  weft serve --memory 4GiB           a node that this host's processes share
  weft put demo/files notes.txt      a file in; prints its key
  weft ls demo/files                 what is there
  weft COMMAND --help                each command, with examples

Exit status:
  0  done                            3  not there: no such block or namespace
  1  failed, the words say why       4  the node cannot be reached
  2  wrong usage                     5  the token does not allow it)";

int report(const std::exception& problem, int status, int32_t code, bool json) {
    if (json) {
        weft::cli::Json answer;
        answer["error"] = {{"status", status}, {"message", problem.what()}};
        if (code != 0) answer["error"]["code"] = weft_code_name(code);
        weft::cli::print_answer(answer, true);
    }
    std::fprintf(stderr, "weft: %s\n", problem.what());
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    using namespace weft::cli;
    Settings settings;
    Action chosen;
    CLI::App app("Weft, a distributed KV cache for LLM inference.", "weft");
    app.footer(kFooter);
    app.set_version_flag(
        "--version", std::string("weft ") + weft_version() + ", ABI " + std::to_string(weft_abi()));
    app.require_subcommand(1);
    for (auto add : {add_serve, add_stats, add_ls, add_get, add_put, add_advance, add_drop,
                     add_bench, add_doctor})
        add(app, settings, chosen);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& problem) {
        return app.exit(problem) == 0 ? kOk : kUsage;
    }
    try {
        return chosen();
    } catch (const Failure& problem) {
        return report(problem, problem.status(), 0, settings.json);
    } catch (const weft::Error& problem) {
        return report(problem, status_of(problem.code()), problem.code(), settings.json);
    } catch (const std::exception& problem) {
        return report(problem, kFailed, 0, settings.json);
    }
}
