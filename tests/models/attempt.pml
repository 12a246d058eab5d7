/* A block is whole and of one writer (P1, P3), and its slot is given away only when nobody can still
 * write there, whatever is stopped, late, cut off or killed (protocols 3 and 4; core/write).
 *
 * One key, blocks of two parts, two slots. Processes 0 and 1 are ranks of writer 0; each reserves a
 * part, possibly the same one, fills it in two steps, and commits, aborts, or says that its bytes are
 * final and then commits or aborts. Process 2 is of writer 1 and does the same with part 1, or saves
 * the whole block from a slot of its stock. A process that is not scheduled is one that is stopped.
 * Each message may be lost with its connection; the process then comes back with what it knows. A
 * killed process's socket ends before its last store does. The node, which decides one message or one
 * event at a time under its lock, may hear of a loss, an end or a timeout at any moment.
 *
 * Checked: whoever stores bytes holds the slot that it stores to, unpublished, its part not final; a
 * published block has all its parts committed, each by one process, all of one writer; when nothing
 * more happens no slot is kept for nobody.
 *
 * Bounds: two of these processes with a kill, a lost connection and a timeout, or all three without
 * any; one reservation or save each; all orders. Each DROP_ is a rule of tests/planted/rules.py in its
 * words. */

#define PROCESSES 3
#define SLOTS 2
#define ATTEMPTS 4 /* from 1 on */
#define STOCK 5    /* an owner of slots, as an attempt is */
#define BLOCK 6
#define writer(process) (process / 2)
#define bit(number) (1 << (number))

mtype = { reserve, commit, more, abort, stock, publish, resume };
mtype = { granted, refused, done, lost };
mtype = { alive, dying, dead };

typedef Attempt {
    byte slot;
    byte writer;
    bool open;
    byte holders;        /* processes whose word it waits for */
    byte reserved_by[2]; /* process + 1 */
    byte final;          /* parts */
    byte committed       /* parts, by a COMMIT and not only by more bytes */
};

chan requests[PROCESSES] = [1] of { mtype, byte };      /* a part, or an attempt */
chan replies[PROCESSES] = [1] of { mtype, byte, byte }; /* a slot and its attempt */

/* The node's. */
Attempt attempts[ATTEMPTS];
byte opened = 0;   /* attempts ever opened */
byte current = 0;  /* the key's open attempt; 0: none */
bool there = false; /* the key is published */
byte owner[SLOTS]; /* an attempt, STOCK, BLOCK, or 0: free */
byte stocked = 0;  /* process 2's slot + 1 */
bool gone[PROCESSES];

byte part_of[PROCESSES]; /* what the process has reserved */

/* The processes'. */
mtype life[PROCESSES] = alive;
bool connected[PROCESSES] = true;
byte knows[PROCESSES];        /* the attempt of its reservation; 0: none */
bool knows_stock = false;     /* that its slot is free for it */
bool over[PROCESSES];

/* Who stored the bytes of a slot last, process + 1: two halves of two parts. */
byte bytes[8];
#define half(slot, part, which) bytes[(slot) * 4 + (part) * 2 + (which)]
#define whole(slot, part) (half(slot, part, 0) != 0 && half(slot, part, 0) == half(slot, part, 1))
#define of_one_writer(slot) (writer((half(slot, 0, 0) - 1)) == writer((half(slot, 1, 0) - 1)))

byte timeouts, faults;

/* The node's side. */
inline take_slot(to, who) {
    if
    :: owner[0] == 0 -> to = 1; owner[0] = who
    :: owner[0] != 0 && owner[1] == 0 -> to = 2; owner[1] = who
    :: else -> to = 0
    fi
}
inline discard(which) {
    assert(owner[which] != BLOCK);
    owner[which] = 0;
    half(which, 0, 0) = 0;
    half(which, 0, 1) = 0;
    half(which, 1, 0) = 0;
    half(which, 1, 1) = 0
}
/* Nothing asks for it again. */
inline forget(id) {
    attempts[id].writer = 0;
    attempts[id].reserved_by[0] = 0;
    attempts[id].reserved_by[1] = 0;
    attempts[id].final = 0;
    attempts[id].committed = 0;
    attempts[id].slot = 0
}
/* The key is free at once; the slot only when nobody can still write there. */
inline end_attempt(id) {
    attempts[id].open = false;
    if
#ifdef DROP_a_timeout_or_an_abort_frees_the_key_never_the_slot
    :: true -> discard(attempts[id].slot)
#else
    :: attempts[id].holders == 0 -> discard(attempts[id].slot); forget(id)
#endif
    :: else
    fi;
    current = 0 /* the last: `id` may be it */
}
#define quarantined(id) (!attempts[id].open && owner[attempts[id].slot] == id)
#ifdef DROP_a_quarantined_slot_waits_for_every_holder
#define all_have_said(id) true
#else
#define all_have_said(id) (attempts[id].holders == 0)
#endif
/* A holder's word, or its end: it writes there no more. */
inline drop_holder(id, process) {
    if
    :: attempts[id].holders & bit(process) ->
       attempts[id].holders = attempts[id].holders & ~bit(process);
       if
       :: quarantined(id) && all_have_said(id) -> discard(attempts[id].slot); forget(id)
       :: else
       fi
    :: else
    fi
}
inline end_reservation(id, process) {
    if
    :: (attempts[id].holders & bit(process)) && attempts[id].open -> end_attempt(id)
    :: else
    fi;
    drop_holder(id, process)
}
inline end_reservations(process) {
    end_reservation(1, process);
    end_reservation(2, process);
    end_reservation(3, process)
}
#define writer_gone(process) (process == 2 || (gone[0] && gone[1]))
inline end_opening(process) {
    gone[process] = true;
#ifndef DROP_a_dead_process_s_reservations_end
    end_reservations(process);
#endif
#ifndef DROP_an_attempt_whose_writer_is_gone_ends
    if
    :: current != 0 && attempts[current].writer == writer(process) && writer_gone(process) ->
       end_attempt(current)
    :: else
    fi;
#endif
    if
    :: process == 2 && stocked != 0 -> discard(stocked - 1); stocked = 0
    :: else
    fi
}

inline open_attempt(process) {
    take_slot(slot, opened + 1);
    if
    :: slot != 0 ->
       opened++;
       current = opened;
       attempts[current].slot = slot - 1;
       attempts[current].writer = writer(process);
       attempts[current].open = true
    :: else
    fi
}
/* Writing::settle_reserve and join. */
inline on_reserve(process, part) {
    if
    :: !there && current == 0 -> open_attempt(process)
    :: else
    fi;
    if
    :: there || current == 0 -> replies[process]!refused, 0, 0
#ifndef DROP_parts_of_two_writers_never_join
    :: current != 0 && attempts[current].writer != writer(process) ->
       replies[process]!refused, 0, 0
#endif
#ifndef DROP_two_do_not_write_the_same_part
    :: current != 0 && attempts[current].reserved_by[part] != 0 -> replies[process]!refused, 0, 0
#endif
#ifndef DROP_a_part_comes_once_in_an_attempt
    :: current != 0 && (attempts[current].final & bit(part)) -> replies[process]!refused, 0, 0
#endif
    :: else ->
       attempts[current].reserved_by[part] = process + 1;
       attempts[current].holders = attempts[current].holders | bit(process);
       part_of[process] = part;
       replies[process]!granted, attempts[current].slot, current
    fi
}

/* Writing::complete and publish_attempt. */
#ifdef DROP_a_block_is_published_when_all_parts_are_final_and_nobody_holds_one
#define complete(id) (attempts[id].final == 3)
#else
#define complete(id) (attempts[id].final == 3 && attempts[id].holders == 0)
#endif
inline publish_if_complete(id) {
    if
    :: complete(id) ->
       attempts[id].open = false;
       current = 0;
       if
       :: there -> discard(attempts[id].slot)
       :: else ->
          assert(attempts[id].committed == 3);
          assert(whole(attempts[id].slot, 0) && whole(attempts[id].slot, 1));
          assert(of_one_writer(attempts[id].slot));
          there = true;
          owner[attempts[id].slot] = BLOCK
       fi;
       forget(id)
    :: else
    fi
}
/* Writing::commit_piece: with `more` the bytes are final and the process may still take all back. */
inline on_commit(process, id, with_more) {
    if
    :: (attempts[id].holders & bit(process)) && attempts[id].open ->
       attempts[id].final = attempts[id].final | bit(part_of[process]);
       if
       :: !with_more ->
          attempts[id].reserved_by[part_of[process]] = 0;
          attempts[id].committed = attempts[id].committed | bit(part_of[process]);
          attempts[id].holders = attempts[id].holders & ~bit(process)
       :: else
       fi;
       publish_if_complete(id)
    :: else ->
       if
       :: !with_more -> drop_holder(id, process)
       :: else
       fi
    fi;
    replies[process]!done, 0, 0
}
inline on_stock(process) {
    take_slot(stocked, STOCK);
    if
    :: stocked != 0 -> replies[process]!granted, stocked - 1, STOCK
    :: else -> replies[process]!refused, 0, 0
    fi
}
/* Writing::settle_publish: a SAVE of the whole block from the stock. */
inline on_publish(process) {
    if
    :: there -> replies[process]!refused, 0, 0
#ifndef DROP_a_save_publishes_only_what_nobody_else_writes
    :: !there && current != 0 -> replies[process]!refused, 0, 0
#endif
    :: else ->
       assert(current == 0);
       assert(whole(stocked - 1, 0) && whole(stocked - 1, 1));
       there = true;
       owner[stocked - 1] = BLOCK;
#ifndef DROP_a_slot_that_became_a_block_is_no_stock_any_more
       stocked = 0;
#endif
       replies[process]!done, 0, 0
    fi
}
/* Writing::keep_only: the process is back, with the reservation `known` or 0. */
inline on_resume(process, known) {
#ifndef DROP_after_a_reconnect_the_node_ends_the_reservations_that_the_process_does_not_know
    if
    :: known == 0 -> end_reservations(process)
    :: else
    fi;
#endif
#ifndef DROP_after_a_reconnect_the_node_takes_back_the_slots_that_the_process_does_not_know
    if
    :: process == 2 && stocked != 0 && !knows_stock -> discard(stocked - 1); stocked = 0
    :: else
    fi;
#endif
    replies[process]!done, 0, 0
}

inline serve(process) {
    if
    :: requests[process]?reserve, what -> on_reserve(process, what)
    :: requests[process]?commit, what -> on_commit(process, what, false)
    :: requests[process]?more, what -> on_commit(process, what, true)
    :: requests[process]?abort, what -> end_reservation(what, process); replies[process]!done, 0, 0
    :: requests[process]?stock, what -> on_stock(process)
    :: requests[process]?publish, what -> on_publish(process)
    :: requests[process]?resume, what -> on_resume(process, what)
#ifdef DROP_what_a_process_holds_ends_with_the_process_not_with_its_connection
    :: !connected[process] && !gone[process] -> end_opening(process)
#endif
    :: life[process] == dead && !gone[process] -> end_opening(process)
    fi;
    what = 0;
    slot = 0
}

active proctype node() {
    byte what, slot;
end:
    do
    :: atomic { serve(0) }
    :: atomic { serve(1) }
    :: atomic { serve(2) }
    :: atomic { timeouts > 0 && faults > 0 && current != 0 -> faults--; timeouts--; end_attempt(current) }
    od
}

/* A process's side. A store of half a part into what it holds. */
inline fill(part, which) {
    atomic {
        assert(owner[slot] == attempt);
        assert(attempt == STOCK || attempts[attempt].reserved_by[part] == me + 1);
        assert(attempt == STOCK || !(attempts[attempt].final & bit(part)));
        half(slot, part, which) = me + 1
    }
}
/* Again on a connection, if it was lost: with the reservation that is known, or none. Nothing else is
 * said before the node has answered. */
inline come_back() {
    if
    :: atomic { !connected[me] -> connected[me] = true; requests[me]!resume, knows[me] };
       replies[me]?done, _, _
    :: connected[me]
    fi
}
inline ask(message, with) {
    atomic {
        if
        :: connected[me] -> requests[me]!message, with
        :: else
        fi
    };
    if
    :: atomic { replies[me]?answer, slot, attempt }
    :: !connected[me] -> answer = lost; come_back()
    fi
}

inline reserve_and_fill() {
    ask(reserve, part);
    if
    :: answer == granted ->
       atomic { knows[me] = attempt; writes = true };
       fill(part, 0);
       atomic { fill(part, 1); writes = false };
       if
       :: atomic { me == 0 && connected[me] -> requests[me]!more, knows[me] };
          if
          :: replies[me]?answer, _, _
          :: !connected[me]
          fi
       :: true
       fi;
       come_back();
       /* The word: from here on it writes there no more, and knows of no reservation. */
       atomic { with = knows[me]; knows[me] = 0 };
       if
       :: true -> ask(commit, with)
       :: true -> ask(abort, with)
       fi
    :: else
    fi
}
inline save() {
    ask(stock, 0);
    if
    :: answer == granted ->
       knows_stock = true;
       atomic { fill(0, 0); fill(0, 1); fill(1, 0) };
       fill(1, 1);
       /* Named in a SAVE, it is free for the process only by the node's answer. */
       knows_stock = false;
       ask(publish, 0);
       knows_stock = (answer == refused)
    :: else
    fi
}

proctype client(byte me; byte part) {
    byte slot, attempt, with;
    bool writes;
    mtype answer;
    {
        if
        :: me == 2 -> save()
        :: true -> reserve_and_fill()
        fi;
        atomic { over[me] = true; slot = 0; attempt = 0; with = 0; part = 0; answer = 0 }
    } unless { life[me] == dying };
    if
    :: life[me] == dying ->
       /* The last of its stores may come later than its socket's end. */
       if
       :: writes -> fill(part, 1)
       :: true
       fi;
       atomic { life[me] = dead; slot = 0; attempt = 0; with = 0; part = 0; answer = 0; writes = false }
    :: else
    fi
}

inline cut(process) {
    connected[process] = false;
    do
    :: requests[process]?_, _
    :: replies[process]?_, _, _
    :: empty(requests[process]) && empty(replies[process]) -> break
    od
}
inline kill(process) {
    atomic { faults > 0 && !over[process] -> faults--; life[process] = dying; cut(process) }
}
inline lose(process) {
    atomic { faults > 0 && !over[process] && connected[process] -> faults--; cut(process) }
}

active proctype killer() {
    if
    :: kill(0)
    :: kill(1)
    :: kill(2)
    :: true
    fi
}
active proctype network() {
    if
    :: lose(0)
    :: lose(1)
    :: lose(2)
    :: true
    fi
}

/* When nothing more happens. */
inline account(which) {
    if
    :: owner[which] == STOCK -> assert(stocked == which + 1 && knows_stock && !gone[2])
    :: owner[which] != 0 && owner[which] < STOCK ->
       assert(attempts[owner[which]].open);
       assert(attempts[owner[which]].holders == 0);
       assert(attempts[owner[which]].writer == 0 -> !(gone[0] && gone[1]) : !gone[2])
    :: else
    fi
}
active proctype watch() {
    atomic { timeout -> account(0); account(1) }
}

init {
    atomic {
        run client(0, 0);
        timeouts = 1;
        if
        :: faults = 3;
           if
           :: run client(1, 0)
           :: run client(1, 1)
           :: run client(2, 1)
           fi
        :: run client(1, 1);
           run client(2, 1)
        fi
    }
}
