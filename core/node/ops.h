// How ops are carried out: what can be done here and now is done by the caller's thread inside
// submit, longer copies by the store's copying thread, and what only the node can decide is asked
// of it.
//
// Invariants: an operation is in one Stage; whoever moves it to running owns it until it gives it
// on or finishes it. A reply that comes for an operation that has ended meanwhile gives back what
// it brought (a late grant is aborted, protocols 4).
#pragma once
#include <optional>

#include "core/node/store.h"

namespace weft {

/** 0, or the place of the first wrong field in weft_op + 1. */
uint32_t wrong_field(const weft_op& op);
/** The field at that place, its value and the op's kind, in words. */
std::string wrong_words(const weft_op& op, uint32_t place);

class OpRunner {
  public:
    explicit OpRunner(Store& store) : store_(store) {}

    /** Takes what the op names and starts it. The operation is running and the caller's. */
    void begin(Operation& operation);
    /** Carries the operation on. Copies and hashes of more than its `own_bytes` are left to the
     * copying thread. */
    void go_on(Operation& operation);
    void fail(Operation& operation, int32_t code, std::string_view story, uint32_t detail = 0);
    void finish(Operation& operation);

  private:
    using Continue = Question::Continue;
    /** How far a look at an item came: it is done, the node must be asked, or it is too long for
     * this thread. */
    enum class Read : uint8_t { done, ask, later };
    class Filling;

    bool attach(Operation& operation);
    bool attach_pool(Operation& operation);
    bool attach_items(Operation& operation);
    bool fits_inline(const Operation& operation) const;
    void ask(Operation& operation, Continue then);
    static void answered(Question* question, Reply&& reply);
    void late(const Question& asked, const Reply& reply);
    void forget(Space& space, Mapped& mapped, uint64_t reservation);
    bool let_go(Operation& operation, uint64_t state);
    void queue(Operation& operation);
    /** The request that the op asks next, with nothing but a verb and its deadline. */
    Request& fresh_request(Operation& operation, Verb verb) const;
    Request& request_for(Operation& operation, Verb verb, uint32_t first, uint32_t count) const;

    Key key_of(const Operation& operation, uint32_t item) const;
    uint64_t size_of(const Operation& operation, uint32_t item) const;
    /** Where an item's bytes are in the caller's memory; nothing: beyond the region (ERANGE). */
    std::optional<Place> place_of(const Operation& operation, uint32_t item, uint64_t bytes) const;
    bool is_list(const Operation& operation) const { return (operation.op.flags & WEFT_LIST) != 0; }
    bool over(const Operation& operation) const;
    /** How an op ends whose time is over. */
    int32_t why_over(const Operation& operation) const;
    /** Notes an item's end. bytes: of the whole part, or with WEFT_EMISS the reason. */
    void item_done(Operation& operation, uint32_t item, int32_t status, uint64_t bytes,
                   int32_t tier = 0);
    /** The rest of a chain behind a failure. */
    void cancel_rest(Operation& operation, uint32_t first);
    bool stopped(const Operation& operation) const {
        return operation.failed && (operation.op.flags & WEFT_CHAIN) != 0;
    }
    void tell_uses(Operation& operation);

    void load_or_view(Operation& operation);
    static uint32_t take_cell(const Operation& operation);
    static bool looks_only(const Operation& operation);
    Read read_local(Operation& operation, uint32_t item);
    Read read_located(Operation& operation, uint32_t item, const ReplyItem& where);
    Read read_held(Operation& operation, uint32_t item, uint32_t cell, const Found& found,
                   bool tentative);
    uint64_t bytes_to_read(const Operation& operation, uint32_t item, const Found& found) const;
    int32_t copy_out(Operation& operation, uint32_t item, const Found& found, bool tentative,
                     uint64_t& moved);
    int32_t check_sum(Operation& operation, uint32_t item, const Found& found,
                      const std::byte* bytes, uint64_t size) const;
    void drop_corrupt(Operation& operation);
    void corrupt_dropped(Operation& operation, Reply&& reply);
    void tell_corrupt(Operation& operation, uint32_t item) const;
    void take_view(Operation& operation, uint32_t item, uint32_t cell, const Found& found);
    void located(Operation& operation, Reply&& reply);
    void locate(Operation& operation);
    void match(Operation& operation);
    void matched(Operation& operation, Reply&& reply);

    void save(Operation& operation);
    bool save_batch(Operation& operation);
    bool fill(Operation& operation, std::byte* to, const Place& from, uint64_t size,
              uint64_t& checksum) const;
    void stocked(Operation& operation, Reply&& reply);
    void published(Operation& operation, Reply&& reply);
    void save_ranges(Operation& operation);
    void ranges_reserved(Operation& operation, Reply&& reply);
    void fill_ranges(Operation& operation);
    void ranges_committed(Operation& operation, Reply&& reply);
    void reserved(Operation& operation, Reply&& reply);
    void settled(Operation& operation, Reply&& reply);
    void range_item(Operation& operation, uint32_t item, const ReplyItem& piece, Request& commit);
    bool wants_ranges(const Operation& operation) const;
    bool check_sizes(Operation& operation);
    void committed(Operation& operation, Reply&& reply);
    void waited(Operation& operation, Reply&& reply);
    void advanced(Operation& operation, Reply&& reply);
    void touch_op(Operation& operation);
    void cancel(Operation& operation);

    Store& store_;
};

}  // namespace weft
