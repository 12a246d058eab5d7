// KJ's HTTP server with one page, and what the operating system says of this process.
#include "core/node/metrics_server.h"

#include <dirent.h>
#include <kj/compat/http.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <fstream>

#include "capi/weft.h"
#include "core/node/listening.h"
#include "core/node/loop.h"
#include "core/node/node.h"
#include "core/stats/metrics.h"

namespace weft {
namespace {

uint64_t count_fds() {
    DIR* folder = opendir("/proc/self/fd");
    if (folder == nullptr) return 0;
    uint64_t count = 0;
    while (readdir(folder) != nullptr) count++;
    closedir(folder);
    return count > 3 ? count - 3 : 0;  // ".", ".." and the folder itself
}

double since_epoch(uint64_t boot_ns) {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    double ago = static_cast<double>(fabric::boot_time() - boot_ns) * 1e-9;
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9 - ago;
}

ProcessReport this_process(double start_seconds) {
    ProcessReport report;
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    for (const timeval& part : {usage.ru_utime, usage.ru_stime})
        report.cpu_seconds +=
            static_cast<double>(part.tv_sec) + static_cast<double>(part.tv_usec) * 1e-6;
    uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages >> pages;
    report.resident_bytes = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    report.open_fds = count_fds();
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    report.max_fds = files.rlim_cur;
    report.start_seconds = start_seconds;
    return report;
}

/** When this process started, since the epoch: field 22 of its stat, in ticks since the boot. */
double process_start() {
    std::ifstream file("/proc/self/stat");
    std::string line;
    std::getline(file, line);
    size_t at = line.rfind(')');  // the name before it may hold anything
    uint64_t ticks = 0;
    for (int field = 3; at != std::string::npos && field <= 22; field++) {
        at = line.find(' ', at + 1);
        if (field == 22 && at != std::string::npos) ticks = std::stoull(line.substr(at + 1));
    }
    auto per_second = static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
    return since_epoch(ticks * (fabric::kSecond / per_second));
}

class Page final : public kj::HttpService {
  public:
    Page(Node& node, kj::Timer& timer, const kj::HttpHeaderTable& table)
        : node_(node), timer_(timer), table_(table), start_(process_start()) {}

    kj::Promise<void> request(kj::HttpMethod method, kj::StringPtr url, const kj::HttpHeaders&,
                              kj::AsyncInputStream&, Response& response) override {
        if (method != kj::HttpMethod::GET && method != kj::HttpMethod::HEAD)
            return response.sendError(405, "Method Not Allowed", table_);
        std::string path(url.cStr());
        path = path.substr(0, path.find('?'));
        if (path == "/") {
            return send(response, "text/plain; charset=utf-8",
                        std::string("weft ") + weft_version() + ": metrics are at /metrics\n");
        }
        if (path != "/metrics") return response.sendError(404, "Not Found", table_);
        NodeReport report =
            node_.with([](Cache& cache, uint64_t now) { return cache.report(now); });
        return send(response, "text/plain; version=0.0.4; charset=utf-8",
                    metrics_text(report, node_.latencies(), this_process(start_)));
    }

  private:
    kj::Promise<void> send(Response& response, kj::StringPtr type, const std::string& text) {
        kj::HttpHeaders headers(table_);
        headers.set(kj::HttpHeaderId::CONTENT_TYPE, type);
        auto body = kj::heapArray(reinterpret_cast<const kj::byte*>(text.data()), text.size());
        auto stream = response.send(200, "OK", headers, body.size());
        auto written = stream->write(body.begin(), body.size());
        return timer_.timeoutAfter(MetricsServer::kAnswerOut * kj::SECONDS,
                                   written.attach(kj::mv(stream), kj::mv(body)));
    }

    Node& node_;
    kj::Timer& timer_;
    const kj::HttpHeaderTable& table_;
    double start_;
};

/** A peer that is gone, late or wrong is no news. */
class Silent final : public kj::TaskSet::ErrorHandler, public kj::HttpServerErrorHandler {
  public:
    void taskFailed(kj::Exception&&) override {}
    kj::Promise<void> handleApplicationError(
        kj::Exception, kj::Maybe<kj::HttpService::Response&> response) override {
        KJ_IF_MAYBE (to, response) return to->sendError(500, "Internal Server Error", table_);
        return kj::READY_NOW;
    }

  private:
    kj::HttpHeaderTable table_;
};

class HttpMetrics final : public MetricsServer {
  public:
    explicit HttpMetrics(Node& node) : node_(node) {}
    ~HttpMetrics() noexcept override {
        loop_.stop();
        if (!path_.empty()) unlink(path_.c_str());
    }
    std::string address() const override { return address_; }

    Status listen(const std::string& address) {
        Result<fabric::Descriptor> socket = Failure{};
        if (address.starts_with("unix:")) {
            std::string path = address.substr(5);
            if (path.empty())
                return Failure{WEFT_EINVAL, "metrics=" + address + ": unix:PATH is expected"};
            socket = listen_unix("metrics", path, 0660);
            if (socket.ok()) path_ = path;
            address_ = address;
        } else {
            socket = listen_tcp("metrics", address, address_);
        }
        if (!socket) return socket.failure();
        socket_ = std::move(*socket);
        if (!loop_.start("weft-metrics", [this](kj::AsyncIoContext& io) { return serve(io); }))
            return Failure{WEFT_ENOMEM, "metrics=" + address + ": no descriptor left"};
        return Nothing{};
    }

  private:
    kj::Promise<void> serve(kj::AsyncIoContext& io) {
        kj::Timer& timer = io.provider->getTimer();
        kj::HttpHeaderTable table;
        Silent errors;
        Page page(node_, timer, table);
        kj::HttpServerSettings settings;
        settings.headerTimeout = kHeadersIn * kj::SECONDS;
        settings.errorHandler = errors;
        kj::HttpServer server(timer, table, page, settings);
        uint32_t open = 0;
        kj::TaskSet connections(errors);
        auto receiver = io.lowLevelProvider->wrapListenSocketFd(
            socket_.get(), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC);
        for (;;) {
            kj::Maybe<kj::Own<kj::AsyncIoStream>> accepted;
            try {
                accepted = co_await receiver->accept();
            } catch (...) {
                accepted = nullptr;  // no descriptor left, say: the next one may do better
            }
            KJ_IF_MAYBE (stream, accepted) {
                if (open >= kConnectionsMax) continue;
                open++;
                connections.add(
                    server.listenHttp(kj::mv(*stream)).attach(kj::defer([&open] { open--; })));
                continue;
            }
            co_await timer.afterDelay(100 * kj::MILLISECONDS);
        }
    }

    Node& node_;
    std::string address_;
    std::string path_;
    fabric::Descriptor socket_;
    Loop loop_;
};

}  // namespace

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(Node& node,
                                                            const std::string& address) {
    auto server = std::make_unique<HttpMetrics>(node);
    Status listening = server->listen(address);
    if (!listening) return listening.failure();
    return std::unique_ptr<MetricsServer>(std::move(server));
}

}  // namespace weft
