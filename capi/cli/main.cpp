/**
 * `weft`: a node as a daemon, and a look into one from the shell. This file turns whatever went
 * wrong into words and an exit status. Invariant: no exception leaves main, and usage errors are
 * status 2.
 */
#include <cstdio>
#include <string>

#include "command.h"
#include "print.h"

namespace {

using namespace weft::cli;

int report(const std::exception& problem, Exit status, int32_t code, bool json) {
    std::fprintf(stderr, "weft: %s\n", problem.what());
    if (json)
        print_fields({{"error", std::string(problem.what())},
                      {"code", std::string(code == 0 ? "" : weft_code_name(code))},
                      {"status", static_cast<uint64_t>(status)}},
                     true);
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    Settings settings;
    try {
        return read_arguments(argc, argv, settings)();
    } catch (const Failure& problem) {
        return report(problem, problem.status(), 0, settings.json);
    } catch (const weft::Error& problem) {
        return report(problem, status_of(problem.code()), problem.code(), settings.json);
    } catch (const std::exception& problem) {
        return report(problem, kFailed, 0, settings.json);
    }
}
