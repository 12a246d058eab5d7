/* After an advance has returned nobody is given a block of an earlier version (P2), whichever nodes
 * served the folder before, however they ended (protocols 3; Cache::advance, core/node/state.cpp, the
 * start, the renewal and the end of core/node/node.cpp, IndexReader::serves and floor).
 *
 * Three nodes after one another on one state folder, whose lock the kernel lets go when its holder
 * ends. A node takes the lock, looks whether the one before ended cleanly and else waits until its
 * lease is over, reads the floor from the folder, and serves: it renews its lease, may be asked for an
 * advance to version 2, and ends cleanly or is killed at any step. The reader has the index of any node
 * that ever served mapped, and looks for a block of version 1 there again and again: it reads the
 * clock, the lease and the floor, and is paused between them for as long as it likes. Writers of
 * version 1 are taken for granted: a block is in every index. Words that are shared are seen at once
 * here; their orders are the business of view.pml and bucket.pml.
 *
 * Bounds: three nodes, two kills, five instants, a lease of two of them; any number of look-ups. Each
 * DROP_ is a rule of tests/planted/rules.py in its words. */

#define NODES 3
#define NONE 3
#define LEASE 2
#define INSTANTS 5

byte now = 0;
byte holder = NONE;   /* of the folder's lock */
bool clean = true;    /* the mark in the folder; of a fresh one as after a clean end */
byte kept_floor = 1;  /* in the folder */
byte floor[NODES];    /* in each node's index */
byte until[NODES];    /* its lease */
bool serves[NODES];   /* it has sent its index to clients */
bool killed[NODES];
bool returned = false; /* the advance has */
byte kills = 2;
byte next = 0; /* which node is the next */

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
    floor[me] = 2;
#ifndef DROP_floors_are_on_disk_before_advance_returns
    kept_floor = 2;
#endif
    returned = true
}
inline end_cleanly() {
#ifndef DROP_a_clean_end_stores_serve_until_0
    until[me] = 0;
#endif
    clean = true;
    holder = NONE
}

proctype node(byte me) {
    bool was_clean;
    byte since;
    {
        take_the_lock();
        floor[me] = kept_floor;
        atomic { until[me] = now + LEASE; serves[me] = true };
        do
        :: now + LEASE > until[me] -> until[me] = now + LEASE
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

/* What it looks at later can only be less: so the clock is read when it begins, and the rest at once. */
active proctype reader() {
    byte which, at;
    bool late; /* this look-up begins after the advance's return */
end:
    do
    :: atomic {
           if
           :: serves[0] -> which = 0
           :: serves[1] -> which = 1
           :: serves[2] -> which = 2
           fi;
           late = returned;
           at = now
       };
       atomic {
           assert(!(at < until[which] && floor[which] <= 1 && late));
           which = 0;
           at = 0;
           late = false
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
