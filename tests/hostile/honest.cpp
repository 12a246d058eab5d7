// A tenant that behaves, by the C ABI: it saves blocks whose bytes follow from their keys and loads
// them again, by its own copy and in place. A wrong byte ends it with words and status 1.
//
//     hostile_honest UID SOCKET TOKEN_FILE
//
//     save NAME BYTES FIRST COUNT BASE    how many it saved, or found there
//     load NAME BYTES FIRST COUNT BASE    how many are there
//     space NAME WORDS                    the answer of that namespace
//     query WORDS                         the node's answer
#include <grp.h>
#include <string.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "weft.h"

namespace {

constexpr uint32_t kAtOnce = 32;
constexpr int32_t kPatienceMs = 60000;

[[noreturn]] void fail(const std::string& words) {
    fprintf(stderr, "honest: %s\n", words.c_str());
    exit(1);
}

uint64_t word_of(uint64_t base, uint64_t number, uint64_t at) {
    uint64_t mixed = (base * 0x9e3779b97f4a7c15 ^ number) * 0xff51afd7ed558ccd + at;
    return (mixed ^ mixed >> 29) * 0xc4ceb9fe1a85ec53;
}

class Honest {
  public:
    explicit Honest(const std::string& options) {
        weft_error error{};
        error.struct_size = sizeof error;
        int32_t opened = weft_open(options.c_str(), &store_, &error);
        if (opened < 0) fail(std::string("open: ") + error.message);
        if (weft_queue_open(store_, nullptr, &queue_, nullptr) < 0) fail("no queue");
    }
    uint64_t save(const std::string& name, uint32_t bytes, uint64_t first, uint64_t count,
                  uint64_t base) {
        prepare(name, bytes);
        uint64_t saved = 0;
        for (uint64_t at = 0; at < count; at += kAtOnce) {
            uint32_t now = list(first + at, std::min<uint64_t>(kAtOnce, count - at), base, bytes);
            for (uint32_t i = 0; i < now; i++) {
                auto* words = reinterpret_cast<uint64_t*>(memory_.data() + i * bytes);
                for (uint64_t w = 0; w < bytes / 8; w++)
                    words[w] = word_of(base, first + at + i, w);
            }
            saved += run(WEFT_OP_SAVE, now).value;
        }
        return saved;
    }
    uint64_t load(const std::string& name, uint32_t bytes, uint64_t first, uint64_t count,
                  uint64_t base) {
        prepare(name, bytes);
        uint64_t there = 0;
        for (uint64_t at = 0; at < count; at += kAtOnce) {
            uint32_t now = list(first + at, std::min<uint64_t>(kAtOnce, count - at), base, bytes);
            memset(memory_.data(), 0, memory_.size());
            run(WEFT_OP_LOAD, now);
            for (uint32_t i = 0; i < now; i++) {
                if (items_[i].status < 0) continue;
                there++;
                judge(memory_.data() + i * bytes, bytes, base, first + at + i, "loaded");
            }
            look(first + at, now, base, bytes);
        }
        return there;
    }
    std::string ask(const std::string& name, const std::string& words) {
        std::string answer(1 << 20, '\0');
        weft_error error{};
        error.struct_size = sizeof error;
        int32_t length = weft_query(store_, name.empty() ? 0 : space(name, ""), words.c_str(),
                                    answer.data(), uint32_t(answer.size()), &error);
        return length < 0 ? error.message : answer.substr(0, size_t(length));
    }

  private:
    uint32_t space(const std::string& name, const std::string& options) {
        auto found = spaces_.find(name);
        if (found != spaces_.end()) return found->second;
        weft_namespace opened{};
        opened.struct_size = sizeof opened;
        weft_error error{};
        error.struct_size = sizeof error;
        if (weft_namespace_open(store_, name.c_str(), options.c_str(), &opened, &error) < 0)
            fail(name + ": " + error.message);
        return spaces_[name] = opened.space;
    }
    void prepare(const std::string& name, uint32_t bytes) {
        space_ = space(name, "part_bytes=" + std::to_string(bytes));
        if (memory_.size() == size_t{bytes} * kAtOnce) return;
        if (region_ != 0) weft_region_drop(store_, region_);
        memory_.assign(size_t{bytes} * kAtOnce, std::byte{0});
        weft_region_adopt(store_, reinterpret_cast<uint64_t>(memory_.data()), memory_.size(), -1,
                          &region_, nullptr);
        if (list_ == 0)
            weft_region_adopt(store_, reinterpret_cast<uint64_t>(items_), sizeof items_, -1, &list_,
                              nullptr);
    }
    uint32_t list(uint64_t first, uint64_t count, uint64_t base, uint32_t bytes) {
        for (uint32_t i = 0; i < count; i++) items_[i] = {base, first + i, i * bytes, bytes, 0};
        return static_cast<uint32_t>(count);
    }
    weft_event run(uint16_t kind, uint32_t count) {
        weft_op op{};
        op.kind = kind;
        op.flags = WEFT_LIST | WEFT_EACH;
        op.key_hi = count;
        op.key_lo = list_;
        op.space = space_;
        op.region = region_;
        if (weft_submit(queue_, &op, 1) != 1) fail("submit");
        weft_event event{};
        if (weft_reap(queue_, &event, 1, kPatienceMs) != 1) fail("no event");
        bool known = event.status == 0 || event.status == -WEFT_EMISS ||
                     event.status == -WEFT_EQUOTA || event.status == -WEFT_EEXISTS;
        if (!known) fail(std::string("an op ended with ") + weft_code_name(event.status));
        return event;
    }
    /** The same blocks in place. */
    void look(uint64_t first, uint32_t count, uint64_t base, uint32_t bytes) {
        list(first, count, base, bytes);
        uint64_t view = 0;
        int32_t viewed = weft_view(store_, space_, 0, items_, count, &view);
        for (int32_t i = 0; i < viewed; i++) {
            judge(reinterpret_cast<const std::byte*>(items_[i].offset), bytes, base,
                  first + uint64_t(i), "viewed");
        }
        if (viewed > 0) weft_release(store_, &view, 1);
    }
    static void judge(const std::byte* bytes, uint32_t size, uint64_t base, uint64_t number,
                      const char* how) {
        for (uint64_t w = 0; w < size / 8; w++) {
            uint64_t word = 0;
            memcpy(&word, bytes + w * 8, 8);
            if (word == word_of(base, number, w)) continue;
            fail(std::string(how) + ": word " + std::to_string(w) + " of block " +
                 std::to_string(base) + "/" + std::to_string(number) + " is wrong");
        }
    }

    weft_store* store_ = nullptr;
    weft_queue* queue_ = nullptr;
    std::map<std::string, uint32_t> spaces_;
    std::vector<std::byte> memory_;
    weft_item items_[kAtOnce] = {};
    uint32_t space_ = 0;
    uint32_t region_ = 0;
    uint32_t list_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) fail("usage: hostile_honest UID SOCKET TOKEN_FILE");
    auto uid = static_cast<uid_t>(std::stoul(argv[1]));
    bool other = setgroups(0, nullptr) == 0 && setresgid(uid, uid, uid) == 0 &&
                 setresuid(uid, uid, uid) == 0;
    if (!other) fail("run as root");
    std::string options =
        std::string("timeout_ms=20000,connect=unix:") + argv[2] + ",token_file=" + argv[3];
    // The node may not have read its tokens again yet.
    usleep(300000);
    Honest honest(options);
    std::cout << "ready" << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string verb;
        std::string name;
        std::string text;
        uint64_t size = 0;
        uint64_t first = 0;
        uint64_t count = 0;
        uint64_t base = 0;
        words >> verb;
        if (verb == "query") {
            std::getline(words >> std::ws, text);
            std::cout << honest.ask("", text) << std::endl;
            continue;
        }
        words >> name;
        if (verb == "space") {
            std::getline(words >> std::ws, text);
            std::cout << honest.ask(name, text) << std::endl;
            continue;
        }
        words >> size >> first >> count >> base;
        auto bytes = static_cast<uint32_t>(size);
        uint64_t done = verb == "save" ? honest.save(name, bytes, first, count, base)
                                       : honest.load(name, bytes, first, count, base);
        std::cout << done << std::endl;
    }
    return 0;
}
