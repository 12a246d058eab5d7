/* After an advance has returned nobody is given a block of an earlier version (P2), whichever nodes
 * served the folder before, however they ended (protocols 3; Cache::advance, core/node/state.cpp, the
 * start, the renewal and the end of core/node/node.cpp, IndexReader::serves and floor).
 *
 * Three nodes after one another on one state folder, whose lock the kernel lets go when its holder
 * ends. A node takes the lock, looks whether the one before ended cleanly and else waits until its
 * lease is over, reads the floor from the folder, and serves: a thread of its own renews its lease, it
 * may be asked for an advance to version 2, and ends cleanly or is killed at any step. The reader has
 * the index of any node that ever served mapped, and looks for a block of version 1 there again and
 * again: it reads the clock, the lease and the floor, and is paused between them for as long as it
 * likes. Writers of version 1 are taken for granted: a block is in every index.
 *
 * What a node's threads store to the index waits in their store buffers, also after a kill, for as long
 * as it likes, but for what a message or a file is behind: a send, a write and a close leave after the
 * stores before them, and who waits for a thread's end has its stores behind it. A reader that has
 * heard of the advance's return sees what the answer was behind, so of late look-ups none is stale.
 *
 * Bounds: three nodes, a kill, four instants, a lease of two of them; any number of look-ups. Each
 * DROP_ is a rule of tests/planted/rules.py in its words. */

#define NODES 3
#define NONE 3
#define LEASE 2
#define INSTANTS 4

byte now = 0;
byte holder = NONE;   /* of the folder's lock */
bool clean = true;    /* the mark in the folder; of a fresh one as after a clean end */
byte kept_floor = 1;  /* in the folder */
byte floor[NODES];    /* in each node's index */
byte until[NODES];    /* its lease */
bool serves[NODES];   /* it has sent its index to clients */
bool renews[NODES];   /* its thread is to go on */
bool killed[NODES];
bool returned = false; /* the advance has */
byte kills = 1;
byte next = 0; /* which node is the next */

/* What waits in the buffers of a node's two threads, a store to each word: its value + 1. */
typedef Waits { byte floor, until, renewed };
Waits waits[NODES];

#define store(word, value) atomic { waits[me].word == 0; waits[me].word = value + 1 }
#define behind_stores (waits[me].floor == 0 && waits[me].until == 0)

inline leave(which) {
    if
    :: waits[which].floor > 0 -> floor[which] = waits[which].floor - 1; waits[which].floor = 0
    :: waits[which].until > 0 -> until[which] = waits[which].until - 1; waits[which].until = 0
    :: waits[which].renewed > 0 -> until[which] = waits[which].renewed - 1; waits[which].renewed = 0
    fi
}
active proctype buffers() {
end:
    do
    :: atomic { leave(0) }
    :: atomic { leave(1) }
    :: atomic { leave(2) }
    od
}

inline take_the_lock() {
    skip; /* a label must not come first */
end_of_predecessors:
    atomic { holder == NONE && next == me -> holder = me; next++ };
    was_clean = clean;
#ifdef DROP_a_node_that_did_not_end_cleanly_leaves_no_mark
    was_clean = true;
#endif
#ifndef DROP_whoever_takes_the_lock_removes_the_clean_mark
    clean = false;
#endif
    since = now;
#ifndef DROP_a_successor_waits_until_the_leases_of_a_dead_node_have_ended
end_of_time:
    was_clean || now >= since + LEASE
#endif
}
inline advance() {
    store(floor, 2);
#ifndef DROP_floors_are_on_disk_before_advance_returns
    kept_floor = 2;
#endif
    atomic { behind_stores -> returned = true }
}
inline end_cleanly() {
    renews[me] = false;
#ifndef DROP_what_renews_the_lease_has_ended_before_serve_until_0
    atomic { ended[me] && waits[me].renewed == 0 };
#endif
#ifdef DROP_the_clean_mark_is_written_behind_serve_until_0
    clean = true;
#endif
#ifndef DROP_a_clean_end_stores_serve_until_0
    store(until, 0);
#endif
#ifdef DROP_the_lock_is_given_up_last
    holder = NONE;
#endif
    atomic { behind_stores -> clean = true };
    holder = NONE
}

bool ended[NODES];

proctype timer(byte me) {
    {
        do
        :: atomic { renews[me] && waits[me].renewed == 0 && now + LEASE > until[me] ->
                    waits[me].renewed = now + LEASE + 1 }
        :: !renews[me] -> break
        od;
        ended[me] = true
    } unless { killed[me] }
}

proctype node(byte me) {
    bool was_clean;
    byte since;
    {
        take_the_lock();
        floor[me] = kept_floor; /* an index that nobody has yet */
        atomic { until[me] = now + LEASE; serves[me] = true; renews[me] = true };
        run timer(me);
        do
        :: !returned && floor[me] == 1 -> advance()
        :: end_cleanly(); break
        od
    } unless { killed[me] };
    /* The kernel closes what it had open. */
    atomic {
        if
        :: holder == me -> holder = NONE
        :: else
        fi;
        since = 0;
        was_clean = false
    }
}

/* Each look-up begins after the advance's return; the ones before may find what they will. What it
 * looks at later can only be less: so the clock is read when it begins, and the rest at once. */
active proctype reader() {
    byte which, at;
end:
    do
    :: atomic {
           returned;
           if
           :: serves[0] -> which = 0
           :: serves[1] -> which = 1
           :: serves[2] -> which = 2
           fi;
           at = now
       };
       atomic {
           assert(!(at < until[which] && floor[which] <= 1));
           which = 0;
           at = 0
       }
    od
}
active proctype clock() {
end:
    do
    :: now < INSTANTS -> now++
    od
}
active proctype killer() {
end:
    do
    :: atomic { kills > 0 && holder != NONE -> kills--; killed[holder] = true }
    od
}

init {
    atomic {
        run node(0);
        run node(1);
        run node(2)
    }
}
