// The bodies of weft.h: arguments checked, handles held, exceptions stopped; everything else is
// core/node's Store. Each function is noexcept, so that what slips ends the process instead of
// unwinding into the caller's language.
#include "capi/weft.h"

#include <cstring>
#include <exception>
#include <new>

#include "capi/handles.h"
#include "capi/keys.h"
#include "capi/open_options.h"
#include "core/node/reserve.h"

namespace weft {
namespace {

static_assert(sizeof(weft_op) == 64 && sizeof(weft_item) == 32 && sizeof(weft_event) == 32);

int32_t tell(weft_error* error, int32_t code, const std::string& message) {
    if (error == nullptr || error->struct_size < 8) return -code;
    weft_error full{};
    full.struct_size = std::min<uint32_t>(error->struct_size, sizeof full);
    full.code = code;
    size_t length = std::min(message.size(), sizeof full.message - 1);
    memcpy(full.message, message.data(), length);
    memcpy(error, &full, full.struct_size);
    // A shorter struct of an older caller ends its words too.
    if (full.struct_size > 8 && full.struct_size < sizeof full)
        reinterpret_cast<char*>(error)[full.struct_size - 1] = '\0';
    return -code;
}

int32_t tell(weft_error* error, const Failure& failure) {
    return tell(error, failure.code, failure.message);
}

int32_t tell_hold(weft_error* error, int32_t status) {
    const char* words = status == -WEFT_EFORKED
                            ? "a store does not cross fork: open another one in the child"
                        : status == -WEFT_ECLOSED ? "the handle is closed"
                                                  : "the handle is NULL or none of Weft's";
    return tell(error, -status, words);
}

/** Runs a body that allocates nothing; what it throws becomes a code. */
template <typename F>
int32_t look(weft_error* error, F body) noexcept {
    try {
        return body();
    } catch (const std::bad_alloc&) {
        return tell(error, WEFT_ENOMEM, "out of memory");
    } catch (const std::exception& exception) {
        return tell(error, WEFT_EINTERNAL, exception.what());
    } catch (...) {
        return tell(error, WEFT_EINTERNAL, "an unknown failure");
    }
}

/** Runs a body that may allocate. */
template <typename F>
int32_t guard(weft_error* error, F body) noexcept {
    Reserve::Inside call;
    return look(error, body);
}

/** Runs a body that begins something: not where memory is so short that it might end half-way. */
template <typename F>
int32_t begin(weft_error* error, F body) noexcept {
    return guard(error, [&] {
        return Reserve::put_by() ? body() : tell(error, WEFT_ENOMEM, "out of memory");
    });
}

}  // namespace
}  // namespace weft

using namespace weft;

uint32_t weft_abi(void) { return WEFT_ABI; }

const char* weft_version(void) { return "0.1.0"; }

const char* weft_code_name(int32_t code) {
    static constexpr const char* kNames[] = {
        "OK",       "EINVAL",  "EMISS",     "EEXISTS",   "EFENCED", "EAGAIN",  "ETIMEOUT",
        "EPEER",    "EDENIED", "EQUOTA",    "ENOMEM",    "EBUSY",   "ECLOSED", "EFORKED",
        "ECORRUPT", "ERANGE",  "EINTERNAL", "ECANCELED", "EHELD",   "ENOTSUP"};
    int64_t positive = code < 0 ? -int64_t{code} : int64_t{code};
    return positive < static_cast<int64_t>(std::size(kNames)) ? kNames[positive] : "unknown";
}

int32_t weft_open(const char* options, weft_store** out, weft_error* error) {
    return begin(error, [&] {
        if (out == nullptr) return tell(error, WEFT_EINVAL, "out is NULL");
        *out = nullptr;
        Result<OpenOptions> parsed = parse_open_options(options);
        if (!parsed) return tell(error, parsed.failure());
        Handles::prepare_fork();
        Result<std::unique_ptr<Store>> store =
            Store::open(parsed->store, fabric::Log(parsed->log_fd, parsed->log_level));
        if (!store) return tell(error, store.failure());
        uint64_t handle = Handles::add(Handles::kStore, store->get(), nullptr);
        if (handle == 0)
            return tell(
                error, WEFT_EQUOTA,
                std::to_string(Handles::kMost) + " stores and queues of a process are the limit");
        (void)store->release();
        *out = reinterpret_cast<weft_store*>(handle);
        return 0;
    });
}

int32_t weft_close(weft_store* store) {
    return guard(nullptr, [&] {
        Store* closing = nullptr;
        {
            Handles::Hold hold(Handles::kStore, store);
            if (hold.status != 0) return hold.status;
            Status ready = hold.store->check_close();
            if (!ready) return -ready.failure().code;
            closing = hold.store;
            auto handle = reinterpret_cast<uint64_t>(store);
            if (!Handles::remove(handle, 1)) return -WEFT_ECLOSED;
            // A child may have been opened until just now.
            ready = closing->check_close();
            if (!ready) {
                Handles::put_back(handle);
                return -ready.failure().code;
            }
        }
        delete closing;
        return 0;
    });
}

int32_t weft_query(weft_store* store, uint32_t space, const char* query, char* json_out,
                   uint32_t capacity, weft_error* error) {
    return begin(error, [&] {
        Handles::Hold hold(Handles::kStore, store);
        if (hold.status != 0) return tell_hold(error, hold.status);
        if (query == nullptr || (json_out == nullptr && capacity > 0))
            return tell(error, WEFT_EINVAL, "query or json_out is NULL");
        Result<std::string> json = hold.store->query(space, query);
        if (!json) return tell(error, json.failure());
        if (capacity > 0) {
            size_t length = std::min<size_t>(json->size(), capacity - 1);
            memcpy(json_out, json->data(), length);
            json_out[length] = '\0';
        }
        return static_cast<int32_t>(json->size());
    });
}

int32_t weft_namespace_open(weft_store* store, const char* name, const char* options,
                            weft_namespace* out, weft_error* error) {
    return begin(error, [&] {
        Handles::Hold hold(Handles::kStore, store);
        if (hold.status != 0) return tell_hold(error, hold.status);
        if (name == nullptr || out == nullptr)
            return tell(error, WEFT_EINVAL, "name or out is NULL");
        if (out->struct_size < 8) {
            return tell(error, WEFT_EINVAL,
                        "weft_namespace.struct_size is " + std::to_string(out->struct_size) +
                            ": set it to sizeof(weft_namespace)");
        }
        weft_namespace full{};
        full.struct_size = std::min<uint32_t>(out->struct_size, sizeof full);
        Status opened = hold.store->open_namespace(name, options != nullptr ? options : "", full);
        if (!opened) return tell(error, opened.failure());
        memcpy(out, &full, full.struct_size);
        return 0;
    });
}

int32_t weft_namespace_close(weft_store* store, uint32_t space) {
    return guard(nullptr, [&] {
        Handles::Hold hold(Handles::kStore, store);
        if (hold.status != 0) return hold.status;
        Status closed = hold.store->close_namespace(space);
        return closed ? 0 : -closed.failure().code;
    });
}

int32_t weft_region_map(weft_store* store, uint64_t size, const char* options, uint32_t* region_out,
                        uint64_t* address_out, weft_error* error) {
    return begin(error, [&] {
        Handles::Hold hold(Handles::kStore, store);
        if (hold.status != 0) return tell_hold(error, hold.status);
        if (region_out == nullptr || address_out == nullptr)
            return tell(error, WEFT_EINVAL, "region_out or address_out is NULL");
        if (size == 0 || size > uint64_t{1} << 46)
            return tell(error, WEFT_EINVAL, "size " + std::to_string(size) + ": from 1 to 2^46");
        Result<Options> parsed = Options::parse(options);
        if (!parsed) return tell(error, parsed.failure());
        Status rest = parsed->finish("none yet");
        if (!rest) return tell(error, rest.failure());
        Result<uint32_t> region = hold.store->map_region(size, *address_out);
        if (!region) return tell(error, region.failure());
        *region_out = *region;
        return 0;
    });
}

int32_t weft_region_adopt(weft_store* store, uint64_t address, uint64_t size, int32_t device,
                          uint32_t* region_out, weft_error* error) {
    return begin(error, [&] {
        Handles::Hold hold(Handles::kStore, store);
        if (hold.status != 0) return tell_hold(error, hold.status);
        if (region_out == nullptr) return tell(error, WEFT_EINVAL, "region_out is NULL");
        if (device != -1)
            return tell(error, WEFT_ENOTSUP,
                        "device " + std::to_string(device) + ": this build knows -1, the host");
        bool everything = address == 0 && size == 0;
        if (!everything && (address == 0 || size == 0 || size > UINT64_MAX - address)) {
            return tell(
                error, WEFT_EINVAL,
                "address " + std::to_string(address) + " with size " + std::to_string(size));
        }
        Result<uint32_t> region = hold.store->adopt_region(address, size);
        if (!region) return tell(error, region.failure());
        *region_out = *region;
        return 0;
    });
}

int32_t weft_pool_open(weft_store* store, const char* layout, const uint64_t* bases, uint32_t count,
                       int32_t device, uint32_t* region_out, weft_error* error) {
    return begin(error, [&] {
        Handles::Hold hold(Handles::kStore, store);
        if (hold.status != 0) return tell_hold(error, hold.status);
        if (region_out == nullptr) return tell(error, WEFT_EINVAL, "region_out is NULL");
        if (device != -1)
            return tell(error, WEFT_ENOTSUP,
                        "device " + std::to_string(device) + ": this build knows -1, the host");
        Result<uint32_t> region = hold.store->open_pool(layout, bases, count);
        if (!region) return tell(error, region.failure());
        *region_out = *region;
        return 0;
    });
}

int32_t weft_region_drop(weft_store* store, uint32_t region) {
    return guard(nullptr, [&] {
        Handles::Hold hold(Handles::kStore, store);
        if (hold.status != 0) return hold.status;
        return hold.store->drop_region(region);
    });
}

int32_t weft_queue_open(weft_store* store, const char* options, weft_queue** out,
                        weft_error* error) {
    return begin(error, [&] {
        Handles::Hold hold(Handles::kStore, store);
        if (hold.status != 0) return tell_hold(error, hold.status);
        if (out == nullptr) return tell(error, WEFT_EINVAL, "out is NULL");
        *out = nullptr;
        Result<QueueOptions> parsed = parse_queue_options(options);
        if (!parsed) return tell(error, parsed.failure());
        Result<Queue*> queue =
            hold.store->open_queue(parsed->depth, parsed->inline_bytes, parsed->priority);
        if (!queue) return tell(error, queue.failure());
        uint64_t handle = Handles::add(Handles::kQueue, hold.store, *queue);
        if (handle == 0) {
            hold.store->destroy_queue(*queue);
            return tell(
                error, WEFT_EQUOTA,
                std::to_string(Handles::kMost) + " stores and queues of a process are the limit");
        }
        *out = reinterpret_cast<weft_queue*>(handle);
        return 0;
    });
}

int32_t weft_queue_close(weft_queue* queue) {
    return guard(nullptr, [&] {
        Handles::Hold hold(Handles::kQueue, queue);
        if (hold.status != 0) return hold.status;
        int32_t left = hold.store->close_queue(hold.queue);
        if (left > 0) return left;
        if (!Handles::remove(reinterpret_cast<uint64_t>(queue), 1)) return -WEFT_ECLOSED;
        hold.store->destroy_queue(hold.queue);
        return 0;
    });
}

int32_t weft_queue_fd(weft_queue* queue) {
    return guard(nullptr, [&] {
        Handles::Hold hold(Handles::kQueue, queue);
        return hold.status != 0 ? hold.status : hold.queue->fd();
    });
}

int32_t weft_submit(weft_queue* queue, const weft_op* ops, uint32_t count) {
    return begin(nullptr, [&] {
        Handles::Hold hold(Handles::kQueue, queue);
        if (hold.status != 0) return hold.status;
        if (ops == nullptr && count > 0) return -WEFT_EINVAL;
        return hold.store->submit(*hold.queue, ops, count);
    });
}

int32_t weft_reap(weft_queue* queue, weft_event* events, uint32_t capacity, int32_t timeout_ms) {
    return guard(nullptr, [&] {
        Handles::Hold hold(Handles::kQueue, queue);
        if (hold.status != 0) return hold.status;
        if (events == nullptr || capacity == 0 || timeout_ms < -1) return -WEFT_EINVAL;
        return hold.queue->reap(events, capacity, timeout_ms);
    });
}

int32_t weft_match(weft_store* store, uint32_t space, const weft_item* items, uint32_t count) {
    return look(nullptr, [&] {
        Handles::Hold hold(Handles::kStore, store);
        if (hold.status != 0) return hold.status;
        if (items == nullptr && count > 0) return -WEFT_EINVAL;
        return hold.store->match(space, items, count);
    });
}

int32_t weft_view(weft_store* store, uint32_t space, uint32_t part, weft_item* items,
                  uint32_t count, uint64_t* handle_out) {
    return look(nullptr, [&] {
        Handles::Hold hold(Handles::kStore, store);
        if (hold.status != 0) return hold.status;
        if (handle_out == nullptr || (items == nullptr && count > 0)) return -WEFT_EINVAL;
        return hold.store->view(space, part, items, count, handle_out);
    });
}

int32_t weft_release(weft_store* store, const uint64_t* handles, uint32_t count) {
    return guard(nullptr, [&] {
        Handles::Hold hold(Handles::kStore, store);
        if (hold.status != 0) return hold.status;
        if (handles == nullptr && count > 0) return -WEFT_EINVAL;
        return hold.store->release(handles, count);
    });
}

int32_t weft_keys(const char* options, uint8_t* chain, const uint32_t* tokens, uint32_t token_count,
                  uint32_t block_tokens, weft_item* items, uint32_t capacity, weft_error* error) {
    return begin(error, [&] {
        std::string message;
        int32_t count =
            make_keys(options, chain, tokens, token_count, block_tokens, items, capacity, message);
        return count < 0 ? tell(error, -count, message) : count;
    });
}

int32_t weft_key_of(const uint8_t* bytes, uint64_t size, weft_item* item) {
    return look(nullptr, [&] { return key_of(bytes, size, item); });
}
