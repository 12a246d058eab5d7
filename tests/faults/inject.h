// Single faults: of all calls of a kind that are made while the injector is armed, one fails: the
// first that has not failed before.
//
// Invariants: at most one call fails between `arm` and `disarm`; none does while it is not armed,
// and none of the driver's own (its code lies in namespace faults). Any thread calls `strikes`. A
// site is where Weft's code, or KJ's, makes the call; of a site in a loop the first few calls fail
// in turn. What has failed is kept where it outlives the process.
#pragma once
#include <cstdint>
#include <string>

namespace faults {

enum class Kind : uint8_t { memory, system, allocation };
constexpr const char* kKinds[] = {"memory", "system", "allocation"};

/** What has failed, zeroed at first. */
struct Tried {
    static constexpr uint32_t kSites = 2048;
    struct Site {
        uint64_t address;  // 0: unused
        uint32_t failed;   // how many of its calls have failed
        uint32_t seen;     // of the calls since `arm`
    } sites[kSites];
};

/** From now on the first call of this kind that has not been tried fails. */
void arm(Kind kind, Tried& tried);

struct Struck {
    bool fired = false;
    std::string what;  // the call, and who made it
};
Struck disarm();

/** Whether the call that is about to be made has to fail. name: a literal; from: who calls. */
bool strikes(Kind kind, const char* name, const void* from);

}  // namespace faults
