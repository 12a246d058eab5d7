// Login, openings, and the calls that the node makes back.
#include "tests/hostile/raw_client.h"

#include <capnp/serialize-async.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "capi/weft.h"
#include "tests/hostile/said.h"

namespace weft::hostile {
void fail(const std::string& words) {
    fprintf(stderr, "hostile: %s\n", words.c_str());
    exit(1);
}

void must(bool holds, const std::string& what) {
    if (!holds) fail(what);
}

const char* name_of(Kind kind) {
    static constexpr const char* kNames[] = {"index", "page", "read", "write", "lane"};
    return kNames[static_cast<int>(kind)];
}

std::string name_of_descriptor(int fd) {
    std::error_code none;
    return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), none).string();
}

std::map<int, std::string> open_descriptors() {
    std::map<int, std::string> all;
    std::vector<int> numbers;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
        numbers.push_back(std::stoi(entry.path().filename()));
    for (int fd : numbers) {
        // The directory's own is closed by now.
        if (fcntl(fd, F_GETFD) >= 0) all[fd] = name_of_descriptor(fd);
    }
    return all;
}

class RawClient::Callbacks final : public rpc::Process::Server {
  public:
    explicit Callbacks(RawClient& client) : client_(client) {}
    kj::Promise<void> addSegment(AddSegmentContext context) override {
        client_.keep_segment(context.getParams().getSegment());
        return kj::READY_NOW;
    }
    kj::Promise<void> dropSegment(DropSegmentContext context) override {
        client_.dropped.push_back(context.getParams().getId());
        auto later = kj::newPromiseAndFulfiller<void>();
        client_.unconfirmed_.push_back(kj::mv(later.fulfiller));
        return kj::mv(later.promise);
    }

  private:
    RawClient& client_;
};

RawClient::RawClient(const std::string& path, const std::string& token, uint64_t instance)
    : io_(kj::setupAsyncIo()),
      own_descriptors_(open_descriptors()),
      stream_(io_.provider->getNetwork()
                  .parseAddress(kj::str("unix:", path.c_str()))
                  .then([](kj::Own<kj::NetworkAddress> address) {
                      auto connected = address->connect();
                      return connected.attach(kj::mv(address));
                  })
                  .wait(io_.waitScope)),
      client_(kj::heap<capnp::TwoPartyClient>(kj::downcast<kj::AsyncCapabilityStream>(*stream_),
                                              kDescriptorsPerMessage)) {
    auto login = client_->bootstrap().castAs<rpc::Node>().loginRequest();
    auto hello = login.initHello();
    say_hello(hello, token, instance);
    hello.setProcess(kj::heap<Callbacks>(*this));
    auto answer = login.send().wait(io_.waitScope);
    must(answer.hasSession(), std::string("login: ") + answer.getFailure().getMessage().cStr());
    session = answer.getSession();
}

RawClient::~RawClient() = default;

void RawClient::keep(Kind kind, uint32_t segment, rpc::File::Client file) {
    // What the node pushes while this waits comes through the same loop.
    keeping_.push_back(file.getFd()
                           .then([this, kind, segment](kj::Maybe<int> fd) {
                               must(fd != nullptr, std::string(name_of(kind)) + " without a file");
                               File kept{kind, segment, {}};
                               kept.fd = fabric::Descriptor(dup(KJ_ASSERT_NONNULL(fd)));
                               struct stat status{};
                               fstat(kept.fd.get(), &status);
                               kept.size = static_cast<size_t>(status.st_size);
                               if (kind != Kind::lane) {
                                   int protection = PROT_READ | (kept.writable() ? PROT_WRITE : 0);
                                   void* at = mmap(nullptr, kept.size, protection, MAP_SHARED,
                                                   kept.fd.get(), 0);
                                   must(at != MAP_FAILED, std::string("map ") + name_of(kind));
                                   kept.mapped = static_cast<std::byte*>(at);
                               }
                               files.push_back(std::move(kept));
                           })
                           .attach(kj::mv(file))
                           .eagerlyEvaluate(nullptr));
}

void RawClient::keep_segment(rpc::Segment::Reader segment) {
    if (segment.hasRead()) keep(Kind::read, segment.getId(), segment.getRead());
    if (segment.hasWrite()) keep(Kind::write, segment.getId(), segment.getWrite());
}

uint64_t RawClient::open(const std::string& name, const std::string& options) {
    auto request = session.openRequest();
    request.setName(name);
    request.setOptions(options);
    auto answer = request.send().wait(io_.waitScope);
    if (!answer.hasOpened()) {
        refusals.push_back(answer.getFailure().getMessage().cStr());
        return 0;
    }
    auto opened = answer.getOpened();
    keep(Kind::index, 0, opened.getIndex());
    keep(Kind::page, 0, opened.getPage());
    for (auto segment : opened.getSegments()) keep_segment(segment);
    space = opened.getSpace();
    serve_node(20);
    return opened.getOpening();
}

int RawClient::lane() {
    auto answer = session.laneRequest().send().wait(io_.waitScope);
    keep(Kind::lane, 0, answer.getSocket());
    serve_node(20);
    return files.back().fd.get();
}

Reply RawClient::ask(uint64_t opening, Request request) {
    KJ_IF_MAYBE (there, lane_) {
        (void)there;
    } else {
        lane_ = io_.lowLevelProvider->wrapSocketFd(kj::AutoCloseFd(dup(lane())));
    }
    auto& stream = *KJ_ASSERT_NONNULL(lane_);
    capnp::MallocMessageBuilder message;
    auto call = message.initRoot<rpc::LaneCall>();
    call.setId(1);
    call.setOpening(opening);
    if (request.deadline == 0) request.deadline = fabric::boot_time() + fabric::kSecond;
    to_rpc(request, call.initRequest());
    capnp::writeMessage(stream, message).wait(io_.waitScope);
    auto answer = io_.provider->getTimer()
                      .timeoutAfter(60 * kj::SECONDS, capnp::readMessage(stream, reader_options()))
                      .wait(io_.waitScope);
    Reply reply;
    from_rpc(answer->getRoot<rpc::LaneAnswer>().getReply(), reply);
    return reply;
}

std::vector<int> RawClient::sockets() const {
    std::vector<int> all;
    KJ_IF_MAYBE (fd, stream_->getFd()) all.push_back(*fd);
    KJ_IF_MAYBE (lane, lane_) {
        KJ_IF_MAYBE (fd, (*lane)->getFd()) all.push_back(*fd);
    }
    return all;
}

std::string RawClient::query(const std::string& words) {
    auto request = session.queryRequest();
    request.setWords(words);
    auto answer = request.send().wait(io_.waitScope);
    return answer.hasFailure() ? answer.getFailure().getMessage().cStr() : answer.getJson().cStr();
}

std::string RawClient::query_space(const std::string& words) {
    auto request = space.queryRequest();
    request.setWords(words);
    auto answer = request.send().wait(io_.waitScope);
    return answer.hasFailure() ? answer.getFailure().getMessage().cStr() : answer.getJson().cStr();
}

void RawClient::serve_node(uint64_t milliseconds) {
    io_.provider->getTimer().afterDelay(milliseconds * kj::MILLISECONDS).wait(io_.waitScope);
}

void RawClient::confirm_drops() {
    for (auto& one : unconfirmed_) one->fulfill();
    unconfirmed_.clear();
    serve_node(100);
}

}  // namespace weft::hostile
