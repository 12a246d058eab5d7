// Descriptors, and the segments that a process is told of unasked.
#include "core/node/sending.h"

namespace weft {
namespace {

/** A descriptor for a process, by the connection that it was asked for: the client may let go of it
 * before it has left, and a process may have several. */
class FileServer final : public rpc::File::Server {
  public:
    FileServer(ClientProcess& process, Connection& connection, fabric::Descriptor fd)
        : process_(kj::addRef(process)), connection_(kj::addRef(connection)), fd_(std::move(fd)) {
        process_->files++;
    }
    ~FileServer() noexcept {
        process_->files--;
        connection_->bury(std::move(fd_));
    }
    /** Asked once for each message that carries it. */
    kj::Maybe<int> getFd() override {
        connection_->carries(fd_.get());
        return fd_.get();
    }

  private:
    kj::Own<ClientProcess> process_;
    kj::Own<Connection> connection_;
    fabric::Descriptor fd_;
};

}  // namespace

void must_be_connected(const ClientProcess& process, const Connection& connection) {
    if (process.connection.get() != &connection)
        kj::throwFatalException(
            KJ_EXCEPTION(DISCONNECTED, "the process has ended, or has another connection"));
}

rpc::File::Client file_of(ClientProcess& process, Connection& connection, fabric::Descriptor fd) {
    must_be_connected(process, connection);
    if (process.files >= ClientProcess::kFilesMost)
        kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "a process holds too many File objects",
                                             ClientProcess::kFilesMost));
    return kj::heap<FileServer>(process, connection, std::move(fd));
}

rpc::File::Client file_of(ClientProcess& process, Connection& connection,
                          const fabric::Descriptor* fd) {
    Result<fabric::Descriptor> copy = fd->duplicate();
    if (!copy) kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "no descriptor left"));
    return file_of(process, connection, std::move(*copy));
}

std::shared_ptr<SegmentToSend> copy_of(const Segment& segment, bool write) {
    // Shared between the post and its promise alone.
    auto copy = std::make_shared<SegmentToSend>();
    copy->id = segment.id;
    copy->slot_bytes = segment.slot_bytes;
    copy->size = segment.file.mapping.size();
    Result<fabric::Descriptor> read = segment.file.reader.duplicate();
    if (!read) return nullptr;
    copy->read = std::move(*read);
    if (write) {
        Result<fabric::Descriptor> writer = segment.file.writer.duplicate();
        if (!writer) return nullptr;
        copy->write = std::move(*writer);
    }
    return copy;
}

void send_segment(rpc::Segment::Builder out, const SegmentToSend& segment, ClientProcess& process,
                  Connection& connection) {
    out.setId(segment.id);
    out.setSlotBytes(segment.slot_bytes);
    out.setSize(segment.size);
    out.setRead(file_of(process, connection, &segment.read));
    if (segment.write.valid()) out.setWrite(file_of(process, connection, &segment.write));
}

bool ClientProcess::push_segment(uint64_t opening, const Segment& segment, bool write) {
    std::shared_ptr<SegmentToSend> copy = copy_of(segment, write);
    if (copy == nullptr) return false;  // it will ask when it needs it
    server.loop.post([of = &server, instance = instance, opening, copy] {
        KJ_IF_MAYBE (to, of->callback_of(instance)) {
            auto request = to->addSegmentRequest();
            request.setOpening(opening);
            // The callback is of this connection.
            ClientProcess& process = *of->processes.at(instance);
            if (process.connection.get() == nullptr) return;
            send_segment(request.initSegment(), *copy, process, *process.connection);
            auto done = request.send().then([of, opening, id = copy->id](auto&&) {
                of->node.with([&](Cache& cache, uint64_t now) {
                    cache.confirm_segment(opening, id, now);
                    return 0;
                });
            });
            KJ_IF_MAYBE (set, of->tasks) (*set)->add(kj::mv(done));
        }
    });
    return false;
}

bool ClientProcess::drop_segment(uint64_t opening, uint32_t id) {
    server.loop.post([of = &server, instance = instance, opening, id] {
        KJ_IF_MAYBE (to, of->callback_of(instance)) {
            auto request = to->dropSegmentRequest();
            request.setOpening(opening);
            request.setId(id);
            auto done = request.send().then([of, opening, id](auto&&) {
                of->node.with([&](Cache& cache, uint64_t now) {
                    cache.confirm_drop(opening, id, now);
                    return 0;
                });
            });
            KJ_IF_MAYBE (set, of->tasks) (*set)->add(kj::mv(done));
        }
    });
    return false;
}

}  // namespace weft
