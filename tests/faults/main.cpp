// Makes every call into the machine and every allocation outside KJ fail in turn, one at a time,
// and looks what the store makes of it:
//   weft_faults [--only PART_OF_A_DEED] [--kind memory|system|allocation] [--jobs N] [--trace]
//
// For each deed of deeds.cpp, in a private store and as the client of a node in this process, the
// first call fails, then the next one, ... until the deed makes no call that has not failed. Each
// time: the deed ends with success or a named error, within its timeout; done again without a fault
// it succeeds; nothing is held after it. A sweep runs in a child, so that a crash or a hang is one
// failure, and the sweep goes on behind it.
//
// Invariants: what a child has done is in memory that the parent maps too; the counts at the end
// are of faults that really fired.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <thread>

#include "callers.h"
#include "inject.h"
#include "world.h"

namespace faults {
namespace {

constexpr unsigned kHangSeconds = 30;
constexpr uint64_t kFailuresShown = 5;            // of a sweep
constexpr auto kHeal = std::chrono::seconds(10);  // ten times what a client needs

/** What a sweep tells. */
struct Report {
    uint64_t injected, absorbed, failed;
    char now[256];  // what has struck last
    Tried tried;
};

struct Options {
    std::string only, kind;
    uint32_t jobs = 6;
    bool trace = false;
};

struct Sweep {
    Kind kind;
    bool client;
    const Deed& deed;
    Report& report;
    std::string folder;
    std::string name() const {
        return std::string(client ? "a client " : "a private store ") + deed.name;
    }
};

void fail(const Sweep& sweep, const std::string& words) {
    if (sweep.report.failed++ >= kFailuresShown) return;
    std::printf("FAILED: %s, fault %llu (%s): %s\n", sweep.name().c_str(),
                static_cast<unsigned long long>(sweep.report.injected), sweep.report.now,
                words.c_str());
    std::fflush(stdout);
}

/** Codes that say what a fault has done; EINVAL would blame the caller. */
bool is_named(int32_t code) {
    for (const int32_t good : {WEFT_ENOMEM, WEFT_EPEER, WEFT_ETIMEOUT, WEFT_EINTERNAL, WEFT_EQUOTA,
                               WEFT_EMISS, WEFT_EHELD, WEFT_EBUSY, WEFT_ECLOSED, WEFT_EFENCED})
        if (code == -good) return true;
    return code >= 0;
}

/** Until it holds, or for ten seconds: a client needs some time to come back. */
template <typename Holds>
bool heals(Holds holds) {
    const auto until = std::chrono::steady_clock::now() + kHeal;
    while (!holds()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
}

/** One fault. False: every call of the deed has failed once. */
bool inject(const Sweep& sweep, World& world) {
    Report& report = sweep.report;
    alarm(kHangSeconds);
    arm(sweep.kind, report.tried);
    int32_t code = 0;
    std::string wrong;
    try {
        code = sweep.deed.act(world);
    } catch (const Wrong& what) {
        wrong = what.words;
    }
    const Struck struck = disarm();
    if (!struck.fired) return false;
    std::snprintf(report.now, sizeof report.now, "%s", struck.what.c_str());
    report.injected++;
    report.absorbed += code >= 0;
    if (!wrong.empty()) fail(sweep, wrong);
    if (!is_named(code)) fail(sweep, std::string("it ended with ") + weft_code_name(code));
    int32_t again = 0;
    try {
        if (!heals([&] { return (again = sweep.deed.act(world)) >= 0; }))
            fail(sweep, std::string("done again it ends with ") + weft_code_name(again));
    } catch (const Wrong& what) {
        fail(sweep, "done again: " + what.words);
    }
    std::string held;
    if (!heals([&] { return (held = world.held()).empty(); }))
        fail(sweep, "held for nobody: " + held);
    alarm(0);
    return true;
}

uint64_t descriptors() {
    uint64_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
        count++;
    return count;
}

/** In a child: what has not failed yet. */
void sweep_on(const Sweep& sweep, const Options& options) {
    const uint64_t before = descriptors();
    {
        World world(sweep.client, sweep.folder);
        if (world.open() < 0 || sweep.deed.act(world) < 0)
            return fail(sweep, "without a fault it does not work");
        while (inject(sweep, world))
            if (options.trace) std::printf("%s: %s\n", sweep.name().c_str(), sweep.report.now);
    }
    if (!heals([&] { return descriptors() <= before; }))
        fail(sweep, std::to_string(descriptors()) + " descriptors, " + std::to_string(before) +
                        " before the store was opened");
}

void run(const Sweep& sweep, const Options& options) {
    for (;;) {
        std::strcpy(sweep.report.now, "the next one");
        std::fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            sweep_on(sweep, options);
            std::fflush(stdout);
            _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        std::filesystem::remove_all(sweep.folder);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
        sweep.report.injected++;
        fail(sweep, WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM
                        ? "it hangs"
                        : "the process ends by signal " + std::to_string(WTERMSIG(status)));
    }
}

/** All sweeps, some at a time: they mostly wait. */
void run_all(const std::vector<Sweep>& sweeps, const Options& options) {
    auto* next = static_cast<std::atomic<size_t>*>(mmap(nullptr, sizeof(std::atomic<size_t>),
                                                        PROT_READ | PROT_WRITE,
                                                        MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    for (uint32_t job = 0; job < options.jobs; job++) {
        if (fork() != 0) continue;
        for (size_t at = 0; (at = next->fetch_add(1)) < sweeps.size();) run(sweeps[at], options);
        _exit(0);
    }
    while (wait(nullptr) > 0) continue;
}

/** Sums and prints; how many sweeps failed. */
uint64_t tell(Kind kind, const std::vector<Sweep>& sweeps) {
    uint64_t injected = 0, absorbed = 0, failed = 0;
    std::set<uint64_t> sites;
    for (const Sweep& sweep : sweeps) {
        if (sweep.kind != kind) continue;
        injected += sweep.report.injected;
        absorbed += sweep.report.absorbed;
        failed += sweep.report.failed != 0;
        for (const Tried::Site& site : sweep.report.tried.sites)
            if (site.failed != 0) sites.insert(site.address);
    }
    std::printf("%s: %llu faults at %zu sites, %llu of them without a consequence\n",
                kKinds[static_cast<int>(kind)], static_cast<unsigned long long>(injected),
                sites.size(), static_cast<unsigned long long>(absorbed));
    return failed;
}

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; i++) {
        const std::string word = argv[i];
        if (word == "--trace")
            options.trace = true;
        else if (word == "--only" && i + 1 < argc)
            options.only = argv[++i];
        else if (word == "--kind" && i + 1 < argc)
            options.kind = argv[++i];
        else if (word == "--jobs" && i + 1 < argc)
            options.jobs = static_cast<uint32_t>(std::atoi(argv[++i]));
        else {
            std::fprintf(stderr,
                         "weft_faults [--only PART_OF_A_DEED] [--kind KIND] [--jobs N] "
                         "[--trace]\n");
            std::exit(2);
        }
    }
    return options;
}

}  // namespace
}  // namespace faults

int main(int argc, char** argv) {
    using namespace faults;
    const Options options = parse(argc, argv);
    read_symbols();
    const std::vector<Kind> kinds = {Kind::memory, Kind::system, Kind::allocation};
    auto* report =
        static_cast<Report*>(mmap(nullptr, sizeof(Report) * kinds.size() * 2 * kDeeds.size(),
                                  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    const char* temporary = std::getenv("TMPDIR");
    const std::string folder = std::string(temporary != nullptr ? temporary : "/tmp") + "/faults." +
                               std::to_string(getpid()) + ".";
    std::vector<Sweep> sweeps;
    for (const Kind kind : kinds)
        for (const bool client : {false, true})
            for (const Deed& deed : kDeeds)
                if (std::string(kKinds[static_cast<int>(kind)]).find(options.kind) == 0 &&
                    std::string(deed.name).find(options.only) != std::string::npos)
                    sweeps.push_back(
                        {kind, client, deed, *report++, folder + std::to_string(sweeps.size())});
    run_all(sweeps, options);
    uint64_t failed = 0;
    for (const Kind kind : kinds) failed += tell(kind, sweeps);
    std::printf("%llu passed, %llu failed\n",
                static_cast<unsigned long long>(sweeps.size() - failed),
                static_cast<unsigned long long>(failed));
    return failed == 0 && !sweeps.empty() ? 0 : 1;
}
