// A process of a tenant, as its driver (run.py) wants it: it becomes another user, connects, and
// does what the lines of its standard input say, with an answer of one line each, until they end.
//
//     hostile_worker UID SOCKET TOKEN_FILE
//
//     open NAME OPTIONS      the opening's number, or "refused" and why
//     try FOLDER             what it can do with its descriptors and must not; "nothing"
//     foreign                what it holds, or was ever sent, that is none of these; "nothing"
//     node PID               the same of the node's process
//     files                  its memory files by kind, how many it has in all, their inodes
//     serve MS               lets the node's calls in; the segments that it was asked to unmap
//     confirm                says that it has unmapped them
//     first BYTES            of each segment that it was asked to unmap: are the first bytes zero
//     hold OPENING MOST      a hazard for each slot from 1 to MOST; how many cells there are
//     scribble SEED MS       garbage into everything that it can write, and calls of garbage
//     ask OPENING VERB       a request of that verb; its status
//     query WORDS            the node's answer
//     space WORDS            that of the namespace opened last
#include <grp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <sstream>

#include "capi/weft.h"
#include "fabric/clock/clock.h"
#include "tests/hostile/descriptors.h"
#include "tests/hostile/garbage.h"
#include "tests/hostile/trials.h"

namespace weft::hostile {
namespace {

void become(uint32_t uid) {
    must(setgroups(0, nullptr) == 0 && setresgid(uid, uid, uid) == 0 &&
             setresuid(uid, uid, uid) == 0,
         "cannot become user " + std::to_string(uid) + ": run as root");
}

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

std::string join(const std::vector<std::string>& words) {
    std::string all;
    for (const std::string& one : words) all += (all.empty() ? "" : "; ") + one;
    return all.empty() ? "nothing" : all;
}

class Worker {
  public:
    Worker(const std::string& socket, const std::string& token)
        : client_(socket, token, fabric::boot_time() ^ uint64_t(getpid()) << 32) {}

    std::string act(std::istringstream& words) {
        std::string verb;
        words >> verb;
        if (verb == "open") return open(words);
        if (verb == "try") return join(try_files(client_, rest(words)));
        if (verb == "foreign") return join(foreign_descriptors(client_));
        if (verb == "node") return join(try_node(std::stoi(rest(words))));
        if (verb == "files") return files();
        if (verb == "serve") return serve(std::stoull(rest(words)));
        if (verb == "confirm") return client_.confirm_drops(), "confirmed";
        if (verb == "first") return first(std::stoull(rest(words)));
        if (verb == "hold") return hold(words);
        if (verb == "scribble") return scribble(words);
        if (verb == "ask") return ask(words);
        if (verb == "query") return client_.query(rest(words));
        if (verb == "space") return client_.query_space(rest(words));
        fail("what is \"" + verb + "\"?");
    }

  private:
    static std::string rest(std::istringstream& words) {
        std::string text;
        std::getline(words >> std::ws, text);
        return text;
    }
    std::string open(std::istringstream& words) {
        std::string name;
        words >> name;
        uint64_t opening = client_.open(name, rest(words));
        return opening == 0 ? "refused " + client_.refusals.back() : std::to_string(opening);
    }
    std::string files() {
        std::string kinds;
        for (Kind kind : {Kind::index, Kind::page, Kind::read, Kind::write}) {
            auto count = std::ranges::count_if(client_.files,
                                               [&](const File& file) { return file.kind == kind; });
            kinds += std::string(name_of(kind)) + "=" + std::to_string(count) + " ";
        }
        std::string all;
        for (uint64_t inode : inodes(client_)) all += " " + std::to_string(inode);
        return kinds + "all=" + std::to_string(memory_files().size()) + all;
    }
    std::string serve(uint64_t milliseconds) {
        client_.serve_node(milliseconds);
        return std::to_string(client_.dropped.size());
    }
    std::string first(uint64_t bytes) {
        uint64_t zero = 0;
        uint64_t looked_at = 0;
        for (const File& file : client_.files) {
            bool is = file.kind == Kind::read && std::ranges::count(client_.dropped, file.segment);
            if (!is) continue;
            looked_at++;
            const std::byte* begin = file.mapped;
            bool all = std::all_of(begin, begin + std::min<uint64_t>(bytes, file.size),
                                   [](std::byte byte) { return byte == std::byte{0}; });
            zero += all ? 1 : 0;
        }
        return std::to_string(zero) + " of " + std::to_string(looked_at);
    }
    std::string hold(std::istringstream& words) {
        uint64_t most = 0;
        words >> most;
        uint32_t cells = 0;
        for (const File& file : client_.files) {
            if (file.kind != Kind::page) continue;
            auto* page = reinterpret_cast<ReaderPage*>(file.mapped);
            for (uint32_t i = 0; i < kReaderCells; i++, cells++)
                page->cells[i].store_release(i % most + 1);
        }
        return std::to_string(cells);
    }
    std::string scribble(std::istringstream& words) {
        uint64_t seed = 0;
        uint64_t milliseconds = 0;
        words >> seed >> milliseconds;
        return std::to_string(write_garbage(client_, seed, milliseconds));
    }
    std::string ask(std::istringstream& words) {
        uint64_t opening = 0;
        int verb = 0;
        words >> opening >> verb;
        Request request;
        request.verb = static_cast<Verb>(verb);
        request.size = 1;
        request.user = true;
        request.items.push_back({{1, 1}, 256, kNoSlot, 0});
        Reply reply = client_.ask(opening, request);
        int32_t of_item = reply.items.empty() ? 0 : reply.items[0].status;
        return std::to_string(reply.status != 0 ? reply.status : of_item);
    }

    RawClient client_;
};

}  // namespace
}  // namespace weft::hostile

int main(int argc, char** argv) {
    using namespace weft::hostile;
    must(argc == 4, "usage: hostile_worker UID SOCKET TOKEN_FILE");
    std::string token = first_line(argv[3]);  // before it may not
    become(static_cast<uint32_t>(std::stoul(argv[1])));
    try {
        Worker worker(argv[2], token);
        std::cout << "ready" << std::endl;
        for (std::string line; std::getline(std::cin, line);) {
            std::istringstream words(line);
            std::cout << worker.act(words) << std::endl;
        }
    } catch (const std::exception& wrong) {
        fail(wrong.what());
    } catch (...) {
        fail(kj::str(kj::getCaughtExceptionAsKj()).cStr());
    }
    return 0;
}
