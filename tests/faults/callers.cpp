// The symbol table of /proc/self/exe, sorted; the stack by the unwinder.
#include "callers.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>
#include <unwind.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

namespace faults {
namespace {

enum class Owner : uint8_t { other, library, weft };

struct Function {
    uint64_t begin, end;
    const char* name;
    Owner owner;
};

std::vector<char> file;
std::vector<Function> functions;
uint64_t base = 0;

/** By the names that the ABI's mangling gives: of lambdas and templates too. */
Owner owner_of(const char* name) {
    if (std::strncmp(name, "weft_", 5) == 0) return Owner::weft;
    const char* at = name;
    for (const char* skip : {"_ZNK", "_ZN", "_ZZNK", "_ZZN", "_ZZ", "_Z"}) {
        if (std::strncmp(name, skip, std::strlen(skip)) != 0) continue;
        at = name + std::strlen(skip);
        break;
    }
    if (std::strncmp(at, "4weft", 5) == 0) return Owner::weft;
    for (const char* library :
         {"St", "Ss", "Sa", "9__gnu_cxx", "8nlohmann", "nw", "na", "10__cxxabiv1"})
        if (std::strncmp(at, library, std::strlen(library)) == 0) return Owner::library;
    return Owner::other;
}

const Function* find(uint64_t address) {
    auto after = std::upper_bound(functions.begin(), functions.end(), address,
                                  [](uint64_t a, const Function& f) { return a < f.begin; });
    if (after == functions.begin() || address >= std::prev(after)->end) return nullptr;
    return &*std::prev(after);
}

struct Walk {
    int left = 40;
    const Function* found = nullptr;
    uint64_t address = 0;
};

_Unwind_Reason_Code step(_Unwind_Context* context, void* data) {
    Walk& walk = *static_cast<Walk*>(data);
    const uint64_t address = _Unwind_GetIP(context) - base;
    const Function* function = find(address);
    // What is in no function of ours is libstdc++'s code in its own file.
    const bool passes = function == nullptr || function->owner == Owner::library ||
                        std::strstr(function->name, "6faults7strikes") != nullptr ||
                        std::strstr(function->name, "13FailingMemory") != nullptr ||
                        std::strstr(function->name, "6faults11find_caller") != nullptr ||
                        std::strncmp(function->name, "__wrap_", 7) == 0;
    if (--walk.left == 0) return _URC_END_OF_STACK;
    if (passes) return _URC_NO_REASON;
    walk.found = function;
    walk.address = address;
    return _URC_END_OF_STACK;
}

}  // namespace

void read_symbols() {
    std::ifstream in("/proc/self/exe", std::ios::binary);
    file.assign(std::istreambuf_iterator<char>(in), {});
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void*) {
            base = info->dlpi_addr;  // the program is first
            return 1;
        },
        nullptr);
    const auto* header = reinterpret_cast<const Elf64_Ehdr*>(file.data());
    const auto* sections = reinterpret_cast<const Elf64_Shdr*>(file.data() + header->e_shoff);
    for (int i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB) continue;
        const auto* symbols =
            reinterpret_cast<const Elf64_Sym*>(file.data() + sections[i].sh_offset);
        const char* names = file.data() + sections[sections[i].sh_link].sh_offset;
        for (uint64_t s = 0; s < sections[i].sh_size / sizeof(Elf64_Sym); s++) {
            const Elf64_Sym& symbol = symbols[s];
            if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_size == 0) continue;
            const char* name = names + symbol.st_name;
            functions.push_back(
                {symbol.st_value, symbol.st_value + symbol.st_size, name, owner_of(name)});
        }
    }
    std::sort(functions.begin(), functions.end(),
              [](const Function& a, const Function& b) { return a.begin < b.begin; });
    if (functions.empty()) {
        std::fprintf(stderr, "faults: the program has no symbols: it must not be stripped\n");
        std::exit(2);
    }
}

Caller find_caller() {
    Walk walk;
    _Unwind_Backtrace(step, &walk);
    if (walk.found == nullptr || walk.found->owner != Owner::weft) return {};
    int status = 0;
    char* plain = abi::__cxa_demangle(walk.found->name, nullptr, nullptr, &status);
    Caller caller{walk.address, plain != nullptr ? plain : walk.found->name};
    std::free(plain);
    return caller;
}

}  // namespace faults
