/**
 * The command line of `weft`: every verb's options, and a help that teaches by examples. It is in
 * one file because the parser's library is costly to compile. Invariant: nothing is done while the
 * line is read; what was chosen is returned, so that usage errors come first.
 */
#include <CLI/CLI.hpp>
#include <iostream>

#include "command.h"

namespace weft::cli {
namespace {

constexpr const char* kFooter = R"(Start here:
  weft doctor                        is this machine fit for it?
  weft serve --memory 4GiB           a node that this host's processes share
  weft put demo/files notes.txt      a file in; prints its key
  weft ls demo/files                 what is there
  weft COMMAND --help                each command, with examples

Exit status:
  0  done                            3  not there: no such block or namespace
  1  failed, the words say why       4  the node cannot be reached
  2  wrong usage                     5  the token does not allow it)";

/** Adds verbs to the app; the one that was chosen leaves its action here. */
class Verbs {
  public:
    Verbs(CLI::App& app, Settings& settings) : app_(app), settings_(settings) {}
    std::function<int()> chosen;

    void add_all() {
        add_serve();
        add_stats();
        add_top();
        add_ls();
        add_get();
        add_put();
        add_advance();
        add_drop();
        add_bench();
        add_doctor();
    }

  private:
    template <typename Verb>
    CLI::App* add(const std::string& name, const std::string& words,
                  const std::shared_ptr<Verb>& options, const std::string& examples) {
        CLI::App* verb = app_.add_subcommand(name, words);
        verb->footer("Examples:\n" + examples);
        verb->add_flag("--json", settings_.json, "Print one JSON document instead of words");
        verb->callback([this, options] {
            chosen = [options, &settings = settings_] { return run(*options, settings); };
        });
        return verb;
    }
    void add_connection(CLI::App* verb) {
        text(verb, "-c,--connect", settings_.connect, "ADDRESS", "The node's address")
            ->capture_default_str();
        text(verb, "--token-file", settings_.token_file, "FILE",
             "A file whose first line is the token to log in with");
    }
    template <typename Value>
    static CLI::Option* text(CLI::App* verb, const std::string& names, Value& value,
                             const std::string& type, const std::string& words) {
        return verb->add_option(names, value, words)->type_name(type);
    }
    static void name(CLI::App* verb, std::string& value) {
        verb->add_option("namespace", value, "tenant/model")->type_name("")->required();
    }
    static CLI::Option* version(CLI::App* verb, std::string& value, const std::string& words) {
        return text(verb, "--version", value, "N", words)->check(CLI::NonNegativeNumber);
    }

    void add_serve();
    void add_stats();
    void add_top();
    void add_ls();
    void add_get();
    void add_put();
    void add_advance();
    void add_drop();
    void add_bench();
    void add_doctor();

    CLI::App& app_;
    Settings& settings_;
};

void Verbs::add_serve() {
    auto serve = std::make_shared<Serve>();
    CLI::App* verb =
        add("serve", "Run a node that the processes of this host share", serve,
            R"(  weft serve --memory 4GiB                            at unix:/run/weft/weft.sock
  weft serve --memory 1GiB --listen unix:/tmp/w.sock  as any user
  weft serve --memory 64GiB --prefault --state /var/lib/weft --tokens /etc/weft/tokens
  weft serve --config /etc/weft/weft.conf             one key=value a line, # begins a comment;
                                                      what is said here wins over the file
  kill -HUP PID                                       reads the tokens again
To replace a token: the new one into its client's file (token_file=) and into the node's, in the
place of the old one, then HUP. The client is asked for it, and no op is refused meanwhile.
SIGTERM and SIGINT end it cleanly, with status 0. With --json, stdout has one object a line:
{"ready", "listen", "metrics", "pid"} when it serves, {"error", "code", "status"} where it cannot.
PATH.lock beside the socket stays: it tells the next node whether this one ended cleanly.)");
    text(verb, "--config", serve->config, "FILE", "Options from a file");
    text(verb, "-m,--memory", serve->memory, "SIZE",
         "Hard limit of what the node takes, its index included");
    text(verb, "-l,--listen", serve->listen, "ADDRESS",
         std::string("Where it listens [") + kDefaultAddress + "]");
    text(verb, "--state", serve->state, "DIR",
         "Keeps namespaces and their floors here over restarts; without it they end with the node");
    text(verb, "--tokens", serve->tokens, "FILE",
         "Who may do what: lines of token, tenant/model pattern, rights (read, write, advance, "
         "admin); without it only this user is admitted");
    text(verb, "--metrics", serve->metrics, "ADDRESS",
         "Serves metrics for Prometheus there, over HTTP: HOST:PORT or unix:PATH");
    verb->add_flag("--prefault", serve->prefault, "Touch all memory before it is used");
    text(verb, "--log-level", serve->log_level, "LEVEL", "How much it says on stderr");
    text(verb, "-o,--option", serve->more, "KEY=VALUE", "Any other option of weft_open");
}

void Verbs::add_stats() {
    auto stats = std::make_shared<Stats>();
    CLI::App* verb = add(
        "stats", "What a node holds and has counted", stats,
        R"(  weft stats                                memory, hits, misses by reason, per namespace
  weft stats --json | jq .namespaces        for programs
  weft stats --processes                    who holds what: views, pins, unfinished blocks, stocks
  weft stats --about                        versions, options and limits of this client
Rates and shares, as they change, are in weft top; what to make of them in weft doctor.)");
    verb->add_flag("--processes", stats->processes,
                   "The processes that use the node, and what of its memory each keeps");
    verb->add_flag("--about", stats->about,
                   "This client's versions, kinds, options and limits instead, not the node's");
    add_connection(verb);
}

void Verbs::add_top() {
    auto top = std::make_shared<Top>();
    CLI::App* verb =
        add("top", "A node at work: look-ups, moves, memory, processes", top,
            R"(  weft top                                  a frame a second, in 80 columns
  weft top --once                           one frame, of the next second
  weft top --json --interval 10 >> weft.log one object a line, rates over ten seconds each)");
    text(verb, "--interval", top->interval_s, "SECONDS", "Over which rates are taken")
        ->check(CLI::Range(0.1, 3600.0))
        ->capture_default_str();
    verb->add_flag("--once", top->once, "One frame, then end");
    add_connection(verb);
}

void Verbs::add_ls() {
    auto ls = std::make_shared<Ls>();
    CLI::App* verb = add("ls", "List namespaces, or the blocks of one", ls,
                         R"(  weft ls                                   the namespaces of the node
  weft ls acme/llama-70b                    its first 100 blocks
  weft ls acme/llama-70b --limit 0          all of them
  weft ls acme/llama-70b --version 7        those of version 7, if it is not fenced
  weft ls acme/llama-70b --layout           what their bytes mean
  weft ls acme/llama-70b --key 00112233445566778899aabbccddeeff
                                            why is this one there, or not)");
    CLI::Option* name = verb->add_option("namespace", ls->name, "tenant/model")->type_name("");
    version(verb, ls->version, "The version to look at [its floor]")->needs(name);
    text(verb, "--limit", ls->limit, "N", "At most this many blocks; 0: all")
        ->capture_default_str();
    text(verb, "--after", ls->after, "KEY", "Go on behind this key")->needs(name);
    CLI::Option* layout = verb->add_flag("--layout", ls->layout, "Its layout instead")->needs(name);
    text(verb, "--key", ls->key, "KEY", "What is known of this block, 32 hex digits")
        ->needs(name)
        ->excludes(layout);
    add_connection(verb);
}

void Verbs::add_get() {
    auto get = std::make_shared<Get>();
    CLI::App* verb = add("get", "Get a block as a file", get,
                         R"(  weft get demo/files --name notes          to stdout
  weft get demo/files --name notes -o notes.txt
  weft get demo/files 00112233445566778899aabbccddeeff -o notes.txt --verify
  weft get demo/files --name notes > notes.txt || [ $? -eq 3 ] && echo "a miss")");
    name(verb, get->name);
    CLI::Option* key = verb->add_option("key", get->key, "Its key, 32 hex digits")->type_name("");
    text(verb, "--name", get->key_name, "TEXT", "The name it was put by")->excludes(key);
    text(verb, "-o,--output", get->output, "FILE", "Where to; - is stdout")->capture_default_str();
    text(verb, "--part", get->part, "N", "Which part of the block")->capture_default_str();
    version(verb, get->version, "The version it is of [the floor]");
    verb->add_flag("--verify", get->verify, "Check the checksum first");
    add_connection(verb);
}

void Verbs::add_put() {
    auto put = std::make_shared<Put>();
    CLI::App* verb =
        add("put", "Put a file as a block", put,
            R"(  weft put demo/files notes.txt             prints the key, which is of the content
  weft put demo/files notes.txt --name notes    get it by that name
  weft put demo/files - < notes.txt         from stdin
  weft put demo/files notes.txt --name notes --replace --ttl 3600
  weft put acme/llama-70b part1.bin --part 1 --writer tp --key 00112233445566778899aabbccddeeff
A block that is there already is left alone: status 0, and `published` says no.)");
    name(verb, put->name);
    verb->add_option("file", put->file, "The file; - is stdin")->type_name("")->required();
    CLI::Option* key =
        text(verb, "--key", put->key, "KEY", "Its key, 32 hex digits [of its content]");
    text(verb, "--name", put->key_name, "TEXT", "Its key is of this name")->excludes(key);
    text(verb, "--part", put->part, "N", "Which part of the block it is")->capture_default_str();
    text(verb, "--writer", put->writer, "NAME", "Whose parts join: one name for all who write it");
    text(verb, "--ttl", put->ttl_s, "SECONDS", "When it expires [the namespace's]");
    verb->add_flag("--replace", put->replace, "Replace the block if it is there");
    version(verb, put->version, "The version it is of [the floor]");
    text(verb, "--layout", put->layout, "OPTIONS",
         "Of a namespace that is to be created [parts=1,part_bytes=0]");
    add_connection(verb);
}

void Verbs::add_advance() {
    auto advance = std::make_shared<Advance>();
    CLI::App* verb =
        add("advance", "Make every block below a version unreadable", advance,
            R"(  weft advance acme/llama-70b 8             the weights of version 8 are live
  weft advance acme/llama-70b 8 && restart-engines
The floor only grows: a lower version leaves it as it is, and the floor that holds is printed.)");
    name(verb, advance->name);
    verb->add_option("version", advance->version, "The lowest version that stays")
        ->type_name("")
        ->required();
    add_connection(verb);
}

void Verbs::add_drop() {
    auto drop = std::make_shared<Drop>();
    CLI::App* verb =
        add("drop", "Drop a namespace, or flush its blocks", drop,
            R"(  weft drop acme/llama-70b                  the namespace, its layout and its blocks
  weft drop acme/llama-70b --flush          its blocks alone
  weft drop acme/llama-70b --flush --version 7 --yes    those of one version, without asking)");
    name(verb, drop->name);
    CLI::Option* flush = verb->add_flag("--flush", drop->flush, "Only its blocks; it stays");
    version(verb, drop->version, "With --flush: only the blocks of this version")->needs(flush);
    verb->add_flag("-y,--yes", drop->yes, "Do not ask");
    add_connection(verb);
}

void Verbs::add_bench() {
    auto bench = std::make_shared<Bench>();
    CLI::App* verb =
        add("bench", "A quick measurement beside memcpy", bench,
            R"(  weft bench                                a private store in this process
  weft bench --connect unix:/run/weft/weft.sock      through a node; it needs 128 MiB there
  weft bench --json | jq '.figures[] | {name, ratio}')");
    text(verb, "-m,--memory", bench->memory, "SIZE", "Of the private store")->capture_default_str();
    add_connection(verb);
    verb->get_option("--connect")->each([bench](const std::string&) { bench->connects = true; });
}

void Verbs::add_doctor() {
    auto doctor = std::make_shared<Doctor>();
    CLI::App* verb =
        add("doctor", "Is this machine fit for a node; why does a key miss, what is slow", doctor,
            R"(  weft doctor                               before the first weft serve
  weft doctor --connect unix:/tmp/w.sock    and at that node: misses, memory, calls
  weft doctor acme/llama-70b --key 00112233445566778899aabbccddeeff
                                            why does this key miss
  weft doctor --speed                       look-ups, calls and loads beside this machine's memcpy:
                                            is it the cache that is slow, or the engine
  weft doctor --json | jq -r '.findings[] | select(.level != "ok") | .advice')");
    CLI::Option* name =
        verb->add_option("namespace", doctor->name, "tenant/model, with a key")->type_name("");
    CLI::Option* key = text(verb, "--key", doctor->key, "KEY", "The key, 32 hex digits");
    key->needs(name);
    CLI::Option* by_name =
        text(verb, "--name", doctor->key_name, "TEXT", "The key is of this name");
    by_name->needs(name)->excludes(key);
    version(verb, doctor->version, "The version that misses it [the floor]")->needs(name);
    verb->add_flag("--speed", doctor->speed,
                   "Measures too, some seconds, with 8 MiB in a namespace that is dropped again");
    add_connection(verb);
}

}  // namespace

std::function<int()> read_arguments(int argc, char** argv, Settings& settings) {
    CLI::App app("Weft, a distributed KV cache for LLM inference.", "weft");
    app.footer(kFooter);
    app.set_version_flag(
        "--version", std::string("weft ") + weft_version() + ", ABI " + std::to_string(weft_abi()));
    app.require_subcommand(0, 1);
    Verbs verbs(app, settings);
    verbs.add_all();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& problem) {
        const Exit status = app.exit(problem) == 0 ? kOk : kUsage;
        return [status] { return status; };
    }
    if (verbs.chosen) return verbs.chosen;
    std::cerr << app.help();
    return [] { return kUsage; };
}

}  // namespace weft::cli
