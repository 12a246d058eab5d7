/* What a reader is given in place is one block, whole, as it was published (P1, P3): views, look-ups
 * without a hazard, and followers of an attempt, against eviction and the next uses of the slot
 * (protocols 2; IndexReader::check, hold_slot and still, Namespace::unpublish, settle_limbo, discard
 * and publish).
 *
 * One slot. It holds block A; the node evicts it, and then either puts B there and evicts that, or
 * opens an attempt that a follower may read and lets it abort; then it puts A there again, with other
 * bytes. A reader has the slot's
 * number from anywhere, so entries are left out (bucket.pml has them). What the node needs of other
 * processes, a block's bytes, it stores itself: a writer's message orders them. A stamp says whose a
 * header word or a slot's bytes are: whatever a reader makes of two stamps is torn or foreign. The
 * follower learns the attempt's gen by a message, which orders what came before it.
 *
 * Bounds: one reader of two looks of any kind, or one of one and another of one view; three uses of
 * the slot; buffers of five stores. All orders within them are explored. Each DROP_ is the planted bug of that name in
 * tests/sim/planted.py. */

#define NODE 0
#define ACTORS 3
#define GEN 0 /* odd: not to be read */
#define KEY 1 /* header words: the stamp of the block */
#define SIZE 2
#define BYTES 3
#define CELL 3 /* + the reader's number: what it holds */
#define WORDS 6
#define loads(actor, at) (actor == NODE -> at > CELL : at <= BYTES)
#define DEPTH 5
#include "memory.pml"

#define A 1 /* stamps */
#define B 2
#define ATTEMPT 3
#define A_AGAIN 4

#define EMPTY 0 /* a cell */
#define HELD 1
#define GIVEN 2 /* as EMPTY, and stored by a release: what its reader read is behind it */

/* Bytes are no atomics: who stores them must come after all who read them, and not only later. The
 * reader's bit is set while the node cannot know that its reads are over. */
bool unordered[ACTORS];
byte followed = 0; /* the gen that the follower was told; 0: none yet */
byte gen = 0;      /* as the node knows it */

/* Stores in a row are put into the buffer at once: who orders them is the buffer. */
inline publish(stamp) {
    store_relaxed(NODE, KEY, stamp);
    store_relaxed(NODE, SIZE, stamp);
    gen++;
#ifdef DROP_publish_release
    store_relaxed(NODE, GEN, gen)
#else
    store_release(NODE, GEN, gen)
#endif
}
inline store_bytes(stamp) {
    assert(!unordered[1] && !unordered[2]);
    store_relaxed(NODE, BYTES, stamp)
}
inline unpublish() {
#ifndef DROP_unpublish_late
    gen++;
    store_release(NODE, GEN, gen)
#else
    skip
#endif
}
inline renew_gen() {
#ifdef DROP_unpublish_late
    gen = (gen + 2) | 1;
#else
    gen = gen + 2;
#endif
    store_release(NODE, GEN, gen)
}
inline scan(reader) {
#ifdef DROP_scan_acquire
    load_relaxed(NODE, CELL + reader, cell);
#else
    load_acquire(NODE, CELL + reader, cell, index);
    if
    :: cell == GIVEN -> unordered[reader] = false
    :: else
    fi;
#endif
    held = held || cell == HELD
}
/* Until no reader holds the slot. */
inline settle_limbo() {
    do
    :: true ->
       held = false;
#ifndef DROP_limbo_fence
       fence_seq_cst(NODE, index);
#endif
       scan(1);
       scan(2);
       if
       :: held
       :: else -> break
       fi
    od
}

proctype node() {
    byte cell, index;
    bool held;
    unpublish();
    settle_limbo();
    atomic { renew_gen();
    if
    :: store_bytes(B);
       publish(B);
       unpublish()
    :: store_bytes(ATTEMPT);
       waits[NODE].count == 0;
       followed = gen;
#ifndef DROP_discard_late
       renew_gen()
#endif
    fi };
    settle_limbo();
    atomic { renew_gen(); store_bytes(A_AGAIN); publish(A_AGAIN); forget(NODE, index) }
}

/* Cells::give: a release, behind what was read. */
inline give() {
#ifdef DROP_clear_release
    store_relaxed(me, CELL + me, EMPTY)
#else
    store_release(me, CELL + me, GIVEN)
#endif
}
inline read_bytes() {
    atomic { load_relaxed(me, BYTES, bytes); unordered[me] = true }
}
inline load_gen() {
#ifdef DROP_gen_acquire
    load_relaxed(me, GEN, before)
#else
    load_acquire(me, GEN, before, index)
#endif
}
inline load_header() {
    load_relaxed(me, KEY, key);
    load_relaxed(me, SIZE, size)
}
#define IS_A (key == A || key == A_AGAIN)

/* IndexReader::check with a cell, and what its caller does then. */
inline view() {
    load_gen();
    if
#ifdef DROP_gen_odd
    :: true ->
#else
    :: (before & 1) == 0 ->
#endif
#ifdef DROP_hazard_fence
       store_relaxed(me, CELL + me, HELD);
#else
       store_and_fence(me, CELL + me, HELD, index);
#endif
       load_acquire(me, GEN, after, index);
#ifdef DROP_hazard_gen_again
       after = before;
#endif
       if
       :: after == before ->
          load_header();
          if
          :: IS_A ->
             read_bytes();
             assert(size == key && bytes == key)
          :: else
          fi
       :: else
       fi;
       give()
    :: else
    fi
}

/* The same without a cell: nothing is done with the bytes. */
inline look() {
    load_gen();
    if
#ifdef DROP_gen_odd
    :: true ->
#else
    :: (before & 1) == 0 ->
#endif
       load_header();
#ifndef DROP_look_fence
       fence_acquire(me, index);
#endif
       load_relaxed(me, GEN, after);
#ifdef DROP_look_gen_again
       after = before;
#endif
       assert(!(after == before && IS_A && size != key))
    :: else
    fi
}

/* IndexReader::hold_slot of the attempt, by whoever was told of it. */
inline follow() {
    atomic { followed != 0; look_anew(me, index) };
#ifdef DROP_follow_fence
    store_relaxed(me, CELL + me, HELD);
#else
    store_and_fence(me, CELL + me, HELD, index);
#endif
    load_acquire(me, GEN, after, index);
#ifdef DROP_follow_gen_again
    after = followed;
#endif
    if
    :: after == followed ->
       read_bytes();
       assert(bytes == ATTEMPT)
    :: else
    fi;
    give()
}

proctype reader(byte me; byte looks) {
    byte before, after, key, size, bytes, index;
    do
    :: looks == 0 -> break
    :: looks > 0 ->
       looks--;
       if
       :: view()
       :: me == 1 -> look()
       :: me == 1 && followed != 0 -> follow()
       fi;
       atomic { before = 0; after = 0; key = 0; size = 0; bytes = 0 }
    od;
    forget(me, index)
}

init {
    atomic {
        byte index;
        memory[GEN] = 0;
        memory[KEY] = A;
        memory[SIZE] = A;
        memory[BYTES] = A;
        look_anew(0, index);
        look_anew(1, index);
        look_anew(2, index);
        run node();
        if
        :: run reader(1, 2)
        :: run reader(1, 1);
           run reader(2, 1)
        fi
    }
}
