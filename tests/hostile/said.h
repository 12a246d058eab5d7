// What a good client says, as bytes: recorded from Cap'n Proto's own client, whose peer says
// nothing.
#pragma once
#include <capnp/rpc-twoparty.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "core/index/layout.h"
#include "core/node/convert.h"
#include "core/node/rpc.capnp.h"
#include "fabric/clock/clock.h"
#include "fabric/memory/memory.h"

namespace weft::hostile {

inline fabric::Descriptor pidfd_of_this() {
    return fabric::Descriptor(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
}

class OwnFile final : public rpc::File::Server {
  public:
    explicit OwnFile(fabric::Descriptor fd) : fd_(std::move(fd)) {}
    kj::Maybe<int> getFd() override { return fd_.get(); }

  private:
    fabric::Descriptor fd_;
};

inline void say_hello(rpc::Hello::Builder hello, const std::string& token, uint64_t instance) {
    hello.setProtocol(rpc::PROTOCOL_VERSION);
    hello.setLayout(kLayoutVersion);
    hello.setVersion("hostile");
    hello.setBootTime(fabric::boot_time());
    hello.setToken(token);
    hello.setInstance(instance);
    hello.setPidfd(kj::heap<OwnFile>(pidfd_of_this()));
}

class Recorder {
  public:
    explicit Recorder(kj::AsyncIoContext& io) : io_(io) {
        int ends[2];
        KJ_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        stream_ = io_.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(ends[0]));
        far_ = fabric::Descriptor(ends[1]);
        client_ = kj::heap<capnp::TwoPartyClient>(kj::downcast<kj::AsyncCapabilityStream>(*stream_),
                                                  kDescriptorsPerMessage);
    }
    rpc::Node::Client node() { return client_->bootstrap().castAs<rpc::Node>(); }
    /** What was written since the last look; the descriptors with it are left out. */
    std::string written() {
        io_.waitScope.poll();
        std::string all;
        char bytes[4096];
        for (ssize_t got; (got = recv(far_.get(), bytes, sizeof bytes, 0)) > 0;)
            all.append(bytes, static_cast<size_t>(got));
        return all;
    }

  private:
    kj::AsyncIoContext& io_;
    kj::Own<kj::AsyncIoStream> stream_;
    fabric::Descriptor far_;
    kj::Own<capnp::TwoPartyClient> client_;
};

/** A login: question 1, behind a bootstrap, which is 0. Its pidfd goes beside it, by `send_with`.
 */
inline std::string login_said(kj::AsyncIoContext& io, const std::string& token, uint64_t instance) {
    Recorder recorder(io);
    auto login = recorder.node().loginRequest();
    say_hello(login.initHello(), token, instance);
    auto under_way = login.send();
    return recorder.written();
}

/** False: the other side takes no more. */
inline bool send_with(int socket, const std::string& bytes, int descriptor) {
    iovec all{const_cast<char*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &all;
    message.msg_iovlen = 1;
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
    return sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

}  // namespace weft::hostile
