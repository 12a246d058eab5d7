// A node's end as someone sees it who maps its index and has no link that could tell of the end: a
// client that was stopped, or whose thread is slower than its reader. What keeps it from the dead
// node's blocks is serve_until alone (protocols 3), so the tests look through the shipped reader at
// a mapping as a client's, of nodes that close and that are killed.
#include "core/node/node.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "core/index/reader.h"
#include "tests/unit/folder.h"
#include "tests/unit/world.h"

using namespace weft;

namespace {

constexpr Key kKey{1, 1};
constexpr uint64_t kPatience = 10 * fabric::kSecond;

/** A session that works through calls, without a socket. Outlives its node. */
class Client {
  public:
    explicit Client(Node& node) : node_(node) {
        memset(static_cast<void*>(&page_), 0, sizeof page_);
        Result<Opened> opened = node.with([&](Cache& cache, uint64_t now) {
            session_ = *cache.begin_session(process_, Grants{{"*", kAllRights}}, getpid());
            return cache.open_namespace(session_, "t/m", "part_bytes=4096", &page_, 0, now);
        });
        opened_ = *opened;
    }
    int32_t run(Request request, Reply* out = nullptr) {
        Reply reply;
        request.deadline = fabric::boot_time() + kPatience;
        node_.with([&](Cache& cache, uint64_t now) {
            cache.run(
                session_, opened_.opening, std::move(request),
                [&reply](Reply&& given) { reply = std::move(given); }, now);
            return 0;
        });
        if (out != nullptr) *out = reply;
        return reply.status;
    }
    bool save() {
        Reply held;
        return run(reserve_of({kKey}), &held) == 0 && run(word_of(Verb::commit, held.handle)) == 0;
    }
    /** What a login hands out of the index. */
    int index_descriptor() const { return opened_.space->slots().index().reader.get(); }

  private:
    Node& node_;
    FakeProcess process_;
    ReaderPage page_;
    uint32_t session_ = 0;
    Opened opened_;
};

/** A node's index as a client maps it; stays when the node goes. */
class Index {
  public:
    explicit Index(const std::string& path)
        : file_(open(path.c_str(), O_RDONLY | O_CLOEXEC)), memory_(fabric::system_memory()) {
        REQUIRE(file_.valid());
        Result<fabric::Mapping> mapped =
            memory_->map(file_, *fabric::file_size(file_), fabric::Access::read, false);
        REQUIRE(mapped.ok());
        mapping_ = std::move(*mapped);
    }
    IndexReader reader() const { return IndexReader(mapping_.address()); }
    bool has_block() const {
        Found found;
        return reader().look(kKey, hash_key(kKey), 0, fabric::boot_time(), found) == Look::hit;
    }
    bool serves_now() const { return reader().serves(fabric::boot_time()); }
    uint64_t serve_until() const { return reader().header().serve_until.load_acquire(); }

  private:
    fabric::Descriptor file_;
    std::unique_ptr<fabric::Memory> memory_;
    fabric::Mapping mapping_;
};

NodeOptions options_in(const Folder& folder, bool keeps_state) {
    NodeOptions options;
    options.cache.memory = uint64_t{32} << 20;
    options.listen = folder.path + "/s";
    if (keeps_state) options.state = folder.path + "/state";
    return options;
}

std::unique_ptr<Node> open_node(const NodeOptions& options) {
    Result<std::unique_ptr<Node>> node =
        Node::open(options, fabric::Log(2, fabric::LogLevel::error));
    REQUIRE_MESSAGE(node.ok(), (node.ok() ? "" : node.failure().message));
    return std::move(*node);
}

std::string path_of(pid_t process, int descriptor) {
    return "/proc/" + std::to_string(process) + "/fd/" + std::to_string(descriptor);
}

template <typename True>
bool soon(True is_true) {
    for (uint64_t end = fabric::boot_time() + kPatience; !is_true(); usleep(1000)) {
        if (fabric::boot_time() > end) return false;
    }
    return true;
}

/** Waits until the lease has just been renewed, when the next time is a quarter of a second away.
 */
bool is_renewed(const Index& index) {
    uint64_t before = index.serve_until();
    return soon([&] { return index.serve_until() != before; });
}

bool is_marked_clean(const NodeOptions& options) {
    std::string text;
    std::getline(std::ifstream(options.state + "/lock"), text);
    return text == "clean";
}

/** A node in a process that can be killed; it says which of its descriptors is the index. */
class NodeProcess {
  public:
    explicit NodeProcess(const NodeOptions& options) {
        int ends[2];
        REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
        pid_ = fork();
        REQUIRE(pid_ >= 0);
        if (pid_ == 0) serve(options, ends[1]);
        close(ends[1]);
        CHECK(read(ends[0], &index_descriptor_, sizeof index_descriptor_) ==
              sizeof index_descriptor_);
        close(ends[0]);
    }
    ~NodeProcess() { kill_it(); }
    NodeProcess(const NodeProcess&) = delete;
    NodeProcess& operator=(const NodeProcess&) = delete;
    std::string index_path() const { return path_of(pid_, index_descriptor_); }
    void kill_it() {
        if (pid_ > 0) {
            kill(pid_, SIGKILL);
            waitpid(pid_, nullptr, 0);
        }
        pid_ = -1;
    }

  private:
    [[noreturn]] static void serve(const NodeOptions& options, int tell) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        Result<std::unique_ptr<Node>> node =
            Node::open(options, fabric::Log(2, fabric::LogLevel::error));
        if (!node) _exit(1);
        Client client(**node);
        int descriptor = client.index_descriptor();
        if (!client.save() || write(tell, &descriptor, sizeof descriptor) != sizeof descriptor)
            _exit(1);
        for (;;) pause();
    }

    pid_t pid_ = -1;
    int index_descriptor_ = -1;
};

}  // namespace

TEST_CASE("the index of a node that ended cleanly serves at no instant") {
    for (bool keeps_state : {true, false}) {
        CAPTURE(keeps_state);
        Folder folder;
        std::unique_ptr<Client> client;
        std::unique_ptr<Node> node = open_node(options_in(folder, keeps_state));
        client = std::make_unique<Client>(*node);
        REQUIRE(client->save());
        Index index(path_of(getpid(), client->index_descriptor()));
        CHECK(soon([&] { return index.serves_now(); }));
        CHECK(index.has_block());
        node.reset();
        // Nothing else keeps a reader from it, and a successor does not wait.
        CHECK(index.has_block());
        CHECK_FALSE(index.reader().serves(0));
    }
}

TEST_CASE("what renews a node's lease has ended before a clean end takes the lease back") {
    // Several times: without that order the renewal wins nearly always, not always.
    for (int round = 0; round < 3; round++) {
        Folder folder;
        std::unique_ptr<Client> client;
        std::unique_ptr<Node> node = open_node(options_in(folder, true));
        client = std::make_unique<Client>(*node);
        REQUIRE(client->save());
        Index index(path_of(getpid(), client->index_descriptor()));
        // A tick that is under way when the end begins: it has yet to get the node's lock.
        node->with([](Cache&, uint64_t) { return usleep(2 * Node::kTick / 1000); });
        node.reset();
        CHECK_FALSE(index.reader().serves(0));
    }
}

TEST_CASE("until a node has taken its lease back it has no clean mark, and the lock is its own") {
    Folder folder;
    NodeOptions options = options_in(folder, true);
    std::unique_ptr<Client> client;
    std::unique_ptr<Node> node = open_node(options);
    client = std::make_unique<Client>(*node);
    Index index(path_of(getpid(), client->index_descriptor()));
    REQUIRE(is_renewed(index));
    std::thread end;
    bool served = false;
    bool marked = false;
    bool held = true;
    // Whoever has the node's lock holds up the end just before it takes the lease back.
    node->with([&](Cache&, uint64_t) {
        end = std::thread([&] { node.reset(); });
        for (int i = 0; i < 100; i++) {
            served = index.reader().serves(0);
            marked = marked || is_marked_clean(options);
            Result<LockFile> lock = LockFile::take(options.state + "/lock");
            held = held && !lock.ok() && lock.failure().code == WEFT_EBUSY;
            usleep(1000);
        }
        return 0;
    });
    end.join();
    CHECK(served);
    CHECK_FALSE(marked);
    CHECK(held);
    CHECK_FALSE(index.reader().serves(0));
    CHECK(is_marked_clean(options));
    Result<LockFile> lock = LockFile::take(options.state + "/lock");
    REQUIRE(lock.ok());
    CHECK(lock->was_clean());
}

TEST_CASE("when the successor of a killed node is open, the dead node's index serves no more") {
    for (bool keeps_state : {true, false}) {
        CAPTURE(keeps_state);
        Folder folder;
        NodeProcess dying(options_in(folder, keeps_state));
        Index index(dying.index_path());
        // A promise that was just renewed is the longest.
        uint64_t before = index.serve_until();
        REQUIRE(soon([&] { return index.serve_until() != before; }));
        dying.kill_it();
        CHECK(index.has_block());
        REQUIRE(index.serve_until() > before);

        std::unique_ptr<Client> client;
        std::unique_ptr<Node> successor = open_node(options_in(folder, keeps_state));
        CHECK_FALSE(index.serves_now());
        client = std::make_unique<Client>(*successor);
        CHECK(client->run(word_of(Verb::advance, 1)) == 0);
        CHECK(index.has_block());
        CHECK_FALSE(index.serves_now());
    }
}
