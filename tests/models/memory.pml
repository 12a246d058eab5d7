/* The machine under view.pml and bucket.pml: words that actors share, with an explicit store buffer
 * for each actor and a copy of what it last saw of each word.
 *
 * A store waits in its actor's buffer until the buffer's process lets it out. Stores to one word keep
 * their order; those to different words leave in any order, but for what `after` says: a release
 * store leaves after everything before it, a relaxed one after everything before the last release
 * fence. A relaxed load returns what is in memory or, as long as nothing forces the actor to look,
 * the copy that it saw last. An acquire load or fence takes everything anew behind it; a seq_cst
 * fence also waits until the buffer is empty.
 *
 * It is an abstract machine beside the simulator's (fabric/memory/shared_word_sim.h), which plays
 * C++'s own rules: weaker than x86 and, in which stores may pass, as weak as ARM; stronger than C++
 * where an acquire sees all that is in memory, and not only what its release was behind. Loads do
 * not return what is stored later, so a store that must not pass an earlier load is shown by other
 * means where that matters (view.pml: `unordered`).
 *
 * An actor loads no word that it stores itself: it knows what it stored. `loads(actor, at)` says which
 * words it loads; of others it keeps no copy. */

#ifndef DEPTH
#define DEPTH 5 /* stores that wait in one buffer; one more waits for room */
#endif

typedef Words { byte word[WORDS] };
typedef Stores {
    byte word[DEPTH];
    byte value[DEPTH];
    byte after[DEPTH]; /* how many of the first ones must have left before this one */
    byte fence;        /* how many of the first ones the last release fence is behind */
    byte count
};

byte memory[WORDS];
Words seen[ACTORS];
Stores waits[ACTORS];

inline append(actor, at, what, behind) {
    atomic {
        waits[actor].count < DEPTH;
        waits[actor].word[waits[actor].count] = at;
        waits[actor].value[waits[actor].count] = what;
        waits[actor].after[waits[actor].count] = behind;
        waits[actor].count++
    }
}
inline store_relaxed(actor, at, what) { append(actor, at, what, waits[actor].fence) }
inline store_release(actor, at, what) { append(actor, at, what, waits[actor].count) }
inline fence_release(actor) { waits[actor].fence = waits[actor].count }

/* Its actor has ended: what it saw bears on nothing more. */
inline forget(actor, index) {
    d_step {
        for (index : 0 .. WORDS - 1) { seen[actor].word[index] = 0 }
        index = 0
    }
}
inline look_anew(actor, index) {
    d_step {
        for (index : 0 .. WORDS - 1) {
            if
            :: loads(actor, index) -> seen[actor].word[index] = memory[index]
            :: else
            fi
        }
        index = 0
    }
}
inline load_relaxed(actor, at, to) {
    atomic {
        if
        :: seen[actor].word[at] != memory[at] -> to = seen[actor].word[at]
        :: seen[actor].word[at] = memory[at]; to = memory[at]
        fi
    }
}
/* The word itself keeps the value that was loaded, perhaps a stale one. */
inline load_acquire(actor, at, to, index) {
    atomic {
        load_relaxed(actor, at, to);
        look_anew(actor, index);
        seen[actor].word[at] = to
    }
}
inline fence_acquire(actor, index) { look_anew(actor, index) }
inline fence_seq_cst(actor, index) {
    atomic { waits[actor].count == 0; look_anew(actor, index) }
}

/* Both at once, as an exchange does: whatever a gap between them allows, doing both where the store
 * left allows too. */
inline store_and_fence(actor, at, what, index) {
    atomic { waits[actor].count == 0; memory[at] = what; look_anew(actor, index) }
}

/* The store at `index` leaves; the ones behind it move up. */
inline leave(actor, index, move) {
    d_step {
        memory[waits[actor].word[index]] = waits[actor].value[index];
        waits[actor].count--;
        for (move : index .. DEPTH - 2) {
            waits[actor].word[move] = waits[actor].word[move + 1];
            waits[actor].value[move] = waits[actor].value[move + 1];
            waits[actor].after[move] = waits[actor].after[move + 1]
        }
        waits[actor].word[DEPTH - 1] = 0;
        waits[actor].value[DEPTH - 1] = 0;
        waits[actor].after[DEPTH - 1] = 0;
        for (move : 0 .. DEPTH - 1) {
            if
            :: waits[actor].after[move] > index -> waits[actor].after[move]--
            :: else
            fi
        }
        if
        :: waits[actor].fence > index -> waits[actor].fence--
        :: else
        fi;
        move = 0
    }
}

/* Whether the store at `index` may leave: nothing it is behind, and none to its word, is before it. */
inline may_leave(actor, index, other, yes) {
    yes = index < waits[actor].count && waits[actor].after[index] == 0;
    for (other : 0 .. DEPTH - 1) {
        if
        :: other < index && waits[actor].word[other] == waits[actor].word[index] -> yes = false
        :: else
        fi
    }
    other = 0
}

active [ACTORS] proctype buffer() {
    byte index, other;
    bool yes;
end:
    do
    :: atomic {
           waits[_pid].count > 0;
           if
           :: index = 0
           :: waits[_pid].count > 1 -> index = 1
           :: waits[_pid].count > 2 -> index = 2
           :: waits[_pid].count > 3 -> index = 3
           :: waits[_pid].count > 4 -> index = 4
           fi;
           d_step { may_leave(_pid, index, other, yes) };
           if
           :: yes -> leave(_pid, index, other)
           :: else
           fi;
           index = 0;
           yes = false
       }
    od
}
