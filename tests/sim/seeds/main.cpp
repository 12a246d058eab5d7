// The simulator's program; tests/sim/run builds and calls it.
//   weft_seeds --seeds N [--first S] [--json] [--find]   N seeds from S on; --find: ends at the
//   first that fails
//              [--minutes M]                           ends after M minutes, if the seeds are not
//              over before
//   weft_seeds --seed S [--trace] [what it does less]    one seed
// Seeds run in children, a batch each, so that one which ends the process is a failure like others.
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

#include "tests/sim/seeds/arena.h"
#include "tests/sim/seeds/run.h"

namespace weft::seeds {
namespace {

constexpr uint64_t kBatch = 50;
constexpr size_t kEventsMax = 64;
constexpr size_t kLinesTold = 30;   // of a trace, where one fails
constexpr uint64_t kJudged = 1000;  // seeds from which on each event must have come often enough

/** What a child tells of its batch, in memory that both have. */
struct Told {
    uint64_t ran;
    uint64_t steps;
    uint64_t stale_loads;
    uint64_t simulated_ns;
    uint64_t seed;  // under way, or that failed
    bool failed;
    char failure[400];
    uint64_t events[kEventsMax];
};

struct Arguments {
    uint64_t seeds = 0;
    uint64_t first = 1;
    uint64_t minutes = UINT32_MAX;
    bool one = false;
    bool trace = false;
    bool json = false;
    bool find = false;
    Less less;
};

Told* shared() {
    void* area =
        mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) abort();
    return static_cast<Told*>(area);
}

/** In a child: false if the seed failed. */
bool run_one(uint64_t seed, const Less& less, Histories& memory, bool trace, Told& told) {
    told.seed = seed;
    enter_arena();
    Ran ran = run_seed(seed, less, memory, trace);
    leave_arena();
    told.ran++;
    told.steps += ran.steps;
    told.stale_loads += ran.stale_loads;
    told.simulated_ns += ran.simulated_ns;
    const std::vector<std::string>& named = named_events();
    for (size_t i = 0; i < named.size(); i++)
        told.events[i] += ran.events.contains(named[i]) ? 1 : 0;
    if (ran.failure.empty()) return true;
    told.failed = true;
    std::snprintf(told.failure, sizeof told.failure, "%s", ran.failure.c_str());
    return false;
}

/** Seeds from `first` on, in a child, until one fails. to: where its output goes, if not where this
 * one's does. */
void run_batch(uint64_t first, uint64_t count, const Less& less, bool trace, Told& told,
               int to = -1) {
    told.failed = false;
    std::fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (to >= 0) {
            dup2(to, STDOUT_FILENO);
            setvbuf(stdout, nullptr, _IOLBF, 0);  // it may end by a signal
        }
        Histories memory;
        for (uint64_t i = 0; i < count; i++) {
            if (!run_one(first + i, less, memory, trace, told)) break;
        }
        std::fflush(stdout);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status)) return;
    told.failed = true;
    std::snprintf(told.failure, sizeof told.failure, "the process ends by signal %d (%s)",
                  WTERMSIG(status), strsignal(WTERMSIG(status)));
}

/** Fewer of everything, as long as it still fails. */
Less shrink(uint64_t seed, Less less, Told& told) {
    auto fails = [&](const Less& tried) {
        run_batch(seed, 1, tried, false, told);
        return told.failed;
    };
    for (bool Less::* part :
         {&Less::kills, &Less::pauses, &Less::cuts, &Less::node_ends, &Less::failures}) {
        Less tried = less;
        tried.*part = false;
        if (fails(tried)) less = tried;
    }
    for (uint32_t Less::* part : {&Less::clients, &Less::operations, &Less::keys}) {
        for (uint32_t most = 1; most < 24; most++) {
            Less tried = less;
            tried.*part = most;
            if (!fails(tried)) continue;
            less = tried;
            break;
        }
    }
    return less;
}

/** The last lines of the trace of a seed that fails. */
void tell_end(uint64_t seed, const Less& less, Told& told) {
    FILE* file = std::tmpfile();
    if (file == nullptr) return;
    run_batch(seed, 1, less, true, told, fileno(file));
    std::rewind(file);
    std::deque<std::string> lines;
    char line[1024];
    while (std::fgets(line, sizeof line, file) != nullptr) {
        lines.emplace_back(line);
        if (lines.size() > kLinesTold) lines.pop_front();
    }
    std::fclose(file);
    for (const std::string& one : lines) std::printf("    %s", one.c_str());
}

void tell_failure(uint64_t seed, const char* failure, const Less& less) {
    std::printf(
        "seed %llu fails: %s\n  again, with its trace: tests/sim/run --seed %llu --trace%s\n",
        static_cast<unsigned long long>(seed), failure, static_cast<unsigned long long>(seed),
        less.words().c_str());
    std::fflush(stdout);
}

uint64_t run_many(const Arguments& arguments, Told& told) {
    uint64_t failures = 0;
    auto since = std::chrono::steady_clock::now();
    auto said = since;
    uint64_t end = arguments.first + arguments.seeds;
    for (uint64_t next = arguments.first; next < end;) {
        run_batch(next, std::min(kBatch, end - next), arguments.less, false, told);
        next = told.seed + 1;
        if (told.failed) {
            failures++;
            std::string failure = told.failure;
            uint64_t seed = told.seed;
            Told& fresh = *shared();  // also to the children that shrink it
            Less less = arguments.find ? arguments.less : shrink(seed, arguments.less, fresh);
            tell_failure(seed, failure.c_str(), less);
            if (!arguments.find) tell_end(seed, less, fresh);
            if (arguments.find || failures >= 10) break;
        }
        auto now = std::chrono::steady_clock::now();
        std::chrono::duration<double> taken = now - since;
        if (taken.count() > 60.0 * static_cast<double>(arguments.minutes)) break;
        if (now - said > std::chrono::seconds(20) && !arguments.json) {
            std::printf("  %llu of %llu seeds\n", static_cast<unsigned long long>(told.ran),
                        static_cast<unsigned long long>(arguments.seeds));
            std::fflush(stdout);
            said = now;
        }
    }
    return failures;
}

/** How often each event came. Returns how many came too rarely. */
uint64_t tell_events(const Arguments& arguments, const Told& told, double seconds) {
    const std::vector<std::string>& named = named_events();
    uint64_t rare = 0;
    double rate = static_cast<double>(told.ran) / seconds;
    if (arguments.json) {
        std::printf(
            "{\"seeds\":%llu,\"first\":%llu,\"seconds\":%.1f,\"seeds_per_s\":%.1f,"
            "\"steps\":%llu,\"stale_loads\":%llu,\"simulated_s\":%llu,\"events\":{",
            static_cast<unsigned long long>(told.ran),
            static_cast<unsigned long long>(arguments.first), seconds, rate,
            static_cast<unsigned long long>(told.steps),
            static_cast<unsigned long long>(told.stale_loads),
            static_cast<unsigned long long>(told.simulated_ns / 1'000'000'000));
    } else {
        std::printf(
            "%llu seeds from %llu on in %.1f s: %.1f a second; %llu steps, %llu stale loads, "
            "%llu simulated seconds\n",
            static_cast<unsigned long long>(told.ran),
            static_cast<unsigned long long>(arguments.first), seconds, rate,
            static_cast<unsigned long long>(told.steps),
            static_cast<unsigned long long>(told.stale_loads),
            static_cast<unsigned long long>(told.simulated_ns / 1'000'000'000));
    }
    for (size_t i = 0; i < named.size(); i++) {
        double share = 100.0 * static_cast<double>(told.events[i]) / static_cast<double>(told.ran);
        bool too_rare = told.ran >= kJudged && share < 1;
        rare += too_rare ? 1 : 0;
        if (arguments.json) {
            std::printf("%s\"%s\":%llu", i == 0 ? "" : ",", named[i].c_str(),
                        static_cast<unsigned long long>(told.events[i]));
        } else {
            std::printf("  %-32s %6.1f %% of seeds%s\n", named[i].c_str(), share,
                        too_rare ? ": too rare" : "");
        }
    }
    if (arguments.json) std::printf("}}\n");
    return rare;
}

bool parse(int count, char** words, Arguments& out) {
    for (int i = 1; i < count; i++) {
        std::string word = words[i];
        auto number = [&]() -> uint64_t {
            return i + 1 < count ? strtoull(words[++i], nullptr, 0) : 0;
        };
        auto small = [&] { return static_cast<uint32_t>(number()); };
        if (word == "--seeds")
            out.seeds = number();
        else if (word == "--first")
            out.first = number();
        else if (word == "--minutes")
            out.minutes = number();
        else if (word == "--seed")
            out.one = true, out.first = number();
        else if (word == "--trace")
            out.trace = true;
        else if (word == "--json")
            out.json = true;
        else if (word == "--find")
            out.find = true;
        else if (word == "--clients")
            out.less.clients = small();
        else if (word == "--operations")
            out.less.operations = small();
        else if (word == "--keys")
            out.less.keys = small();
        else if (word == "--no-kills")
            out.less.kills = false;
        else if (word == "--no-pauses")
            out.less.pauses = false;
        else if (word == "--no-cuts")
            out.less.cuts = false;
        else if (word == "--no-node-ends")
            out.less.node_ends = false;
        else if (word == "--no-failures")
            out.less.failures = false;
        else
            return false;
    }
    if (out.seeds == 0 && out.minutes != UINT32_MAX) out.seeds = UINT32_MAX;
    return out.one || out.seeds > 0;
}

int run(const Arguments& arguments) {
    Told& told = *shared();
    if (arguments.one) {
        run_batch(arguments.first, 1, arguments.less, arguments.trace, told);
        if (told.failed) {
            tell_failure(arguments.first, told.failure, arguments.less);
            if (!arguments.trace) tell_end(arguments.first, arguments.less, *shared());
        }
        std::printf("%d passed, %d failed\n", told.failed ? 0 : 1, told.failed ? 1 : 0);
        return told.failed ? 1 : 0;
    }
    auto since = std::chrono::steady_clock::now();
    uint64_t failures = run_many(arguments, told);
    std::chrono::duration<double> taken = std::chrono::steady_clock::now() - since;
    uint64_t rare = arguments.find ? 0 : tell_events(arguments, told, taken.count());
    if (!arguments.json)
        std::printf("%llu passed, %llu failed\n",
                    static_cast<unsigned long long>(told.ran - failures),
                    static_cast<unsigned long long>(failures + rare));
    return failures + rare == 0 ? 0 : 1;
}

}  // namespace
}  // namespace weft::seeds

int main(int count, char** words) {
    // The same addresses in every run of a seed.
    if (personality(ADDR_NO_RANDOMIZE) >= 0 && getenv("WEFT_SEEDS_FIXED") == nullptr) {
        setenv("WEFT_SEEDS_FIXED", "1", 1);
        execv("/proc/self/exe", words);
    }
    weft::seeds::Arguments arguments;
    if (!weft::seeds::parse(count, words, arguments)) {
        std::fprintf(
            stderr, "weft_seeds: --seeds N [--first S] [--json] [--find], or --seed S [--trace]\n");
        return 2;
    }
    return weft::seeds::run(arguments);
}
