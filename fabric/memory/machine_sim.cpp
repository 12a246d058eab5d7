// Stores are numbered per word; number 0 is what stood there when the actors began.
#include "fabric/memory/machine_sim.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>

namespace weft::fabric::sim {
namespace {

void join(View& into, const View& from) {
    for (size_t i = 0; i < into.size(); i++) into[i] = std::max(into[i], from[i]);
}

}  // namespace

Machine::Machine(size_t words) : memory_(words), number_(words), users_(words) {}

void Machine::reset() {
    running_ = false;
    for (uint64_t* raw : dirty_) *raw = 0;
    dirty_.clear();
}

void Machine::begin(Decider& decider) {
    decider_ = &decider;
    for (Shared& word : shared_) {
        word.stores.clear();
        word.stores.push_back({*word.raw, View{}});
        word.writer = 0;
        word.written = 0;
        word.read.fill(0);
    }
    actors_.fill(Actor());
    fenced_.fill(0);
    memory_hash_ = 0;
    actor_ = 0;
    running_ = true;
}

void Machine::forget() {
    shared_.clear();
    found_.clear();
    std::fill(number_.begin(), number_.end(), 0);
    std::fill(users_.begin(), users_.end(), 0);
}

bool Machine::grow() {
    if (found_.empty()) return false;
    for (uint64_t* raw : found_) {
        auto place = static_cast<size_t>(raw - memory_.data());
        if (number_[place] != 0) continue;
        if (shared_.size() >= kSharedMax) abort();  // a smaller scenario, or a larger View
        shared_.push_back({raw, {}});
        number_[place] = static_cast<uint8_t>(shared_.size());
    }
    found_.clear();
    return true;
}

uint64_t Machine::state() const {
    uint64_t hash = memory_hash_ ^ XXH3_64bits(fenced_.data(), fenced_.size());
    for (const Actor& actor : actors_) hash = XXH3_64bits_withSeed(&actor, sizeof(Actor), hash);
    return hash;
}

/** The word as one that is shared; nullptr: a plain access does. */
Machine::Shared* Machine::shared(const uint64_t* raw, Use use, bool plain) {
    if (!running_) return nullptr;
    auto place = static_cast<size_t>(raw - memory_.data());
    if (place >= memory_.size()) return nullptr;
    uint8_t& users = users_[place];
    auto with = static_cast<uint8_t>(users | 1U << (use + actor_));
    if (with != users) {
        users = with;
        uint32_t storers = with >> kStores;
        uint32_t all = storers | (with & ((1U << kStores) - 1));
        if (!plain && !std::has_single_bit(storers) && storers != 0) {
            std::fprintf(stderr, "sim: word %zu is stored to by several actors\n", place);
            abort();
        }
        if (storers != 0 && !std::has_single_bit(all) && number_[place] == 0)
            found_.push_back(&memory_[place]);
    }
    return number_[place] == 0 ? nullptr : &shared_[number_[place] - 1U];
}

void Machine::remember(Actor& actor, uint64_t value) {
    actor.past = (actor.past ^ value) * 0x9e3779b97f4a7c15 + 0x632be59bd9b4e019;
    actor.past ^= actor.past >> 29;
}

void Machine::append(Shared& word, uint64_t value, const View& carried) {
    auto place = static_cast<size_t>(&word - shared_.data()) + kActorsMax;
    if (word.stores.size() > UINT8_MAX) abort();  // more stores to a word than a View can number
    auto number = static_cast<uint8_t>(word.stores.size());
    word.stores.push_back({value, carried});
    Store& added = word.stores.back();
    added.view[place] = number;
    actors_[actor_].now[place] = number;
    memory_hash_ ^= XXH3_64bits_withSeed(&added, sizeof(Store), place << 8 | number);
    *word.raw = value;
}

uint64_t Machine::hash_plain(const Shared& word) const {
    auto place = static_cast<uint64_t>(&word - shared_.data());
    uint64_t seed =
        *word.raw ^ (place << 48 | uint64_t{word.writer} << 40 | uint64_t{word.written} << 32);
    return XXH3_64bits_withSeed(&word.read, sizeof(word.read), seed);
}

uint64_t Machine::load(const uint64_t* raw, Order order) {
    Shared* word = shared(raw, kLoads);
    // What an actor stored itself it reads as it stored it, whatever the others do meanwhile.
    if (word == nullptr ||
        users_[static_cast<size_t>(raw - memory_.data())] >> kStores == 1U << actor_)
        return *raw;
    decider_->yield();
    if (!running_) return *raw;
    Actor& actor = actors_[actor_];
    uint8_t& oldest = actor.now[static_cast<size_t>(word - shared_.data()) + kActorsMax];
    // Of stores of one value the oldest stands for all: what it obliges its reader to, the later
    // ones of its storer do too.
    std::array<uint8_t, UINT8_MAX + 1> numbers;
    uint32_t count = 0;
    for (size_t number = oldest; number < word->stores.size(); number++) {
        uint64_t value = word->stores[number].value;
        bool known = std::any_of(numbers.begin(), numbers.begin() + count,
                                 [&](uint8_t other) { return word->stores[other].value == value; });
        if (!known) numbers[count++] = static_cast<uint8_t>(number);
    }
    uint32_t stale = count > 1 ? decider_->choose(count) : 0;
    oldest = numbers[count - 1 - stale];
    const Store& read = word->stores[oldest];
    join(actor.acquired, read.view);
    if (order == Order::acquire) join(actor.now, read.view);
    remember(actor, read.value);
    decider_->saw(order == Order::acquire ? "load acquire" : "load", raw, read.value, stale);
    return read.value;
}

void Machine::store(uint64_t* raw, uint64_t value, Order order) {
    if (*raw == 0) dirty_.push_back(raw);
    Shared* word = shared(raw, kStores);
    if (word == nullptr) {
        *raw = value;
        return;
    }
    Actor& actor = actors_[actor_];
    append(*word, value, order == Order::release ? actor.now : actor.released);
    remember(actor, 1);
    decider_->saw(order == Order::release ? "store release" : "store", raw, value, 0);
}

uint64_t Machine::update(uint64_t* raw, uint64_t value, bool add, bool acquire_release) {
    if (*raw == 0) dirty_.push_back(raw);
    Shared* word = shared(raw, kStores);
    uint64_t before = *raw;
    uint64_t after = add ? before + value : value;
    if (word == nullptr) {
        *raw = after;
        return before;
    }
    Actor& actor = actors_[actor_];
    View carried = word->stores.back().view;  // it continues the release sequence that it read from
    join(actor.acquired, carried);
    if (acquire_release) join(actor.now, carried);
    join(carried, acquire_release ? actor.now : actor.released);
    append(*word, after, carried);
    remember(actor, before);
    decider_->saw("update", raw, after, 0);
    return before;
}

void Machine::fence(Order order) {
    if (!running_) return;
    Actor& actor = actors_[actor_];
    if (order == Order::acquire) join(actor.now, actor.acquired);
    if (order == Order::release) actor.released = actor.now;
    decider_->saw(order == Order::acquire ? "fence acquire" : "fence release", nullptr, 0, 0);
}

void Machine::fence_seq_cst() {
    if (!running_) return;
    decider_->yield();
    if (!running_) return;
    Actor& actor = actors_[actor_];
    join(actor.now, actor.acquired);
    join(fenced_, actor.now);
    // It says what may be read of words; it orders no plain access behind another.
    std::fill_n(fenced_.begin(), kActorsMax, 0);
    join(actor.now, fenced_);
    actor.released = actor.now;
    remember(actor, 2);
    decider_->saw("fence seq_cst", nullptr, 0, 0);
}

uint64_t Machine::plain_load(const uint64_t* raw) {
    Shared* word = shared(raw, kLoads, true);
    if (word == nullptr) return *raw;
    Actor& actor = actors_[actor_];
    decider_->saw("plain load", raw, *raw, 0);
    if (actor.now[word->writer] < word->written) decider_->race(raw);
    memory_hash_ ^= hash_plain(*word);
    word->read[actor_] = ++actor.now[actor_];
    memory_hash_ ^= hash_plain(*word);
    remember(actor, *raw);
    return *raw;
}

void Machine::plain_store(uint64_t* raw, uint64_t value) {
    if (*raw == 0) dirty_.push_back(raw);
    Shared* word = shared(raw, kStores, true);
    if (word == nullptr) {
        *raw = value;
        return;
    }
    Actor& actor = actors_[actor_];
    decider_->saw("plain store", raw, value, 0);
    bool raced = actor.now[word->writer] < word->written;
    for (uint32_t other = 0; other < kActorsMax; other++)
        raced |= actor.now[other] < word->read[other];
    if (raced) decider_->race(raw);
    memory_hash_ ^= hash_plain(*word);
    *raw = value;
    word->writer = actor_;
    word->written = ++actor.now[actor_];
    memory_hash_ ^= hash_plain(*word);
    remember(actor, 3);
}

}  // namespace weft::fabric::sim
