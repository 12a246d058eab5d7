/**
 * `weft serve`: a node in the foreground, as a daemon's supervisor wants it. The library's threads
 * do all the work; this thread sleeps until a signal comes. Invariants: SIGTERM and SIGINT close
 * the store, so that a successor need not wait for this node's last promise to pass; SIGHUP only
 * asks the library to read again; readiness is told after weft_open has returned, never before.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "command.h"
#include "config.h"
#include "json.h"
#include "print.h"

namespace weft::cli {
namespace {

/** systemd's protocol: one datagram to the socket that NOTIFY_SOCKET names; '@' is an abstract one.
 */
void notify(const std::string& state) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    sockaddr_un address{};
    if (path == nullptr || (path[0] != '/' && path[0] != '@') ||
        std::strlen(path) >= sizeof address.sun_path)
        return;
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path, std::strlen(path));
    if (path[0] == '@') address.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    sendto(fd, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address),
           static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path)));
    close(fd);
}

Options options_of(const Serve& serve) {
    Options options = serve.config.empty() ? Options{} : read_options(serve.config);
    const auto set = [&](const char* key, const std::string& value) {
        if (!value.empty())
            set_option(options, key, option(key, value).substr(std::strlen(key) + 1));
    };
    set("memory", serve.memory);
    set("listen", serve.listen);
    set("state", serve.state);
    set("tokens", serve.tokens);
    set("metrics", serve.metrics);
    set("log_level", serve.log_level);
    if (serve.prefault) set("prefault", "yes");
    for (const std::string& text : serve.more)
        for (const auto& [key, value] : split_options(text, "--option"))
            set_option(options, key, value);
    if (option_value(options, "listen").empty()) set("listen", kDefaultAddress);
    return options;
}

/** /run/weft, or whichever folder the socket lies in, is made if only it is missing. */
void make_folder(const std::string& listen) {
    const size_t slash = listen.rfind('/');
    if (listen.rfind("unix:/", 0) != 0 || slash <= 5) return;
    const std::string folder = listen.substr(5, slash - 5);
    if (mkdir(folder.c_str(), 0755) == 0 || errno == EEXIST) return;
    throw Failure(kFailed, folder + ": cannot be made: " + std::strerror(errno) +
                               "; choose where the node listens with --listen unix:PATH");
}

void say(const std::string& listen, const std::string& metrics, bool json) {
    if (json)
        return print_fields({{"ready", true},
                             {"listen", listen},
                             {"metrics", metrics},
                             {"pid", uint64_t(getpid())}},
                            true);
    std::fprintf(stderr, "weft: %s serves at %s, pid %d; end it with SIGTERM\n", weft_version(),
                 listen.c_str(), getpid());
    if (!metrics.empty()) std::fprintf(stderr, "weft: metrics at %s\n", metrics.c_str());
}

/** What is to be scraped: metrics= as the library has it, port 0 replaced. */
std::string metrics_of(const Store& store) {
    const Json about = Json::parse(store.query("about"));
    const std::string address = about["options"].value("metrics", "");
    if (address.empty() || address.rfind("unix:", 0) == 0) return address;
    return "http://" + address + "/metrics";
}

/** Each client takes several descriptors; a shell's soft limit is for other programs. */
void raise_descriptor_limit() {
    rlimit files{};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

void reload(const Store& store) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    notify("RELOADING=1\nMONOTONIC_USEC=" +
           std::to_string(int64_t{now.tv_sec} * 1000000 + now.tv_nsec / 1000));
    try {
        store.query("reload");
        std::fprintf(stderr, "weft: read again what can be read again\n");
    } catch (const Error& problem) {
        std::fprintf(stderr, "weft: reload: %s; what was read before holds\n", problem.what());
    }
    notify("READY=1");
}

}  // namespace

int run(const Serve& serve, const Settings& settings) {
    // Blocked before the library starts threads, so that only sigwait below ever takes them.
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    // No other process of this user may trace the node or open its descriptors.
    prctl(PR_SET_DUMPABLE, 0);
    raise_descriptor_limit();

    const Options options = options_of(serve);
    const std::string listen = option_value(options, "listen");
    make_folder(listen);
    Store store(options_text(options));
    say(listen, metrics_of(store), settings.json);
    notify("READY=1\nSTATUS=serving at " + listen);
    for (;;) {
        int number = 0;
        if (sigwait(&signals, &number) != 0) continue;
        if (number != SIGHUP) break;
        reload(store);
    }
    notify("STOPPING=1");
    store.close();
    return kOk;
}

}  // namespace weft::cli
