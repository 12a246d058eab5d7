// A client of a node that is made of Cap'n Proto alone, so that it can do what Weft's own never
// would: keep every descriptor that it is sent, map it as it likes, confirm nothing, say anything.
//
// Invariants: a descriptor that came is in `files` until the process ends; nothing is unmapped.
#pragma once
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <map>
#include <string>
#include <vector>

#include "core/index/layout.h"
#include "core/node/convert.h"
#include "core/node/rpc.capnp.h"
#include "fabric/memory/memory.h"

namespace weft::hostile {

/** Ends the process with words; its driver counts that as a failure. */
[[noreturn]] void fail(const std::string& words);
void must(bool holds, const std::string& what);

/** What the kernel calls it: "socket:[7]", "/memfd:weft-data (deleted)". */
std::string name_of_descriptor(int fd);
/** All, by number. */
std::map<int, std::string> open_descriptors();

/** What a descriptor was said to be. */
enum class Kind { index, page, read, write, lane };
const char* name_of(Kind kind);

struct File {
    Kind kind;
    uint32_t segment = 0;
    fabric::Descriptor fd;
    std::byte* mapped = nullptr;  // as far as its kind may be
    size_t size = 0;
    bool writable() const { return kind == Kind::page || kind == Kind::write; }
};

class RawClient {
  public:
    RawClient(const std::string& path, const std::string& token, uint64_t instance);
    ~RawClient();
    /** Opens a namespace and maps all that comes with it; returns the opening. */
    uint64_t open(const std::string& name, const std::string& options);
    /** Asks for a lane; it is answered by nobody here. */
    int lane();
    /** One call on the lane and its answer. */
    Reply ask(uint64_t opening, Request request);
    std::string query(const std::string& words);
    /** Of the namespace that was opened last. */
    std::string query_space(const std::string& words);
    /** Lets the node's own calls in, for so long. */
    void serve_node(uint64_t milliseconds);
    /** Says that it has unmapped every segment that it was asked to, which it has not. */
    void confirm_drops();

    /** Those that were open before it connected. */
    const std::map<int, std::string>& own_descriptors() const { return own_descriptors_; }
    /** Of its connection and of the lane that it uses. */
    std::vector<int> sockets() const;

    std::vector<File> files;
    std::vector<uint32_t> dropped;  // segments that the node wants unmapped
    std::vector<std::string> refusals;
    rpc::Session::Client session = nullptr;
    rpc::Space::Client space = nullptr;

  private:
    class Callbacks;
    void keep(Kind kind, uint32_t segment, rpc::File::Client file);
    void keep_segment(rpc::Segment::Reader segment);

    kj::AsyncIoContext io_;
    const std::map<int, std::string> own_descriptors_;
    kj::Own<kj::AsyncIoStream> stream_;
    kj::Own<capnp::TwoPartyClient> client_;
    kj::Maybe<kj::Own<kj::AsyncIoStream>> lane_;
    std::vector<kj::Own<kj::PromiseFulfiller<void>>> unconfirmed_;
    std::vector<kj::Promise<void>> keeping_;
};

}  // namespace weft::hostile
