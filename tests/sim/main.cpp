// Explores every scenario, or those whose name contains the argument:
//   weft_sim [NAME]            passes when none shows what must not be; says how much was explored
//   weft_sim --writers [NAME]  the same for attempts: a writer beside the readers and the node
//   weft_sim --writers-deep    the same, deeper: minutes
//   weft_sim --planted [NAME]  passes when one does: built with a fence or a re-check of protocols
//   2 dropped (planted.py)
#include <chrono>
#include <cstdio>
#include <cstring>

#include "tests/sim/world.h"

int main(int count, char** arguments) {
    bool planted = count > 1 && std::strcmp(arguments[1], "--planted") == 0;
    bool deep = count > 1 && std::strcmp(arguments[1], "--writers-deep") == 0;
    bool writers = deep || (count > 1 && std::strcmp(arguments[1], "--writers") == 0);
    const char* wanted = count > (planted || writers ? 2 : 1) ? arguments[count - 1] : "";
    weft::sim::Machine machine(weft::sim::kMachineWords);
    weft::sim::Explorer explorer(machine);
    uint32_t passed = 0;
    uint32_t failed = 0;
    std::vector<weft::sim::Scenario> scenarios =
        writers ? weft::sim::writers_scenarios(deep) : weft::sim::scenarios();
    for (const weft::sim::Scenario& scenario : scenarios) {
        if (std::strstr(scenario.name, wanted) == nullptr) continue;
        auto begun = std::chrono::steady_clock::now();
        weft::sim::Exploration found = explorer.explore(scenario.make);
        std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun;
        std::printf("%-58s %9llu executions %9llu states %6.1f s%s\n", scenario.name,
                    static_cast<unsigned long long>(found.executions),
                    static_cast<unsigned long long>(found.states), taken.count(),
                    found.cut > 0 ? ", some cut" : "");
        bool violated = !found.violation.empty();
        if (violated)
            std::printf("  %s\n%s", found.violation.c_str(), planted ? "" : found.trace.c_str());
        std::fflush(stdout);
        (violated || found.cut > 0 ? failed : passed)++;
        if (planted && violated) {
            std::printf("the planted bug is found\n1 passed, 0 failed\n");
            return 0;
        }
    }
    if (planted) {
        std::printf("the planted bug is not found\n0 passed, 1 failed\n");
        return 1;
    }
    std::printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
