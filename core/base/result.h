// How a function of Weft says that it failed: a value or a Failure, which is a WEFT_E code and the
// words for it. Expected outcomes (a miss) are values. A message names the thing and the number.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace weft {

struct Failure {
    int32_t code = 0;  // positive, WEFT_E*
    std::string message;
};

template <typename T>
class [[nodiscard]] Result {
  public:
    Result(T value) : state_(std::move(value)) {}
    Result(Failure failure) : state_(std::move(failure)) {}
    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }
    T& operator*() { return std::get<0>(state_); }
    const T& operator*() const { return std::get<0>(state_); }
    T* operator->() { return &std::get<0>(state_); }
    const Failure& failure() const { return std::get<1>(state_); }

  private:
    std::variant<T, Failure> state_;
};

struct Nothing {};
using Status = Result<Nothing>;

}  // namespace weft
