/**
 * What the verbs of `weft` share: how a node is reached and what the exit status means, then each
 * verb's options and its action. A verb is one file with one function; the command line is read in
 * arguments.cpp alone, which fills these options.
 *
 * Invariants: the command includes weft.h and weft.hpp and nothing else of Weft; results go to
 * stdout, words about them to stderr; with --json stdout is one JSON document, of an error too, and
 * of a flat one (all that `serve` says) and of each frame of `top` one line.
 */
#pragma once
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>
#include <weft.hpp>

namespace weft::cli {

/** Exit statuses, which scripts may rely on; `weft --help` lists them. */
enum Exit { kOk = 0, kFailed = 1, kUsage = 2, kMiss = 3, kUnreachable = 4, kDenied = 5 };

inline constexpr const char* kDefaultAddress = "unix:/run/weft/weft.sock";

/** Ends the command with a status and words; thrown where no weft::Error fits. */
class Failure : public std::runtime_error {
  public:
    Failure(Exit status, const std::string& words) : std::runtime_error(words), status_(status) {}
    Exit status() const noexcept { return status_; }

  private:
    Exit status_;
};

/** The options that several verbs take. */
struct Settings {
    std::string connect = kDefaultAddress;
    std::string token_file;
    bool json = false;

    /** A connection to the node at `connect`. */
    Store open() const;
};

struct Serve {
    std::string config, memory, listen, state, tokens, metrics, log_level;
    std::vector<std::string> more;
    bool prefault = false;
};
struct Stats {
    bool about = false;
    bool processes = false;
};
struct Top {
    double interval_s = 1;
    bool once = false;
};
struct Ls {
    std::string name, version, after, key;
    uint64_t limit = 100;
    bool layout = false;
};
struct Get {
    std::string name, key, key_name, output = "-", version;
    uint16_t part = 0;
    bool verify = false;
};
struct Put {
    std::string name, file, key, key_name, version, layout, writer;
    uint16_t part = 0;
    uint32_t ttl_s = 0;
    bool replace = false;
};
struct Advance {
    std::string name;
    uint64_t version = 0;
};
struct Drop {
    std::string name, version;
    bool flush = false;
    bool yes = false;
};
struct Bench {
    std::string memory = "256MiB";
    bool connects = false;
};
struct Doctor {
    std::string name, key, key_name, version;
    bool speed = false;
};

/* Each does what its verb says and returns the exit status, or throws a Failure or a weft::Error.
 */
int run(const Serve& serve, const Settings& settings);
int run(const Stats& stats, const Settings& settings);
int run(const Top& top, const Settings& settings);
int run(const Ls& ls, const Settings& settings);
int run(const Get& get, const Settings& settings);
int run(const Put& put, const Settings& settings);
int run(const Advance& advance, const Settings& settings);
int run(const Drop& drop, const Settings& settings);
int run(const Bench& bench, const Settings& settings);
int run(const Doctor& doctor, const Settings& settings);

/** Reads the command line and returns what to do; a usage error or --help is said and its status
 * done. */
std::function<int()> read_arguments(int argc, char** argv, Settings& settings);

/** Opens a namespace that exists; where it does not, a Failure with kMiss, and nothing is created.
 */
Namespace open_existing(const Store& store, const std::string& name,
                        const std::string& options = "");
bool exists(const Store& store, const std::string& name);

/** The exit status of a WEFT_E code, positive or negated. */
Exit status_of(int32_t code);
/** Throws what an op's event says, if it failed; `what` names the op and its subject. */
void require(const Store& store, const weft_event& event, const std::string& what);

}  // namespace weft::cli
