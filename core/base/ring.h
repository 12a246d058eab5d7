// A first-in first-out list whose memory is used again.
//
// Invariants: `begin_` is the place of the first of `count_` values, which go round; a value that
// was taken is left as moved from. One thread at a time.
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

namespace weft {

template <typename T>
class Ring {
  public:
    bool empty() const { return count_ == 0; }
    void push(T&& value) {
        if (count_ == values_.size()) grow();
        values_[(begin_ + count_) % values_.size()] = std::move(value);
        count_++;
    }
    /** Of one that is not empty. */
    T pop() {
        T value = std::move(values_[begin_]);
        begin_ = (begin_ + 1) % values_.size();
        count_--;
        return value;
    }

  private:
    void grow() {
        std::vector<T> larger(values_.empty() ? 16 : 2 * values_.size());
        size_t count = count_;
        for (size_t i = 0; i < count; i++) larger[i] = pop();
        values_ = std::move(larger);
        begin_ = 0;
        count_ = count;
    }
    std::vector<T> values_;
    size_t begin_ = 0;
    size_t count_ = 0;
};

}  // namespace weft
