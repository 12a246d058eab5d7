// The link to a node in this process: calls under the node's lock, no copies of requests, no extra
// mapping of the index.
#pragma once
#include "core/node/link.h"
#include "core/node/node.h"

namespace weft {

class LocalLink : public Link, public Process {
  public:
    explicit LocalLink(Node& node);
    Status start();

    Result<std::shared_ptr<Mapped>> open(const std::string& name, const std::string& options,
                                         uint64_t floor_known, uint64_t deadline) override;
    Status close(const std::shared_ptr<Mapped>& mapped, uint64_t deadline) override;
    void run(const std::shared_ptr<Mapped>& mapped, Request& request, Done done) override;
    Result<std::string> query(const std::shared_ptr<Mapped>& mapped, const std::string& words,
                              uint64_t deadline) override;
    void release(uint64_t handle) override;
    void stop(uint64_t deadline) override;
    std::string about() const override;

    bool push_segment(uint64_t opening, const Segment& segment, bool write) override;
    bool drop_segment(uint64_t opening, uint32_t segment) override;

  private:
    Node& node_;
    uint32_t session_ = 0;
    std::map<uint64_t, std::shared_ptr<Mapped>>
        mapped_;  // by opening; under the node's lock. Shared with the store's spaces.
};

}  // namespace weft
