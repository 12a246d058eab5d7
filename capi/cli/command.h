/**
 * What the verbs of `weft` share: the options that each of them takes, how a node is reached, and
 * what the exit status means. A verb is one file with one function, which adds its subcommand to
 * the app; what it does happens after the whole command line has been parsed, so that usage errors
 * come first.
 *
 * Invariants: the command includes weft.h and weft.hpp and nothing else of Weft; results go to
 * stdout, words about them to stderr; with --json stdout is one JSON document, of an error too.
 */
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <stdexcept>
#include <string>
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

/** The options that several verbs take, filled by the parser. */
struct Settings {
    std::string connect = kDefaultAddress;
    std::string token_file;
    bool json = false;

    /** A connection to the node at `connect`. */
    Store open() const;
};

/** What the chosen verb does; returns the exit status. */
using Action = std::function<int()>;

/** One subcommand: `examples` ends its help; `action` runs if it was chosen. */
CLI::App* add_verb(CLI::App& app, Action& chosen, const std::string& name, const std::string& words,
                   const std::string& examples, Action action);
/** Adds --json, and with `connects` also --connect and --token-file. */
void add_settings(CLI::App* verb, Settings& settings, bool connects = true);

void add_serve(CLI::App& app, Settings& settings, Action& chosen);
void add_stats(CLI::App& app, Settings& settings, Action& chosen);
void add_ls(CLI::App& app, Settings& settings, Action& chosen);
void add_get(CLI::App& app, Settings& settings, Action& chosen);
void add_put(CLI::App& app, Settings& settings, Action& chosen);
void add_advance(CLI::App& app, Settings& settings, Action& chosen);
void add_drop(CLI::App& app, Settings& settings, Action& chosen);
void add_bench(CLI::App& app, Settings& settings, Action& chosen);
void add_doctor(CLI::App& app, Settings& settings, Action& chosen);

/** Opens a namespace that exists; where it does not, a Failure with kMiss, and nothing is created.
 */
Namespace open_existing(const Store& store, const std::string& name,
                        const std::string& options = "");
bool exists(const Store& store, const std::string& name);

/** The exit status of a WEFT_E code, positive or negated. */
Exit status_of(int32_t code);
/** Throws what an op's event says, if it failed; `what` names the op and its subject. */
void require(const Store& store, const weft_event& event, const std::string& what);
/** One option as weft_open and weft_namespace_open read it, its value quoted where it must be. */
std::string option(const std::string& key, const std::string& value);

}  // namespace weft::cli
