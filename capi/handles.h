// What the ABI's opaque pointers are: a kind, a place in one table, and the place's generation,
// never an address. Bits 48 to 63 hold a mark that no address of this machine has, so that whoever
// dereferences a handle faults at once.
//
// Invariants: a handle that was closed, or never was, is told from a live one by one load; a call
// holds its handle while it runs, and closing waits for the calls that do. The table is the one
// static object of the library: C callers have nothing else in which to keep it. After a fork every
// handle of the parent says WEFT_EFORKED.
#pragma once
#include <atomic>
#include <cstdint>

#include "capi/weft.h"

namespace weft {

class Queue;
class Store;

class Handles {
  public:
    static constexpr uint32_t kMost = 4095;
    enum Kind : uint64_t { kStore = 1, kQueue = 2 };

    /** 0: the table is full. */
    static uint64_t add(Kind kind, Store* store, Queue* queue);
    /** Nobody enters any more; waits until `left` calls are inside. False: another call removes it.
     */
    static bool remove(uint64_t handle, uint32_t left);
    /** What was removed is there again. */
    static void put_back(uint64_t handle);
    static void prepare_fork();

    /** A call's hold on a handle. status: 0 or a negated code. */
    class Hold {
      public:
        Hold(Kind kind, const void* handle) { enter(kind, reinterpret_cast<uint64_t>(handle)); }
        ~Hold();
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;
        int32_t status = 0;
        Store* store = nullptr;
        Queue* queue = nullptr;

      private:
        void enter(Kind kind, uint64_t handle);
        uint32_t place_ = UINT32_MAX;
    };
};

}  // namespace weft
