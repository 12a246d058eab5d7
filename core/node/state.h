// What a node keeps on disk (state=DIR) and how one node knows that another has ended (protocols
// 3). One lock file, held with flock, carries a clean mark.
//
// Invariants: a saved text is on disk, whole, when save returns; the clean mark is written after
// serve_until = 0 was stored and before the lock is let go; whoever takes the lock removes the mark
// before it accepts sessions, and where there was none it waits until the leases of a node that
// died have run out.
#pragma once
#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/cache.h"
#include "fabric/memory/memory.h"

namespace weft {

class LockFile {
  public:
    LockFile() = default;
    /** WEFT_EBUSY naming the holder when it is held. */
    static Result<LockFile> take(const std::string& path);
    bool was_clean() const { return was_clean_; }
    /** Leaves the mark; the lock goes with the object. */
    void mark_clean();

  private:
    fabric::Descriptor fd_;
    bool was_clean_ = true;
};

class StateDirectory : public StateKeeper {
  public:
    explicit StateDirectory(std::string path) : path_(std::move(path)) {}
    Status prepare() const;
    Result<std::string> load() const;
    Status save(const std::string& text) override;

  private:
    std::string path_;
};

}  // namespace weft
