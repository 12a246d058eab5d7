// Stores and their readers. Clocks that stores carry are kept once and named by number.
#include "fabric/memory/histories_sim.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>

namespace weft::fabric::sim {
namespace {

template <typename T>
T* room(size_t count) {
    void* area = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) abort();
    return static_cast<T*>(area);
}

/** Never beyond what is reserved: a run's own memory, from which more would come, ends with it. */
template <typename T>
void add(std::vector<T>& to, const T& one) {
    if (to.size() == to.capacity()) abort();
    to.push_back(one);
}

}  // namespace

Histories::Histories()
    : words_(room<uint64_t>(kWords)),
      bytes_(room<std::byte>(kBytesMax)),
      number_(room<uint32_t>(kWords)),
      granules_(room<Granule>(kBytesMax / kGranule)) {
    known_.reserve(size_t{1} << 17);
    carries_.reserve(size_t{1} << 21);
}

Histories::~Histories() {
    munmap(words_, kWords * sizeof(uint64_t));
    munmap(bytes_, kBytesMax);
    munmap(number_, kWords * sizeof(uint32_t));
    munmap(granules_, kBytesMax / kGranule * sizeof(Granule));
}

void Histories::reset(Chance& chance, uint64_t visible) {
    for (size_t i = 0; i < known_count_; i++) {
        *known_[i].raw = 0;
        number_[known_[i].raw - words_] = 0;
    }
    known_count_ = 0;
    carries_.clear();
    carries_.push_back(Clock());
    clocks_.fill(Process());
    fenced_ = Clock();
    chance_ = &chance;
    visible_ = visible;
    process_ = kOutside;
    run_++;
    stale_loads_ = 0;
}

/** The word, if it was ever stored to. */
Histories::Word* Histories::find(const uint64_t* raw) const {
    auto place = static_cast<size_t>(raw - words_);
    if (place >= kWords || number_[place] == 0) return nullptr;
    return const_cast<Word*>(&known_[number_[place] - 1]);
}

Histories::Word& Histories::know(uint64_t* raw) {
    if (Word* word = find(raw)) return *word;
    if (known_count_ == known_.size()) add(known_, Word());
    Word& word = known_[known_count_++];
    word.raw = raw;
    word.stores = 1;
    word.storers = word.seers = 0;
    word.last[0] = {*raw, 0, 0};
    for (Sights& sights : word.sights) sights.count = 0;
    number_[raw - words_] = static_cast<uint32_t>(known_count_);
    return word;
}

uint32_t Histories::keep(const Clock& clock) {
    add(carries_, clock);
    return static_cast<uint32_t>(carries_.size() - 1);
}

/** The current process wrote or read this store. */
void Histories::see(Word& word, uint32_t store) {
    uint32_t event = ++clocks_[process_].now.at[process_];
    word.seers |= 1U << process_;
    Sights& sights = word.sights[process_];
    if (sights.count > 0 && sights.last[sights.count - 1].store == store) return;
    if (sights.count == kSights) {
        // The two oldest become one that obliges to more.
        sights.last[0].store = sights.last[1].store;
        std::copy(sights.last.begin() + 2, sights.last.end(), sights.last.begin() + 1);
        sights.count--;
    }
    sights.last[sights.count++] = {event, store};
}

void Histories::append(Word& word, uint64_t value, uint32_t carry) {
    word.last[word.stores % kStores] = {value, chance_->now(), carry};
    word.stores++;
    word.storers |= 1U << process_;
    *word.raw = value;
}

/** The oldest kept store that the process may still read. */
uint32_t Histories::oldest_for(const Word& word, const Process& process) const {
    const Clock& fence = carries_[process.now.fence];
    uint32_t newest = word.stores - 1;
    uint32_t oldest = newest - std::min(newest, kStores - 1);
    for (uint32_t other = 0; other < kProcessesMax; other++) {
        const Sights& sights = word.sights[other];
        uint32_t past = std::max(process.now.at[other], fence.at[other]);
        for (uint32_t i = sights.count; i > 0; i--) {
            if (sights.last[i - 1].event > past) continue;
            oldest = std::max(oldest, sights.last[i - 1].store);
            break;
        }
    }
    while (oldest < newest && word.last[(oldest + 1) % kStores].made + visible_ < chance_->now())
        oldest++;
    return oldest;
}

uint64_t Histories::load(const uint64_t* raw, Order order) {
    Word* word = find(raw);
    if (word == nullptr || process_ == kOutside) return *raw;
    // What a process alone stores it reads as it stored it.
    if (word->storers == 1U << process_) return *raw;
    chance_->yield();
    word = find(raw);  // others may have made more words known
    Process& process = clocks_[process_];
    uint32_t newest = word->stores - 1;
    uint32_t oldest = oldest_for(*word, process);
    uint32_t stale = newest > oldest ? chance_->choose(newest - oldest + 1) : 0;
    if (stale > 0) stale_loads_++;
    const Store& read = word->last[(newest - stale) % kStores];
    const Clock& carried = carries_[read.carry];
    process.acquired.join(carried);
    if (order == Order::acquire) process.now.join(carried);
    see(*word, newest - stale);
    return read.value;
}

/** Others may do something first, if any of them has looked at the word. */
Histories::Word& Histories::about_to_store(uint64_t* raw) {
    Word& word = know(raw);
    if ((word.seers & ~(1U << process_)) == 0) return word;
    chance_->yield();
    return know(raw);  // others may have made more words known
}

void Histories::store(uint64_t* raw, uint64_t value, Order order) {
    if (process_ == kOutside) {
        *raw = value;
        return;
    }
    Word& word = about_to_store(raw);
    see(word, word.stores);
    Process& process = clocks_[process_];
    append(word, value, order == Order::release ? keep(process.now) : process.released);
}

uint64_t Histories::update(uint64_t* raw, uint64_t value, bool add, bool acquire_release) {
    if (process_ == kOutside) {
        uint64_t before = *raw;
        *raw = add ? before + value : value;
        return before;
    }
    Word& word = about_to_store(raw);
    uint64_t before = *raw;
    uint64_t after = add ? before + value : value;
    Process& process = clocks_[process_];
    // It continues the release sequence that it read from.
    Clock carried = carries_[word.last[(word.stores - 1) % kStores].carry];
    process.acquired.join(carried);
    if (acquire_release) process.now.join(carried);
    see(word, word.stores);
    carried.join(acquire_release ? process.now : carries_[process.released]);
    append(word, after, keep(carried));
    return before;
}

void Histories::fence(Order order) {
    if (process_ == kOutside) return;
    Process& process = clocks_[process_];
    if (order == Order::acquire) process.now.join(process.acquired);
    if (order == Order::release) process.released = keep(process.now);
}

void Histories::fence_seq_cst() {
    if (process_ == kOutside) return;
    chance_->yield();
    Process& process = clocks_[process_];
    process.now.join(process.acquired);
    fenced_.join(process.now);
    process.now.fence = keep(fenced_);
    process.released = keep(process.now);
}

bool Histories::touch(const std::byte* at, size_t size, bool write) {
    if (process_ == kOutside || size == 0) return true;
    Process& process = clocks_[process_];
    uint32_t event = ++process.now.at[process_];
    auto begin = static_cast<size_t>(at - bytes_);
    bool ordered = true;
    for (size_t i = begin / kGranule; i <= (begin + size - 1) / kGranule; i++) {
        Granule& granule = granules_[i];
        if (granule.run != run_) granule = Granule{run_, 0, 0, {}};
        ordered = ordered && granule.written <= process.now.at[granule.writer];
        if (!write) {
            granule.read[process_] = event;
            continue;
        }
        for (uint32_t other = 0; other < kProcessesMax; other++)
            ordered = ordered && granule.read[other] <= process.now.at[other];
        granule.writer = process_;
        granule.written = event;
    }
    return ordered;
}

}  // namespace weft::fabric::sim
