// A process's hazard cells: the limit, and handles that are told from live ones.
#include "core/index/cells.h"

#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <set>
#include <vector>

using namespace weft;

namespace {

struct Page {
    Page() { memset(static_cast<void*>(page.get()), 0, sizeof(ReaderPage)); }
    std::unique_ptr<ReaderPage> page{new ReaderPage};
};

uint32_t view_of(Cells& cells, std::initializer_list<uint32_t> of) {
    uint32_t last = Cells::kNone;
    for (uint32_t cell : of) {
        cells.chain(last, cell);
        last = cell;
    }
    return cells.bind(*of.begin());
}

}  // namespace

TEST_CASE("a process has 4,032 cells for views and 64 for loads, each once") {
    Page page;
    Cells cells(page.page.get());
    std::set<uint32_t> taken;
    for (uint32_t i = 0; i < kReaderCells - kReaderCellsLoad; i++) taken.insert(cells.take(i));
    CHECK(taken.size() == kReaderCells - kReaderCellsLoad);
    CHECK(taken.count(Cells::kNone) == 0);
    CHECK(cells.take(0) == Cells::kNone);
    for (uint32_t i = 0; i < kReaderCellsLoad; i++) taken.insert(cells.take_for_load(i));
    CHECK(taken.size() == kReaderCells);
    CHECK(cells.take_for_load(3) == Cells::kNone);
    cells.give(17);
    CHECK(cells.take(5) == 17);
}

TEST_CASE("a released view clears its cells, and its handle is stale from then on") {
    Page page;
    Cells cells(page.page.get(), 40);
    uint32_t a = cells.take(0);
    uint32_t b = cells.take(0);
    cells.word(a).store_release(11);
    cells.word(b).store_release(12);
    uint32_t generation = view_of(cells, {a, b});
    CHECK(cells.views() == 1);
    CHECK_FALSE(cells.release(a, generation + 1));
    CHECK_FALSE(cells.release(b, generation));
    CHECK_FALSE(cells.release(kReaderCells + 7, generation));
    CHECK(cells.release(a, generation));
    CHECK(cells.word(a).load_relaxed() == 0);
    CHECK(cells.word(b).load_relaxed() == 0);
    CHECK(cells.views() == 0);
    CHECK_FALSE(cells.release(a, generation));
    uint32_t again = cells.take(0);
    REQUIRE(again == a);
    uint32_t second = view_of(cells, {again});
    CHECK(second != generation);
    CHECK_FALSE(cells.release(a, generation));
    CHECK(cells.views() == 1);
    CHECK(cells.release(a, second));
}

TEST_CASE("a handle of one opening fits no view of another one") {
    Page one;
    Page other;
    Cells first(one.page.get(), 1000);
    Cells second(other.page.get(), 2000);
    uint32_t cell = first.take(0);
    uint32_t generation = view_of(first, {cell});
    REQUIRE(second.take(0) == cell);
    view_of(second, {cell});
    CHECK_FALSE(second.release(cell, generation));
    CHECK(second.views() == 1);
}
