/**
 * weft.hpp - C++ over the C ABI of weft.h: what owns something is a class that gives it back. It is
 * header-only, C++17 and one file, so that an engine can also carry it in its own tree.
 *
 * Rules that hold for everything here:
 * - Namespace makes ops (weft_op, the ABI's own struct: set any field before it runs), Queue runs
 *   them, and what they open comes back as a resource. What is not here is done with weft.h, get().
 * - Errors: calls with a story throw weft::Error. How an op ended is a status, in its weft_event or
 *   in the resource it opened: a miss is an answer. A size of 4 GiB or more in an op throws too.
 * - Units: sizes and offsets are bytes, times are milliseconds (_ms) or seconds (_s). The bytes of
 * a block have no shape here.
 * - Owning: resources are move-only. Namespaces, Queues, Regions, Views and Reservations end before
 *   their Store does, Views and Reservations before their Namespace: declared in that order, they
 *   do.
 * - What ends a parent of open children too early leaves it open (WEFT_EBUSY).
 * - Memory: ops made here name all of this process's memory, so that any address will do. It is the
 *   op's until its event has been reaped; when Queue::run returns, it has been.
 * - Threads: as in weft.h. One thread at a time uses one Queue and the Reservations made with it.
 * - Fork: nothing here crosses fork; start processes with exec.
 */
#ifndef WEFT_HPP
#define WEFT_HPP
#include <weft.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace weft {

/** Why a call failed. what() is in words; code() is a WEFT_E number, positive. */
class Error : public std::runtime_error {
  public:
    Error(int32_t code, const std::string& words)
        : std::runtime_error(words.empty() ? weft_code_name(code) : words), code_(code) {}
    int32_t code() const noexcept { return code_; }

  private:
    int32_t code_;
};

/** Returns what a call returned, or throws its Error. */
inline int32_t check(int32_t returned, const weft_error* error = nullptr) {
    if (returned < 0) throw Error(-returned, error != nullptr ? error->message : "");
    return returned;
}

inline weft_error make_error() {
    weft_error error{};
    error.struct_size = sizeof error;
    return error;
}

/** The word for a WEFT_MISS_* number. */
inline const char* miss_reason(uint32_t detail) {
    static constexpr const char* kReasons[] = {"no reason given", "absent", "evicted",
                                               "expired",         "fenced", "partial",
                                               "unreachable",     "far"};
    return detail < sizeof kReasons / sizeof *kReasons ? kReasons[detail] : "unknown reason";
}

/** A block's name in its namespace: 128 bits. A value. */
struct Key {
    uint64_t hi = 0;
    uint64_t lo = 0;

    /** The key of any bytes (a name, a file's content): of their SHA-256. */
    static Key of(const void* bytes, size_t size) {
        weft_item item{};
        check(weft_key_of(static_cast<const uint8_t*>(bytes), size, &item));
        return {item.key_hi, item.key_lo};
    }
    static Key of(const std::string& name) { return of(name.data(), name.size()); }
    /** Of 32 hex digits, as text() writes them; anything else throws WEFT_EINVAL. */
    static Key from_text(const std::string& digits) {
        if (digits.size() != 32 ||
            digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
            throw Error(WEFT_EINVAL, "key \"" + digits + "\": expected 32 hex digits");
        return {std::strtoull(digits.substr(0, 16).c_str(), nullptr, 16),
                std::strtoull(digits.substr(16).c_str(), nullptr, 16)};
    }
    std::string text() const {
        char digits[33];
        std::snprintf(digits, sizeof digits, "%016llx%016llx", static_cast<unsigned long long>(hi),
                      static_cast<unsigned long long>(lo));
        return digits;
    }
    friend bool operator==(const Key& a, const Key& b) { return a.hi == b.hi && a.lo == b.lo; }
    friend bool operator!=(const Key& a, const Key& b) { return !(a == b); }
};

/** A node or a connection to one, and the region that is all of this process's memory. Any thread.
 */
class Store {
  public:
    /** Opens what weft_open's options say, for instance "memory=1GiB" or
     * "connect=unix:/run/weft/weft.sock". */
    explicit Store(const std::string& options) {
        if (weft_abi() < WEFT_ABI)
            throw Error(WEFT_ENOTSUP, std::string("libweft ") + weft_version() +
                                          " is older than the weft.h of this program");
        weft_error error = make_error();
        check(weft_open(options.c_str(), &store_, &error), &error);
        try {
            check(weft_region_adopt(store_, 0, 0, -1, &memory_, &error), &error);
        } catch (...) {
            weft_close(store_);
            throw;
        }
    }
    Store(Store&& other) noexcept
        : store_(std::exchange(other.store_, nullptr)), memory_(std::exchange(other.memory_, 0)) {}
    Store& operator=(Store&& other) noexcept {
        std::swap(store_, other.store_);
        std::swap(memory_, other.memory_);
        return *this;
    }
    ~Store() {
        if (store_ == nullptr) return;
        weft_region_drop(store_, memory_);
        weft_close(store_);
    }
    /** As the destructor, but says what went wrong: WEFT_EBUSY where namespaces, queues or regions
     * are open. */
    void close() {
        if (memory_ != 0) check(weft_region_drop(store_, memory_));
        memory_ = 0;
        check(weft_close(store_));
        store_ = nullptr;
    }

    weft_store* get() const noexcept { return store_; }
    /** The region that is all of this process: offsets in it are addresses, and ops that name it
     * give a size. */
    uint32_t memory() const noexcept { return memory_; }

    /** Asks weft_query's words of a space (0: of all) and returns its JSON. */
    std::string query(const std::string& words, uint32_t space = 0) const {
        std::string answer(size_t{1} << 16, '\0');
        for (;;) {
            weft_error error = make_error();
            const auto capacity = static_cast<uint32_t>(answer.size());
            const int32_t length = check(
                weft_query(store_, space, words.c_str(), answer.data(), capacity, &error), &error);
            const bool whole = static_cast<uint32_t>(length) < capacity;
            answer.resize(static_cast<size_t>(length) + (whole ? 0 : 1));
            if (whole) return answer;
        }
    }
    /** Why an op failed: the story that the store has kept of it as JSON, else the code's name and
     * a miss's reason. */
    std::string story(const weft_event& event) const {
        std::string name = weft_code_name(event.status);
        if (event.status >= 0 || event.status == -WEFT_ERANGE) return name;
        if (event.status == -WEFT_EMISS) return name + ": " + miss_reason(event.detail);
        if (event.handle == 0) return name;
        try {
            return query("error id=" + std::to_string(event.handle));
        } catch (const Error&) {
            return name; /* Only the last stories are kept. */
        }
    }

  private:
    weft_store* store_ = nullptr;
    uint32_t memory_ = 0;
};

/** What stands until it is released: a view, a pin (MATCH with WEFT_PIN), a claim (WAIT with
 * WEFT_CLAIM). Any thread. */
class Hold {
  public:
    Hold() = default;
    Hold(weft_store* store, uint64_t handle) : store_(store), handle_(handle) {}
    /** Takes over what a MATCH or WAIT opened, if it opened anything. */
    Hold(const Store& store, const weft_event& event)
        : Hold(store.get(), event.status >= 0 || event.status == -WEFT_EMISS ? event.handle : 0) {}
    Hold(Hold&& other) noexcept : store_(other.store_), handle_(std::exchange(other.handle_, 0)) {}
    Hold& operator=(Hold&& other) noexcept {
        std::swap(store_, other.store_);
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Hold() { release(); }

    explicit operator bool() const noexcept { return handle_ != 0; }
    uint64_t handle() const noexcept { return handle_; }
    /** Ends it now; the memory of a view must not be read after. */
    void release() noexcept {
        if (handle_ != 0) weft_release(store_, &handle_, 1);
        handle_ = 0;
    }

    /** It has ended by other means: nothing is left to release. */
    void forget() noexcept { handle_ = 0; }

  private:
    weft_store* store_ = nullptr;
    uint64_t handle_ = 0;
};
using Pin = Hold;
using Claim = Hold;

/** Blocks read in place, read-only, unchanged until release. False if nothing was opened; status()
 * says why. */
class View : public Hold {
  public:
    View() = default;
    View(Hold hold, const weft_event& event, const void* data, size_t size)
        : Hold(std::move(hold)),
          event_(event),
          data_(static_cast<const std::byte*>(data)),
          size_(size) {}

    /** The bytes of the part; of a list, null: each item has its address in offset. */
    const std::byte* data() const noexcept { return data_; }
    size_t size() const noexcept { return size_; }
    const std::byte* begin() const noexcept { return data_; }
    const std::byte* end() const noexcept { return data_ + size_; }
    /** 0 or a negated WEFT_E code; of a list, the first failed item's. */
    int32_t status() const noexcept { return event_.status; }
    /** The whole event: of a list, value is how many lead items are open; a miss has its reason in
     * detail. */
    const weft_event& event() const noexcept { return event_; }

  private:
    weft_event event_{};
    const std::byte* data_ = nullptr;
    size_t size_ = 0;
};

/** Memory that ops name. Prefer Store::memory() unless it is made by Weft (map) or lies on a device
 * (adopt). Any thread. */
class Region {
  public:
    /** Bytes made for transfers, mapped here at address(). */
    static Region map(const Store& store, uint64_t size) {
        Region region(store);
        weft_error error = make_error();
        check(weft_region_map(store.get(), size, nullptr, &region.id_, &region.address_, &error),
              &error);
        return region;
    }
    /** The caller's memory; device -1 is the host. It must stay until the region ends. */
    static Region adopt(const Store& store, uint64_t address, uint64_t size, int32_t device = -1) {
        Region region(store);
        weft_error error = make_error();
        check(weft_region_adopt(store.get(), address, size, device, &region.id_, &error), &error);
        region.address_ = address;
        return region;
    }
    /** An engine's paged KV memory, described as for weft_pool_open; it must stay until the region
     * ends. Ops name it in `region`, a page's first token in `offset`, layers in start and size. */
    static Region pool(const Store& store, const std::string& layout, const uint64_t* bases,
                       size_t count, int32_t device = -1) {
        Region region(store);
        weft_error error = make_error();
        if (count > UINT32_MAX) throw Error(WEFT_EINVAL, "pool: too many bases");
        check(weft_pool_open(store.get(), layout.c_str(), bases, static_cast<uint32_t>(count),
                             device, &region.id_, &error),
              &error);
        return region;
    }
    Region(Region&& other) noexcept
        : store_(other.store_), id_(std::exchange(other.id_, 0)), address_(other.address_) {}
    Region& operator=(Region&& other) noexcept {
        std::swap(store_, other.store_);
        std::swap(id_, other.id_);
        std::swap(address_, other.address_);
        return *this;
    }
    ~Region() {
        if (id_ != 0) weft_region_drop(store_, id_);
    }
    uint32_t id() const noexcept { return id_; }
    std::byte* address() const noexcept { return reinterpret_cast<std::byte*>(address_); }

  private:
    explicit Region(const Store& store) : store_(store.get()) {}
    weft_store* store_;
    uint32_t id_ = 0;
    uint64_t address_ = 0;
};

/** `tenant/model` at one version, opened; makes ops on its blocks. Any thread. */
class Namespace {
  public:
    /** Opens name with weft_namespace_open's options, for instance
     * "parts=1,part_bytes=2097152,block_tokens=16". */
    Namespace(const Store& store, const std::string& name, const std::string& options = "")
        : store_(store.get()), memory_(store.memory()) {
        weft_error error = make_error();
        info_.struct_size = sizeof info_;
        check(weft_namespace_open(store_, name.c_str(), options.c_str(), &info_, &error), &error);
    }
    Namespace(Namespace&& other) noexcept
        : store_(other.store_), memory_(other.memory_), info_(other.info_) {
        other.info_.space = 0;
    }
    Namespace& operator=(Namespace&& other) noexcept {
        std::swap(store_, other.store_);
        std::swap(memory_, other.memory_);
        std::swap(info_, other.info_);
        return *this;
    }
    ~Namespace() {
        if (info_.space != 0) weft_namespace_close(store_, info_.space);
    }

    uint32_t space() const noexcept { return info_.space; }
    /** The layout as stored, the version opened and the floor at that time. */
    const weft_namespace& info() const noexcept { return info_; }

    /** An op of this kind (WEFT_OP_*) on one block. */
    weft_op op(uint16_t kind, Key key = {}, uint32_t flags = 0) const {
        weft_op op{};
        op.kind = kind;
        op.key_hi = key.hi;
        op.key_lo = key.lo;
        op.flags = flags;
        op.space = info_.space;
        return op;
    }
    /** An op on count items, which stay where they are until its event; WEFT_LIST is set. LOAD and
     * SAVE take addresses. */
    weft_op list(uint16_t kind, weft_item* items, size_t count, uint32_t flags = 0) const {
        weft_op op = this->op(kind, {count, memory_}, flags | WEFT_LIST);
        op.offset = reinterpret_cast<uintptr_t>(items);
        if (kind == WEFT_OP_LOAD || kind == WEFT_OP_SAVE) op.region = memory_;
        return op;
    }
    /** Saves size bytes as (the beginning of, or from op.start) the block's part 0, or op.part. */
    weft_op save(Key key, const void* bytes, size_t size, uint32_t flags = 0) const {
        return move(WEFT_OP_SAVE, key, bytes, size, flags);
    }
    /** Loads at most size bytes of the block's part. The event's handle is how many bytes the whole
     * part has. */
    weft_op load(Key key, void* bytes, size_t size, uint32_t flags = 0) const {
        return move(WEFT_OP_LOAD, key, bytes, size, flags);
    }

    /** How many of these lead blocks this host's memory holds. No lock, no system call. */
    size_t match(const weft_item* items, size_t count) const {
        return static_cast<size_t>(check(weft_match(store_, info_.space, items, size_u32(count))));
    }
    /** Views the lead items that this host's memory holds, addresses in their offset; event().value
     * says how many. */
    View view(weft_item* items, size_t count, uint16_t part = 0) const {
        weft_event event{};
        event.status = weft_view(store_, info_.space, part, items, size_u32(count), &event.handle);
        if (event.status > 0) event.value = static_cast<uint64_t>(std::exchange(event.status, 0));
        return {Hold(store_, event.value > 0 ? event.handle : 0), event, nullptr, 0};
    }

    /** A size as ops carry it; 4 GiB or more throws WEFT_EINVAL. */
    static uint32_t size_u32(size_t size) {
        if (size > UINT32_MAX)
            throw Error(WEFT_EINVAL, "size " + std::to_string(size) + " exceeds 4294967295");
        return static_cast<uint32_t>(size);
    }

  private:
    weft_op move(uint16_t kind, Key key, const void* bytes, size_t size, uint32_t flags) const {
        weft_op op = this->op(kind, key, flags);
        op.region = memory_;
        op.offset = reinterpret_cast<uintptr_t>(bytes);
        op.size = size_u32(size);
        return op;
    }
    weft_store* store_;
    uint32_t memory_;
    weft_namespace info_{};
};

/** A part open for writing in place. False if it was not opened; status() says why. Ends with
 * commit, else it is aborted. */
class Reservation {
  public:
    Reservation() = default;
    Reservation(weft_queue* queue, uint32_t space, Hold hold, const weft_event& event, size_t size)
        : queue_(queue), space_(space), hold_(std::move(hold)), event_(event), size_(size) {}

    explicit operator bool() const noexcept { return static_cast<bool>(hold_); }
    /** The part's bytes; of a list, null: each item has its address in offset. */
    std::byte* data() const noexcept {
        return size_ == 0 ? nullptr : reinterpret_cast<std::byte*>(event_.value);
    }
    size_t size() const noexcept { return size_; }
    /** 0 or a negated WEFT_E code; of a list, the first failed item's. */
    int32_t status() const noexcept { return event_.status; }
    const weft_event& event() const noexcept { return event_; }

    /** Publishes the part; detail is 1 if that published the block. Nothing may be written after,
     * whatever it returns. */
    weft_event commit(uint32_t ttl_s = 0, uint32_t flags = 0);
    /** Makes the part's bytes before `size` final, for those who follow; writing goes on behind
     * them. */
    weft_event commit_more(size_t size);
    /** Drops the reservation. Nothing may be written after. */
    weft_event abort();

  private:
    weft_event end(uint16_t kind, uint32_t flags, uint32_t size, uint32_t ttl_s);
    weft_queue* queue_ = nullptr;
    uint32_t space_ = 0;
    Hold hold_; /* drops what is neither committed nor aborted */
    weft_event event_{};
    size_t size_ = 0;
};

/** How ops are run. One thread at a time. */
class Queue {
  public:
    /** Opens one with weft_queue_open's options, for instance "depth=256,priority=high". */
    explicit Queue(const Store& store, const std::string& options = "")
        : store_(store.get()), memory_(store.memory()) {
        weft_error error = make_error();
        check(weft_queue_open(store_, options.c_str(), &queue_, &error), &error);
    }
    Queue(Queue&& other) noexcept
        : store_(other.store_),
          memory_(other.memory_),
          queue_(std::exchange(other.queue_, nullptr)) {}
    Queue& operator=(Queue&& other) noexcept {
        std::swap(store_, other.store_);
        std::swap(memory_, other.memory_);
        std::swap(queue_, other.queue_);
        return *this;
    }
    /** Ends the ops in flight and drops their events. */
    ~Queue() {
        weft_event events[64];
        while (queue_ != nullptr && weft_queue_close(queue_) > 0)
            if (weft_reap(queue_, events, 64, -1) < 0) break;
    }
    weft_queue* get() const noexcept { return queue_; }
    /** An eventfd, readable while there are events; it is the queue's, do not close it. */
    int fd() const { return check(weft_queue_fd(queue_)); }

    /** Returns how many ops were taken: fewer than count, 0 too, when the queue is full. */
    size_t submit(const weft_op* ops, size_t count) {
        const int32_t taken = weft_submit(queue_, ops, Namespace::size_u32(count));
        return taken == -WEFT_EAGAIN ? 0 : static_cast<size_t>(check(taken));
    }
    /** Returns how many events came: 0 at the timeout; -1 waits for good. */
    size_t reap(weft_event* events, size_t capacity, int32_t timeout_ms = -1) {
        return static_cast<size_t>(
            check(weft_reap(queue_, events, Namespace::size_u32(capacity), timeout_ms)));
    }
    /** Submits one op and returns its event. For a queue without other ops in flight. */
    weft_event run(const weft_op& op) { return run(queue_, op); }
    static weft_event run(weft_queue* queue, const weft_op& op) {
        weft_event event{};
        check(weft_submit(queue, &op, 1));
        check(weft_reap(queue, &event, 1, -1));
        if (event.tag != op.tag) throw Error(WEFT_EBUSY, "run: the queue has other ops in flight");
        return event;
    }

    /** Runs a VIEW: of Namespace::op, or of Namespace::list, then each item gets its address. */
    View view(weft_op op) {
        op.kind = WEFT_OP_VIEW;
        const weft_event event = run(op);
        Hold hold(store_, opened(op, event) ? event.handle : 0);
        if ((op.flags & WEFT_LIST) != 0 || !hold) return {std::move(hold), event, nullptr, 0};
        return {std::move(hold), event, reinterpret_cast<const void*>(event.value), event.detail};
    }
    /** Runs a RESERVE, likewise. op.size: bytes of the part where the namespace does not fix them.
     */
    Reservation reserve(weft_op op) {
        op.kind = WEFT_OP_RESERVE;
        const weft_event event = run(op);
        const bool list = (op.flags & WEFT_LIST) != 0;
        const bool is_open = opened(op, event);
        return {queue_, op.space, Hold(store_, is_open ? event.handle : 0), event,
                list || !is_open ? 0 : event.detail};
    }

  private:
    /* A failed single op's handle is a story; a list's is the view's as soon as one item was
     * opened. */
    bool opened(const weft_op& op, const weft_event& event) const {
        if (event.status >= 0 || (op.flags & WEFT_LIST) == 0) return event.status >= 0;
        if (op.key_lo != memory_)
            throw Error(WEFT_EINVAL, "view, reserve: make lists with Namespace::list");
        const auto* items = reinterpret_cast<const weft_item*>(op.offset);
        for (uint64_t i = 0; i < op.key_hi; i++)
            if (items[i].status >= 0) return true;
        return false;
    }
    weft_store* store_;
    uint32_t memory_;
    weft_queue* queue_ = nullptr;
};

inline weft_event Reservation::end(uint16_t kind, uint32_t flags, uint32_t size, uint32_t ttl_s) {
    weft_op op{};
    op.kind = kind;
    op.space = space_;
    op.offset = hold_.handle();
    op.flags = flags;
    op.size = size;
    op.ttl_s = ttl_s;
    if ((flags & WEFT_MORE) != 0) return Queue::run(queue_, op);
    Hold left = std::move(hold_); /* dropped here where the op could not end it */
    const weft_event event = Queue::run(queue_, op);
    if (event.status >= 0) left.forget();
    return event;
}
inline weft_event Reservation::commit(uint32_t ttl_s, uint32_t flags) {
    return end(WEFT_OP_COMMIT, flags, 0, ttl_s);
}
inline weft_event Reservation::commit_more(size_t size) {
    return end(WEFT_OP_COMMIT, WEFT_MORE, Namespace::size_u32(size), 0);
}
inline weft_event Reservation::abort() { return end(WEFT_OP_ABORT, 0, 0, 0); }

/** The keys of a prompt's full blocks, in order; options as for weft_keys. */
inline std::vector<weft_item> keys(const std::string& options, const uint32_t* tokens,
                                   size_t token_count, uint32_t block_tokens,
                                   uint8_t* chain = nullptr) {
    weft_error error = make_error();
    std::vector<weft_item> items(block_tokens == 0 ? 0 : token_count / block_tokens);
    const int32_t count =
        check(weft_keys(options.c_str(), chain, tokens, Namespace::size_u32(token_count),
                        block_tokens, items.data(), Namespace::size_u32(items.size()), &error),
              &error);
    items.resize(static_cast<size_t>(count));
    return items;
}

}  // namespace weft
#endif
