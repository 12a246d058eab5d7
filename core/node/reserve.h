// Memory put by, so that work that has begun never ends half-way for want of it.
//
// The cache is made of standard containers, and a change of it takes several of them: an allocation
// that fails between two would leave slots that nobody owns. So this process keeps a block of
// memory for that case. Where operator new fails on a thread that is inside Weft, the block is
// given back to the heap and the allocation tried again (std::new_handler); from then on calls that
// begin work end with WEFT_ENOMEM, until a block can be put by again.
//
// Invariants: threads that are not inside Weft never take from it: for them whatever handler the
// host had stays. One for a process, as operator new is. What one piece of work needs beyond it
// fails by std::bad_alloc, as ever.
#pragma once
#include <cstddef>

namespace weft {

class Reserve {
  public:
    static constexpr size_t kBytes = size_t{1} << 20;

    /** Puts the block by, unless there is one. False: the machine has no memory for it, so nothing
     * new is to be begun. Any thread. */
    static bool put_by();

    /** This thread is inside Weft while it lives. */
    class Inside {
      public:
        Inside();
        ~Inside();
        Inside(const Inside&) = delete;
        Inside& operator=(const Inside&) = delete;

      private:
        bool before_;
    };
};

}  // namespace weft
