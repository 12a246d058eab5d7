/**
 * What `weft doctor` looks at. A check looks at one thing of the machine or of a node and says what
 * it found, and what to do if that is not best. Invariant: a check changes nothing (but --speed, in
 * a namespace of its own) and needs no rights; one that cannot look says so instead of guessing.
 */
#pragma once
#include <string>
#include <vector>

#include "command.h"
#include "json.h"

namespace weft::cli {

enum class Level { kOk, kNote, kWarning, kFailure };

struct Finding {
    Level level;
    /** What was looked at, in a word or two. */
    std::string subject;
    std::string found;
    /** What to do; empty where nothing need be done. */
    std::string advice;
};
using Findings = std::vector<Finding>;

/** Sealed memfds, pidfds, clocks: what a node cannot be without. */
void check_kernel(Findings& findings);
/** Memory, huge pages and limits of this process. */
void check_memory(Findings& findings);
/** Users: who shares whose memory. */
void check_users(Findings& findings);
/** libfabric and CUDA, which the library would load at run time. */
void check_devices(Findings& findings);

/** What the node has counted: misses and their reasons, who holds memory, how long calls take; with
 * --speed a measurement, and with a key why it misses, whose answer is returned (else null). */
Json check_use(const Store& store, const Doctor& doctor, Findings& findings);

/** The first line of a file, without its newline; empty where it cannot be read. */
std::string first_line(const std::string& path);

}  // namespace weft::cli
