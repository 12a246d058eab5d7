// bind, listen, and what an address in use means.
#include "core/node/listening.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>

#include "capi/weft.h"

namespace weft {
namespace {

/** What the machine lacks is not the option's fault. */
int32_t code_now() {
    bool lacks = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;
    return lacks ? WEFT_ENOMEM : WEFT_EINVAL;
}

constexpr int kBacklog = 128;  // connections that wait to be accepted; the next ones are refused

/** Whether the socket file may be taken over; a live one names its holder. */
Status replace_dead_socket(const std::string& named, const std::string& path,
                           const sockaddr_un& address) {
    fabric::Descriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int failed = connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    if (failed == 0 || errno == EAGAIN) {  // EAGAIN: it lives, and accepts nobody
        ucred holder{};
        socklen_t size = sizeof holder;
        getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &holder, &size);
        std::string who = failed == 0
                              ? "process " + std::to_string(holder.pid) + " listens there"
                              : "a process listens there and accepts nobody: is it stopped?";
        return Failure{WEFT_EBUSY, named + ": " + who};
    }
    if (errno != ECONNREFUSED) return Failure{WEFT_EINVAL, named + ": " + strerror(errno)};
    unlink(path.c_str());
    return Nothing{};
}

struct HostAndPort {
    std::string host;
    uint16_t port = 0;
};

Result<HostAndPort> split(const std::string& named, const std::string& address) {
    size_t colon = address.rfind(':');
    HostAndPort out;
    bool good = colon != std::string::npos && colon > 0;
    if (good) {
        out.host = address.substr(0, colon);
        const char* end = address.data() + address.size();
        auto read = std::from_chars(address.data() + colon + 1, end, out.port);
        good = read.ec == std::errc() && read.ptr == end;
        bool brackets = out.host.size() > 2 && out.host.front() == '[' && out.host.back() == ']';
        if (brackets) out.host = out.host.substr(1, out.host.size() - 2);
        good = good && (brackets || out.host.find(':') == std::string::npos);
    }
    if (!good) {
        return Failure{WEFT_EINVAL, named +
                                        ": HOST:PORT is expected, as in 127.0.0.1:9464 or "
                                        "[::1]:9464, or unix:PATH"};
    }
    return out;
}

std::string text_of(const sockaddr_storage& bound, socklen_t size) {
    char host[INET6_ADDRSTRLEN] = {};
    char port[8] = {};
    getnameinfo(reinterpret_cast<const sockaddr*>(&bound), size, host, sizeof host, port,
                sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    bool brackets = bound.ss_family == AF_INET6;
    return (brackets ? "[" : "") + std::string(host) + (brackets ? "]:" : ":") + port;
}

}  // namespace

Result<fabric::Descriptor> listen_unix(const std::string& key, const std::string& path,
                                       mode_t mode) {
    std::string named = key + "=unix:" + path;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return Failure{WEFT_EINVAL, named + ": the path is longer than " +
                                        std::to_string(sizeof address.sun_path - 1)};
    }
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    fabric::Descriptor listening(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    auto failed = [&](const char* what) {
        return Failure{code_now(), named + ": " + what + ": " + strerror(errno)};
    };
    auto bind_it = [&] {
        return bind(listening.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    };
    if (!listening.valid()) return failed("socket");
    listening.not_for_children();  // they would accept nobody
    if (!bind_it()) {
        if (errno != EADDRINUSE) return failed("bind");
        Status ours = replace_dead_socket(named, path, address);
        if (!ours) return ours.failure();
        if (!bind_it()) return failed("bind");
    }
    chmod(path.c_str(), mode);
    if (listen(listening.get(), kBacklog) != 0) return failed("listen");
    return listening;
}

Result<fabric::Descriptor> listen_tcp(const std::string& key, const std::string& address,
                                      std::string& address_out) {
    std::string named = key + "=" + address;
    Result<HostAndPort> parts = split(named, address);
    if (!parts) return parts.failure();
    addrinfo wanted{};
    wanted.ai_family = AF_UNSPEC;
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;  // asks no name service
    const char* host = parts->host == "*"           ? nullptr
                       : parts->host == "localhost" ? "127.0.0.1"
                                                    : parts->host.c_str();
    addrinfo* found = nullptr;
    std::string port = std::to_string(parts->port);
    if (int wrong = getaddrinfo(host, port.c_str(), &wanted, &found); wrong != 0) {
        return Failure{WEFT_EINVAL, named + ": " + parts->host +
                                        " is no number of an IP address, nor localhost or *"};
    }
    sockaddr_storage bound{};
    socklen_t size = found->ai_addrlen;
    memcpy(&bound, found->ai_addr, size);
    freeaddrinfo(found);
    fabric::Descriptor listening(
        socket(bound.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    auto failed = [&](const char* what) {
        return Failure{errno == EADDRINUSE ? WEFT_EBUSY : code_now(),
                       named + ": " + what + ": " + strerror(errno)};
    };
    if (!listening.valid()) return failed("socket");
    listening.not_for_children();
    int on = 1;  // a successor need not wait for the connections of the one before
    setsockopt(listening.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    auto* to = reinterpret_cast<sockaddr*>(&bound);
    if (bind(listening.get(), to, size) != 0) return failed("bind");
    if (listen(listening.get(), kBacklog) != 0) return failed("listen");
    size = sizeof bound;
    getsockname(listening.get(), to, &size);
    address_out = text_of(bound, size);
    return listening;
}

}  // namespace weft
