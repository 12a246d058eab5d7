// Who calls: the functions of this program by address, from its own symbol table.
#pragma once
#include <cstdint>
#include <string>

namespace faults {

struct Caller {
    uint64_t address = 0;  // where in Weft's code; 0: the call is not Weft's
    std::string name;
};

/** The innermost function on the stack that is neither the standard library's nor JSON's. It is
 * Weft's, or address is 0: KJ's, Cap'n Proto's, the C library's, the driver's. */
Caller find_caller();

/** Reads the symbol table; before the first find_caller. */
void read_symbols();

}  // namespace faults
