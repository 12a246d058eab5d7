/* A block that is there all the time is never missed (P6): the look-up's scan of a bucket against
 * everything that the node does to its entries (protocols 2; core/index/reader.h, table.cpp).
 *
 * The table has one bucket of two entries and an overflow bucket of one, or two buckets after a split.
 * Block A's entry names its slot 0, or 1 after a replacement; X and Y are entries of other blocks.
 * The node does one of: split, where A moves to the added bucket or stays; remove X, whose place A
 * takes from the overflow bucket, which goes; remove X while A stays, and enter Y there; replace A by
 * a block in another slot. The reader looks A up in two tries; a third one would begin as late as
 * some second one.
 *
 * Bounds: one reader, one look-up, one change of the table, buffers of four stores. All orders within
 * them are explored. Each DROP_ is the planted bug of that name in tests/sim/planted.py. */

#define NODE 0
#define READER 1
#define ACTORS 2
#define DEPTH 4
#define TABLE 0  /* sequence * 2 + (two buckets) */
#define LINK0 1  /* sequence * 2 + (there is an overflow bucket) */
#define LINK1 2
#define ENTRY 3  /* 3, 4: of bucket 0; 5: of the overflow bucket; 6: of bucket 1 */
#define ENTRY1 4
#define OVER 5
#define MOVED 6
#define GEN0 7
#define GEN1 8
#define WORDS 9
#define loads(actor, at) (actor == READER)
#include "memory.pml"

#define NONE 0
#define A_IN_0 1 /* entries: slot + 1, */
#define A_IN_1 2
#define X 3      /* or another block's */
#define Y 4
#define odd(word) ((word >> 1) & 1)

mtype = { moves, stays, closes, beside, replaces };
mtype scenario;
byte link = 0; /* of bucket 0, as the node knows it */

/* Table::Change. */
inline begin_change(at, old) {
#ifdef DROP_change_odd
    skip;
#else
    store_relaxed(NODE, at, old + 2);
#endif
#ifndef DROP_change_fence
    fence_release(NODE);
#endif
}
inline end_change(at, now) {
#ifdef DROP_change_release
    store_relaxed(NODE, at, now + 4);
#else
    store_release(NODE, at, now + 4);
#endif
}

/* Table::split: A's entry goes to bucket 1, or is dealt out again to its own. */
inline split() {
#ifndef DROP_split_odd
    store_relaxed(NODE, TABLE, 2);
#endif
    begin_change(LINK0, link);
    begin_change(LINK1, 0);
    store_relaxed(NODE, ENTRY, NONE);
    store_relaxed(NODE, ENTRY1, NONE);
    if
    :: scenario == moves ->
       store_relaxed(NODE, MOVED, A_IN_0);
       store_relaxed(NODE, ENTRY, X)
    :: scenario == stays ->
       store_relaxed(NODE, MOVED, X);
       store_relaxed(NODE, ENTRY, A_IN_0)
    fi;
    end_change(LINK1, 0);
    end_change(LINK0, link);
    store_release(NODE, TABLE, 4 + 1)
}

/* Table::remove of X in the first place, and close_up: the overflow bucket's entry takes it. */
inline remove_and_close_up() {
#ifndef DROP_close_up_odd
    begin_change(LINK0, link);
#endif
    store_relaxed(NODE, ENTRY, NONE);
    store_relaxed(NODE, ENTRY, A_IN_0);
    store_relaxed(NODE, OVER, NONE);
#ifdef DROP_close_up_odd
    store_relaxed(NODE, LINK0, link - 1)
#else
    store_relaxed(NODE, LINK0, link + 2 - 1);
    end_change(LINK0, link - 1)
#endif
}

inline remove_and_insert() {
    begin_change(LINK0, link);
    store_relaxed(NODE, ENTRY, NONE);
    end_change(LINK0, link);
    begin_change(LINK0, link + 4);
    store_relaxed(NODE, ENTRY, Y);
    end_change(LINK0, link + 4)
}

/* Namespace::publish with REPLACE: the new slot is even before its entry, the old one odd behind. */
inline replace() {
    store_release(NODE, GEN1, 2);
    begin_change(LINK0, link);
    store_relaxed(NODE, ENTRY, A_IN_1);
    end_change(LINK0, link);
    store_release(NODE, GEN0, 3)
}

proctype node() {
    if
    :: scenario == moves || scenario == stays -> split()
    :: scenario == closes -> remove_and_close_up()
    :: scenario == beside -> remove_and_insert()
    :: scenario == replaces -> replace()
    fi
}

/* One entry: a hit where it names A and the slot's gen is even. */
inline look_at(at) {
    load_relaxed(READER, at, entry);
    if
    :: entry == A_IN_0 || entry == A_IN_1 ->
       load_acquire(READER, GEN0 + entry - A_IN_0, gen, index);
       if
       :: (gen & 1) == 0 -> goto hit
       :: else
       fi
    :: else
    fi
}

/* IndexReader::scan. */
proctype reader() {
    byte table, found, entry, gen, next, index, tries, bucket;
    do
    :: tries == 2 -> goto ask
    :: tries < 2 ->
       tries++;
       load_acquire(READER, TABLE, table, index);
#ifndef DROP_table_odd
       if
       :: odd(table) -> goto again
       :: else
       fi;
#endif
       bucket = LINK0 + ((table & 1) && scenario == moves -> 1 : 0);
#ifdef DROP_link_acquire
       load_relaxed(READER, bucket, found);
#else
       load_acquire(READER, bucket, found, index);
#endif
#ifndef DROP_link_odd
       if
       :: odd(found) -> goto again
       :: else
       fi;
#endif
       if
       :: bucket == LINK0 ->
          look_at(ENTRY);
          look_at(ENTRY1);
          load_relaxed(READER, LINK0, next);
          if
          :: (next & 1) == 1 -> look_at(OVER)
          :: else
          fi
       :: else -> look_at(MOVED)
       fi;
#ifndef DROP_miss_fence
       fence_acquire(READER, index);
#endif
       load_relaxed(READER, bucket, next);
       load_relaxed(READER, TABLE, entry);
#ifdef DROP_miss_link_again
       next = found;
#endif
#ifdef DROP_miss_table_again
       entry = table;
#endif
       /* A miss, and it was there. */
       assert(!(next == found && entry == table));
again:
       atomic { table = 0; found = 0; entry = 0; gen = 0; next = 0; bucket = 0 }
    od;
hit:
ask:
    skip
}

init {
    atomic {
        if
        :: scenario = moves
        :: scenario = stays
        :: scenario = closes
        :: scenario = beside
        :: scenario = replaces
        fi;
        memory[ENTRY] = X;
        memory[ENTRY1] = A_IN_0;
        if
        :: scenario == closes ->
           link = 1;
           memory[ENTRY1] = Y;
           memory[OVER] = A_IN_0
        :: scenario == replaces ->
           memory[ENTRY] = A_IN_0;
           memory[ENTRY1] = X
        :: else
        fi;
        memory[LINK0] = link;
        memory[GEN1] = 1;
        byte index;
        look_anew(READER, index);
        run node();
        run reader()
    }
}
