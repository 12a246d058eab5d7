"""Hostile clients of other users (P4): prints a line for each test, then `N passed, N failed`. They
take root: without, each is named as left out, and none is counted.

    run.py BUILD [--seconds N] [--seed N] [--only PART_OF_A_NAME]

A node of the command runs as one user, tenants as others, each a process of its own with a token of
its own: hostile ones made of Cap'n Proto alone (worker.cpp, wire.cpp), honest ones of the command.

Invariants: every process that is started here is gone at the end; a test in which nothing was tried
is a failure; what is random comes from the seed, which each failure says.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tenants import Failed, Honest, Speaker, Tenant, Town, wire  # noqa: E402

RIGHTS = ("read", "write", "advance", "admin")
# Verbs of core/write/request.h by number, and the rights of which one is needed.
VERBS = {
    "stock": (0, {"write"}),
    "publish": (1, {"write"}),
    "reserve": (2, {"write"}),
    "commit": (3, {"write"}),
    "abort": (4, set(RIGHTS)),
    "locate": (5, {"read", "write"}),
    "wait": (6, {"read", "write"}),
    "match": (7, {"read", "write"}),
    "touch": (8, {"read", "write"}),
    "remove": (9, {"write"}),
    "advance": (10, {"advance"}),
}
DENIED = "-8"


def expect(what: str, got, wanted) -> None:
    if got != wanted:
        raise Failed(f"{what}: {got}, not {wanted}")


def each_right_allows_what_it_says_and_nothing_else(town: Town) -> str:
    """Every verb, by tokens with each set of rights."""
    Honest(town, "root", "*", "read,write,advance,admin").save("r/m", range(4))
    tried = 0
    for number in range(1, 16):
        rights = {right for bit, right in enumerate(RIGHTS) if number >> bit & 1}
        with Tenant(town, f"set{number}", "r/m", ",".join(sorted(rights))) as tenant:
            opening = tenant.ask("open r/m")
            files = tenant.ask("files")
            expect(f"{rights}: index and page", files.split()[:2], ["index=1", "page=1"])
            expect(f"{rights}: reads", "read=0" not in files, bool(rights & {"read", "write"}))
            expect(f"{rights}: writes", "write=0" not in files, "write" in rights)
            for verb, (code, wanted) in VERBS.items():
                got = tenant.ask(f"ask {opening} {code}")
                expect(f"{verb} with {rights}: denied", got == DENIED, not rights & wanted)
                tried += 1
            for words, wanted in (("flush version=99", {"admin"}), ("stats", set(RIGHTS))):
                told = tenant.ask(f"space {words}")
                expect(f"{words} with {rights}", "does not allow" in told, not rights & wanted)
                tried += 1
    with Tenant(town, "nobody", "other/*", "read,write,advance,admin") as tenant:
        told = tenant.ask("open r/m")
        expect("another's namespace", "does not allow namespace r/m" in told, True)
        expect("its name", "r/m" in tenant.ask("query namespaces"), False)
        told = tenant.ask("query drop")
        expect("dropping all that it may", town.honest.load("r/m", range(4)), 4)
    return f"{tried} verbs tried"


def a_client_holds_exactly_the_descriptors_that_it_may(town: Town) -> str:
    """A reader and a writer of one namespace and a reader of another, before the segments of the
    first are retired, while their end is not confirmed, and after.
    """
    seeder = Honest(town, "seeder", "*", "read,write")
    seeder.save("x/m", range(600), 64 << 10)
    seeder.save("h/m", range(64), 64 << 10)
    seeder.speaker.end()  # and with it its stock, which would keep the segments
    reader = Tenant(town, "reader", "x/m", "read")
    writer = Tenant(town, "writer", "x/m", "read,write")
    other = Tenant(town, "other", "h/m", "read")
    with reader, writer, other:
        for who, name in ((reader, "x/m"), (writer, "x/m"), (other, "h/m")):
            opening = who.ask(f"open {name}")
            who.ask(f"ask {opening} 8")  # so that it has a lane as well
        everyone = ((reader, False), (writer, True), (other, False))
        check_files(town, everyone)
        mine, shared = files_of(reader)[1], files_of(writer)[1]
        expect("files that two processes of a namespace share", len(mine & shared) > 1, True)
        expect("files of two tenants", (mine | shared) & files_of(other)[1], set())
        # The memory goes to who needs it.
        honest = Honest(town, "honest", "h/*", "read,write")
        until = time.monotonic() + 60
        turn = 0
        while "0" in (writer.ask("serve 50"), reader.ask("serve 50")):
            turn += 1
            honest.save("h/n", range(200), 64 << 10, base=turn)
            if time.monotonic() > until:
                raise Failed("no segment was retired within 60 s")
        check_files(town, everyone)
        writer.ask("confirm"), reader.ask("confirm")
        time.sleep(0.5)
        for who in (reader, writer):
            zero, _, looked_at = who.ask("first 4096").split()
            expect(f"{who.name}: retired segments that are empty", zero, looked_at)
        check_files(town, everyone)
        honest.save("h/n", range(100), 64 << 10, base=7000)
        writer.ask("scribble 1 300")  # also into what is not its own any more
        expect("blocks with the right bytes", honest.load("h/n", range(100), 64 << 10, 7000), 100)
    return f"3 times 11 ways on each descriptor; {turn} rounds until a segment was retired"


def files_of(tenant: Tenant) -> tuple[dict, set]:
    words = tenant.ask("files").split()
    counts = dict(word.split("=") for word in words if "=" in word)
    return counts, {word for word in words if "=" not in word}


def check_files(town: Town, everyone) -> None:
    for who, writes in everyone:
        counts, _ = files_of(who)
        kept = {name: int(count) for name, count in counts.items()}
        expect(f"{who.name}: memory files", kept["all"], sum(kept.values()) - kept["all"])
        expect(f"{who.name}: index, page", (kept["index"], kept["page"]), (1, 1))
        if not kept["read"]:
            raise Failed(f"{who.name} has no segment")
        expect(f"{who.name}: writes", kept["write"], kept["read"] if writes else 0)
        expect(f"{who.name}: of its files", who.ask(f"try {who.folder}"), "nothing")
        expect(f"{who.name}: descriptors of other things", who.ask("foreign"), "nothing")
        expect(f"{who.name}: of the node", who.ask(f"node {town.node.pid}"), "nothing")


def openings_cost_the_node_no_descriptors(town: Town) -> str:
    with Tenant(town, "opener", "x/m", "read,write") as tenant:
        tenant.ask("open x/m")
        before = town.files()
        for _ in range(200):
            tenant.ask("open x/m")
        grown = town.files() - before
        if grown > 20:  # some are on their way
            raise Failed(f"200 openings cost the node {grown} descriptors")
    return f"200 openings, {grown} descriptors"


def garbage_in_shared_memory_changes_nothing_that_others_read(town: Town) -> str:
    """Hostile readers of the honest tenant's namespace, hostile writers of their own."""
    honest = Honest(town, "honest", "h/*", "read,write,admin")
    honest.save("h/m", range(64), 16 << 10)
    before = town.private_bytes()
    hostile = [Tenant(town, f"reader{i}", "h/m", "read") for i in range(2)]
    hostile += [Tenant(town, f"writer{i}", "x/*", "read,write,advance,admin") for i in range(2)]
    dice = random.Random(town.seed)
    rounds = words = 0
    for tenant in hostile:
        tenant.start()
        tenant.ask("open h/m" if "reader" in tenant.name else "open x/n0 part_bytes=4096")
        tenant.ask("serve 50")
    until = time.monotonic() + town.seconds
    while time.monotonic() < until:
        for tenant in hostile:
            tenant.say(f"scribble {dice.getrandbits(60)} 800")
        expect("blocks with the right bytes", honest.load("h/m", range(64), 16 << 10), 64)
        honest.save("h/s", range(8), 16 << 10, base=1000 * (rounds + 1))
        words += sum(int(tenant.hear()) for tenant in hostile)
        expect("blocks with the right bytes", honest.load("h/m", range(64), 16 << 10), 64)
        rounds += 1
        victim = dice.choice(hostile)  # and some die in the middle of it
        victim.end()
        victim.start()
        victim.ask("open h/m" if "reader" in victim.name else "open x/n1")
    for tenant in hostile:
        tenant.end()
    held = town.wait_for_nothing_held()
    if held:
        raise Failed(f"held by the dead: {held}")
    grown = town.private_bytes() - before
    if grown > 128 << 20:
        raise Failed(f"the node's own memory grew by {grown >> 20} MiB")
    return (
        f"{rounds} rounds, {words} words and calls of garbage; the node grew by {grown >> 10} KiB"
    )


def hazards_hold_what_a_page_has_room_for_and_no_more(town: Town) -> str:
    """A reader that claims every slot there is keeps 4,096 of them from reuse, until it dies."""
    honest = Honest(town, "honest", "h/*", "read,write,admin")
    honest.save("h/m", range(6000), 256)
    with Tenant(town, "reader", "h/m", "read") as reader:
        reader.ask("open h/m")
        expect("cells of a page", reader.ask("hold 1000000"), "4096")
        honest.flush("h/m")
        stats = town.stats("h/m")
        expect("held slots", 0 < stats["limbo"] <= 4096, True)
        honest.save("h/m", range(6000), 256, base=10000)
        expect("what is saved beside them", honest.load("h/m", range(6000), 256, base=10000), 6000)
    held = town.wait_for_nothing_held()
    if held:
        raise Failed(f"held by the dead: {held}")
    return f"{stats['limbo']} slots held"


def garbage_on_the_socket_ends_its_connection_alone(town: Town) -> str:
    honest = Honest(town, "honest", "h/*", "read,write,admin")
    honest.save("h/m", range(16), 16 << 10)
    before = town.private_bytes()
    each = int(1000 * town.seconds / 3)
    told = wire(town, "wirer", "x/*", "read,write", each, "garbage", "halves", "promises")
    expect("blocks with the right bytes", honest.load("h/m", range(16), 16 << 10), 16)
    grown = town.private_bytes() - before
    if grown > 128 << 20:
        raise Failed(f"the node's own memory grew by {grown >> 20} MiB")
    return f"{told}; the node grew by {grown >> 10} KiB"


def what_the_node_grows_by(town: Town, what: str, milliseconds: int, most: int) -> str:
    """Calls with answers of some ten KB by a hostile client, beside a tenant that is served."""
    honest = Honest(town, "honest", "h/*", "read,write,admin")
    honest.save("h/m", range(16), 16 << 10)
    for number in range(60):  # each is some hundred bytes of an answer
        town.honest.speaker.ask(f"space x/n{number} stats")
    before = town.private_bytes()
    told = wire(town, "wirer", "x/*", "read,write", milliseconds, what, look=town)
    if town.most_private - before > most << 20:
        raise Failed(f"{told}: the node grew by {(town.most_private - before) >> 20} MiB")
    expect("blocks with the right bytes", honest.load("h/m", range(16), 16 << 10), 16)
    return f"{told}; the node grew by {(town.most_private - before) >> 10} KiB at most"


def answers_that_nobody_reads_cost_the_node_little(town: Town) -> str:
    return what_the_node_grows_by(town, "unread", 10000, 24)


def calls_that_are_never_finished_end_their_connection(town: Town) -> str:
    """The node keeps the answer of a call until its client says that it is done with it."""
    return what_the_node_grows_by(town, "unfinished", 60000, 96)


def calls_of_a_client_that_is_gone_are_refused(town: Town) -> str:
    """They lie in its socket when the node, which was stopped, hears that the process has ended."""
    honest = Honest(town, "honest", "h/*", "read,write,admin")
    honest.save("h/m", range(16), 16 << 10)
    for number in range(10):
        stop = threading.Timer(
            1.0, town.node.send_signal, [signal.SIGSTOP]
        )  # between login and calls
        stop.start()
        try:
            wire(town, f"wirer{number}", "x/*", "read,write", 1000, "words")
        finally:
            stop.join()
            town.node.send_signal(signal.SIGCONT)
        expect("blocks with the right bytes", honest.load("h/m", range(16), 16 << 10), 16)
    return "10 times"


def descriptors_that_were_let_go_unread_are_no_others_later(town: Town) -> str:
    """Meanwhile another tenant opens namespaces, whose descriptors get the lowest free numbers."""
    honest = Honest(town, "honest", "h/*", "read,write,admin")
    opened = iter(range(1000))

    def open_another() -> None:
        number = next(opened)
        honest.save(f"h/m{number % 20}", range(number, number + 2))

    told = wire(town, "wirer", "x/*", "read,write", 2000, "let-go", meanwhile=open_another)
    return f"{told} of its own, beside {next(opened)} namespaces of another"


def descriptors_that_are_let_go_unread_have_a_limit(town: Town) -> str:
    honest = Honest(town, "honest", "h/*", "read,write,admin")
    honest.save("h/m", range(16), 16 << 10)
    told = wire(town, "wirer", "x/*", "read,write", 2000, "let-go-all")
    expect("blocks with the right bytes", honest.load("h/m", range(16), 16 << 10), 16)
    return f"{told} lanes"


def a_crowd_that_says_nothing_keeps_nobody_out(town: Town) -> str:
    """The user's own limit, and the time that a login has."""
    honest = Honest(town, "honest", "h/*", "read,write,admin")
    honest.save("h/m", range(16), 16 << 10)
    told = wire(
        town,
        "wirer",
        "x/*",
        "read,write",
        4000,
        "crowd",
        meanwhile=lambda: expect(
            "blocks with the right bytes", honest.load("h/m", range(16), 16 << 10), 16
        ),
    )
    return told


def a_token_is_replaced_without_a_gap(town: Town) -> str:
    """The file of a tenant and the node's, while it saves and loads: no op is refused, and the old
    token admits nobody any more.
    """
    honest = Honest(town, "honest", "h/*", "read,write")
    honest.save("h/m", range(32))
    (town.folder / "honest" / "old").write_text(town.secrets[-1])
    for turn in range(4):
        honest.save("h/m", range(8), base=10 * turn + 1)
        town.give_token("honest", "h/*", "read,write")
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            honest.save("h/m", range(8), base=int(time.monotonic() * 1000))
            expect("blocks that are there", honest.load("h/m", range(32)), 32)
    late = Tenant(town, "honest", "h/*", "read,write")
    late.command[-1] = str(town.folder / "honest" / "old")
    try:
        Speaker.start(late)
        raise Failed("a token that was replaced admits")
    except Failed as refused:
        if "has ended with 1" not in str(refused):
            raise
    late.end()
    town.take_token("honest")
    until = time.monotonic() + 10
    while "does not allow" not in honest.speaker.ask("space h/m stats"):
        if time.monotonic() > until:
            raise Failed("a token that was taken away allows still")
        time.sleep(0.1)
    return "4 times"


def a_token_that_is_taken_away_ends_what_it_allowed(town: Town) -> str:
    """For a client that does not say what it has instead, at once; and what comes later in the
    namespace is not sent to it.
    """
    honest = Honest(town, "honest", "*", "read,write")
    honest.save("x/m", range(8))
    with Tenant(town, "writer", "x/m", "read,write,admin") as writer:
        opening = writer.ask("open x/m")
        writer.ask("serve 200")
        before, _ = files_of(writer)
        expect("a reservation", writer.ask(f"ask {opening} 2") != DENIED, True)
        town.take_token("writer")
        until = time.monotonic() + 10
        while writer.ask(f"ask {opening} 5") != DENIED:
            if time.monotonic() > until:
                raise Failed("a token that was taken away allows still")
            time.sleep(0.05)
        expect("a verb that writes", writer.ask(f"ask {opening} 2"), DENIED)
        expect("what it opens", "refused" in writer.ask("open x/m"), True)
        honest.save("x/m", range(2000), base=5)
        writer.ask("serve 500")
        expect("its files", files_of(writer)[0], before)
        expect("its namespaces", "x/m" in writer.ask("query namespaces"), False)
    return f"{before['read']} segments before and after"


TESTS = [
    a_token_is_replaced_without_a_gap,
    a_token_that_is_taken_away_ends_what_it_allowed,
    each_right_allows_what_it_says_and_nothing_else,
    a_client_holds_exactly_the_descriptors_that_it_may,
    openings_cost_the_node_no_descriptors,
    garbage_in_shared_memory_changes_nothing_that_others_read,
    hazards_hold_what_a_page_has_room_for_and_no_more,
    garbage_on_the_socket_ends_its_connection_alone,
    answers_that_nobody_reads_cost_the_node_little,
    calls_that_are_never_finished_end_their_connection,
    calls_of_a_client_that_is_gone_are_refused,
    descriptors_that_were_let_go_unread_are_no_others_later,
    descriptors_that_are_let_go_unread_have_a_limit,
    a_crowd_that_says_nothing_keeps_nobody_out,
]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    chosen = [test for test in TESTS if options.only in test.__name__]
    if chosen and os.geteuid() != 0:
        for test in chosen:
            print(f"left out: {test.__name__}: only root can become the users that it is about")
        print("0 passed, 0 failed")
        return 0
    passed = failed = 0
    for test in chosen:
        since = time.monotonic()
        town = Town(options.build.absolute(), options.seed, options.seconds)
        try:
            told = test(town)
            town.end()
            passed += 1
            print(f"passed {test.__name__} ({time.monotonic() - since:.1f} s) {told}", flush=True)
        except (Failed, subprocess.TimeoutExpired) as failure:
            failed += 1
            log = town.log_text()
            print(f"FAILED {test.__name__} (--seed {options.seed}): {failure}\n{log}", flush=True)
        finally:
            town.kill_all()
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
