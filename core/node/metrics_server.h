// A node's metrics over HTTP: GET /metrics at metrics=, for Prometheus and whoever reads its
// format.
//
// Invariants: a thread of its own, which wakes for a scrape only; the node's lock is held while the
// counters are read and not while they are written out; it asks for no token, since it says numbers
// and the names of namespaces, and is bound where its option says. What a peer may cost is named
// below: kConnectionsMax, kHeadersIn, kAnswerOut.
#pragma once
#include <memory>
#include <string>

#include "core/base/result.h"

namespace weft {

class Node;

class MetricsServer {
  public:
    static constexpr uint32_t kConnectionsMax = 32;  // at a time; the next ones are closed at once
    static constexpr uint32_t kHeadersIn = 5;        // seconds for a request to arrive
    static constexpr uint32_t kAnswerOut =
        10;  // seconds for a peer to take its answer: a scrape ends then by default

    virtual ~MetricsServer() = default;
    /** address: HOST:PORT or unix:PATH, as core/node/listening.h has them. */
    static Result<std::unique_ptr<MetricsServer>> start(Node& node, const std::string& address);
    /** Where it listens: what metrics= said, port 0 replaced. */
    virtual std::string address() const = 0;
};

}  // namespace weft
