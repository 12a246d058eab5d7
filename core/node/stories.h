// Why ops failed, in words: the last kKept stories, found by the id that an event's handle carries
// (weft_query "error id=N").
//
// Invariants: telling one allocates nothing; an id that was overwritten is not found. Any thread.
#pragma once
#include <array>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace weft {

class Stories {
  public:
    static constexpr uint64_t kKept = 1024;

    uint64_t tell(int32_t code, std::string_view words) {
        std::lock_guard<std::mutex> guard(lock_);
        Story& story = stories_[++last_ % kKept];
        story.id = last_;
        story.code = code;
        size_t length = std::min(words.size(), sizeof story.words - 1);
        memcpy(story.words, words.data(), length);
        story.words[length] = '\0';
        return last_;
    }
    struct Told {
        int32_t code;
        std::string words;
    };
    std::optional<Told> find(uint64_t id) {
        std::lock_guard<std::mutex> guard(lock_);
        const Story& story = stories_[id % kKept];
        if (id == 0 || story.id != id) return std::nullopt;
        return Told{story.code, story.words};
    }

  private:
    struct Story {
        uint64_t id = 0;
        int32_t code = 0;
        char words[244] = {};
    };
    std::mutex lock_;
    std::array<Story, kKept> stories_{};
    uint64_t last_ = 0;
};

}  // namespace weft
