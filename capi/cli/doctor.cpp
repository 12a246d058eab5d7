/**
 * `weft doctor`: is this machine fit for a node, is there one, and what would help it? Each finding
 * in words, with what to do. Status 0 unless something is missing that a node cannot be without; 3
 * where a key was asked for that is not there.
 */
#include "doctor.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "command.h"
#include "json.h"
#include "print.h"

namespace weft::cli {
namespace {

constexpr const char* kLevels[] = {"ok", "note", "warning", "failure"};

/** Looks who listens at a UNIX socket before any login, so that an error there has its cause. */
void check_socket(const std::string& path, Findings& findings) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        findings.push_back({Level::kFailure, "socket",
                            path + " is longer than 107 bytes, which is all "
                                   "that a UNIX socket's path may have",
                            "Use a shorter path."});
        return;
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    // Not blocking: a node that is stopped accepts nobody, and its backlog may be full.
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        ucred peer{};
        socklen_t size = sizeof peer;
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
        const std::string who = path + ": process " + std::to_string(peer.pid) + " of user " +
                                std::to_string(peer.uid) + " listens";
        const bool shared = peer.uid == geteuid();
        findings.push_back({shared ? Level::kNote : Level::kOk, "socket", who,
                            shared
                                ? "It runs as this user: any process of this user can read all its "
                                  "memory. Run it as a user of its own where tenants must be safe "
                                  "from each other."
                                : ""});
    } else if (errno == ENOENT) {
        findings.push_back(
            {Level::kNote, "socket", path + ": there is none", "Start a node: weft serve"});
    } else if (errno == EAGAIN) {
        findings.push_back({Level::kWarning, "socket",
                            path + ": a node listens, but accepts no connection",
                            "Is it stopped, or out of descriptors? See its process and its log."});
    } else {
        findings.push_back(
            {Level::kWarning, "socket", path + ": " + std::strerror(errno),
             errno == EACCES
                 ? "Without tokens a node admits its own user alone: weft serve --tokens FILE."
                 : "No node listens behind it: start weft serve."});
    }
    close(fd);
}

Json check_node(const Doctor& doctor, const Settings& settings, Findings& findings) {
    if (settings.connect.rfind("unix:", 0) == 0) {
        check_socket(settings.connect.substr(5), findings);
        if (findings.back().level > Level::kNote || findings.back().advice.rfind("Start", 0) == 0)
            return Json();
    }
    try {
        const Store store = settings.open();
        const Json about = Json::parse(store.query("about"));
        findings.push_back({Level::kOk, "node",
                            settings.connect + ": answers, version " +
                                about.value("version", std::string("unknown")),
                            ""});
        return check_use(store, doctor, findings);
    } catch (const Error& problem) {
        findings.push_back({Level::kWarning, "node", settings.connect + ": " + problem.what(),
                            problem.code() == WEFT_EDENIED
                                ? "Give a token that it knows: --token-file."
                                : "See the node's log."});
    }
    return Json();
}

std::string wrapped(const std::string& text, size_t indent, size_t width) {
    std::string lines;
    size_t column = 0;
    for (size_t from = 0; from < text.size();) {
        const size_t end = std::min(text.find(' ', from), text.size());
        if (column != 0 && column + 1 + end - from > width) {
            lines += '\n' + std::string(indent, ' ');
            column = 0;
        } else if (column != 0) {
            lines += ' ';
            column++;
        }
        lines += text.substr(from, end - from);
        column += end - from;
        from = end + 1;
    }
    return lines;
}

void print_findings(const Findings& findings) {
    for (const Finding& finding : findings) {
        const char* level = kLevels[static_cast<size_t>(finding.level)];
        std::printf("%-8s %-14s %s\n", level, finding.subject.c_str(),
                    wrapped(finding.found, 24, 76).c_str());
        if (!finding.advice.empty())
            std::printf("%24s%s\n", "", wrapped("-> " + finding.advice, 27, 73).c_str());
    }
}

}  // namespace

int run(const Doctor& doctor, const Settings& settings) {
    Findings findings;
    findings.push_back(
        {Level::kOk, "library",
         std::string("libweft ") + weft_version() + ", ABI " + std::to_string(weft_abi()), ""});
    check_kernel(findings);
    check_memory(findings);
    check_users(findings);
    check_devices(findings);
    const Json explained = check_node(doctor, settings, findings);
    const bool failed = std::any_of(findings.begin(), findings.end(), [](const Finding& finding) {
        return finding.level == Level::kFailure;
    });
    if (settings.json) {
        Json answer = {{"fit", !failed}, {"findings", Json::array()}};
        for (const Finding& finding : findings)
            answer["findings"].push_back({{"level", kLevels[static_cast<size_t>(finding.level)]},
                                          {"subject", finding.subject},
                                          {"found", finding.found},
                                          {"advice", finding.advice}});
        if (!explained.is_null()) answer["explain"] = explained;
        print_answer(answer, true);
    } else {
        print_findings(findings);
    }
    if (failed) return kFailed;
    return explained.is_null() || explained.at("there").get<bool>() ? kOk : kMiss;
}

}  // namespace weft::cli
