"""What scripts and supervisors rely on in `weft`: statuses, JSON, signals, readiness."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import unittest
from pathlib import Path

from node import LIMIT_S, WEFT, Node, weft

VERBS = ["serve", "stats", "top", "ls", "get", "put", "advance", "drop", "bench", "doctor"]
OK, FAILED, USAGE, MISS, UNREACHABLE, DENIED = range(6)


class WithoutANode(unittest.TestCase):
    def test_every_verb_teaches_by_examples(self) -> None:
        for verb in VERBS:
            done = weft(verb, "--help")
            self.assertEqual(done.returncode, OK, verb)
            self.assertIn(f"Examples:\n  weft {verb}", done.stdout.decode())
            self.assertIn(f"\n  {verb} ", weft("--help").stdout.decode())

    def test_wrong_usage_is_status_2(self) -> None:
        for arguments in [
            [],
            ["frob"],
            ["ls", "--frob"],
            ["put", "demo/files"],
            ["get", "demo/files"],
            ["advance", "demo/files", "soon"],
            ["drop", "demo/files", "--version", "1"],
            ["serve", "--config", "/nonexistent"],
            ["stats", "--token-file", "/nonexistent"],
            ["serve", "-l", "unix:/tmp/never.sock", "--memory", "lots"],
            ["serve", "-l", "nowhere"],
            ["serve", "-l", "unix:/tmp/never.sock", "-o", "frob=1"],
            ["serve", "-l", "unix:/tmp/never.sock", "--tokens", "/nonexistent"],
            ["stats", "-c", "nowhere"],
            ["top", "--interval", "0"],
            ["doctor", "--key", "0" * 32],
            ["serve", "-l", "unix:/tmp/never.sock", "--metrics", "nowhere"],
            ["serve", "-l", "unix:/tmp/never.sock", "--metrics", "example.org:1"],
        ]:
            done = weft(*arguments)
            self.assertEqual(done.returncode, USAGE, arguments)
            self.assertTrue(done.stderr, arguments)

    def test_a_node_out_of_reach_is_status_4_and_one_document(self) -> None:
        done = weft("stats", "--json", "-c", "unix:/nonexistent/w.sock")
        self.assertEqual(done.returncode, UNREACHABLE, done.stderr)
        error = json.loads(done.stdout)
        self.assertEqual(error["status"], UNREACHABLE)
        self.assertIn("/nonexistent/w.sock", error["error"])
        self.assertIn("EPEER", error["code"])

    def test_an_unknown_option_is_named(self) -> None:
        done = weft("serve", "-l", "unix:/tmp/never.sock", "-o", "frob=1")
        self.assertIn(b"frob=1", done.stderr)

    def test_serve_says_one_object_a_line(self) -> None:
        done = weft("serve", "-l", "unix:/tmp/never.sock", "--memory", "lots", "--json")
        (line,) = done.stdout.splitlines()
        error = json.loads(line)
        self.assertEqual((error["status"], error["code"]), (USAGE, "EINVAL"))
        self.assertIn("memory=lots", error["error"])

    def test_where_proc_is_not_mounted_it_is_named(self) -> None:
        own = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        hide = 'mount -t tmpfs none /proc && exec "$0" bench --memory 64MiB'
        if subprocess.run([*own, "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("a mount namespace of its own is not allowed here")
        done = subprocess.run([*own, "sh", "-c", hide, str(WEFT)], capture_output=True, check=False)
        self.assertEqual(done.returncode, FAILED, done.stderr)
        self.assertIn(b"is /proc mounted?", done.stderr)

    def test_doctor_says_what_to_do(self) -> None:
        done = weft("doctor", "--json", "-c", "unix:/nonexistent/w.sock")
        answer = json.loads(done.stdout)
        self.assertEqual(done.returncode, OK if answer["fit"] else FAILED)
        findings = answer["findings"]
        subjects = {finding["subject"] for finding in findings}
        self.assertLessEqual(
            {"kernel", "memfd", "pidfd", "memory", "huge pages", "limits", "users", "libfabric"}
            | {"cuda", "socket"},
            subjects,
        )
        for finding in findings:
            self.assertTrue(finding["advice"] or finding["level"] == "ok", finding)

    def test_bench_has_ratios(self) -> None:
        done = weft("bench", "--json")
        self.assertEqual(done.returncode, OK, done.stderr)
        figures = {figure["name"]: figure for figure in json.loads(done.stdout)["figures"]}
        self.assertEqual(len(figures), 5)
        self.assertEqual(sum("ratio" in figure for figure in figures.values()), 3)
        for figure in figures.values():
            self.assertGreater(figure["value"], 0, figure)


class Idle(unittest.TestCase):
    def wakeups(self, pid: int) -> int:
        """How often the threads of the process have been put on a processor."""
        total = 0
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            switches = re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.M)
            total += sum(map(int, switches))
        return total

    def test_an_idle_node_wakes_up_at_most_ten_times_a_second(self) -> None:
        node = Node()
        try:
            time.sleep(1)
            before, since = self.wakeups(node.process.pid), time.monotonic()
            time.sleep(4)
            seconds = time.monotonic() - since
            self.assertLessEqual(self.wakeups(node.process.pid) - before, 10 * seconds)
        finally:
            self.assertEqual(node.end(), OK)


class Blocks(unittest.TestCase):
    """One node for all of these; each test has a namespace of its own."""

    node: Node

    @classmethod
    def setUpClass(cls) -> None:
        cls.node = Node()

    @classmethod
    def tearDownClass(cls) -> None:
        assert cls.node.end() == OK

    def test_a_file_comes_back_as_it_was(self) -> None:
        content = os.urandom(3_000_001)
        source, target = self.node.folder / "in", self.node.folder / "out"
        source.write_bytes(content)
        put = self.node.json("put", "t/files", str(source))
        self.assertEqual(put["key"], hashlib.sha256(content).digest()[16:].hex())
        self.assertEqual((put["bytes"], put["published"]), (len(content), True))
        again = self.node.json("put", "t/files", str(source))
        self.assertEqual((again["key"], again["published"]), (put["key"], False))
        got = self.node.run("get", "t/files", put["key"], "-o", str(target), "--verify")
        self.assertEqual(got.returncode, OK, got.stderr)
        self.assertEqual(target.read_bytes(), content)
        self.assertEqual(self.node.run("get", "t/files", put["key"]).stdout, content)

    def test_a_name_can_be_replaced(self) -> None:
        for content in [b"old", b"the new one"]:
            self.node.json("put", "t/names", "-", "--name", "n", "--replace", stdin=content)
            self.assertEqual(self.node.run("get", "t/names", "--name", "n").stdout, content)

    def test_a_miss_is_status_3_with_its_reason_and_no_file(self) -> None:
        self.node.json("put", "t/miss", "-", stdin=b"x")
        target = self.node.folder / "never"
        done = self.node.run("get", "t/miss", "--name", "nothing", "-o", str(target))
        self.assertEqual(done.returncode, MISS)
        self.assertIn(b"absent", done.stderr)
        self.assertFalse(target.exists())
        self.assertEqual(self.node.run("get", "t/none", "--name", "n").returncode, MISS)
        for verb in ["ls"], ["advance", "1"], ["drop", "--yes"]:
            done = self.node.run(verb[0], "t/none", *verb[1:])
            self.assertEqual(done.returncode, MISS, verb)
            self.assertIn(b"there is no namespace t/none", done.stderr, verb)
        names = [row["name"] for row in self.node.json("ls")["namespaces"]]
        self.assertNotIn("t/none", names, "looking creates nothing")

    def test_blocks_are_listed_in_pages(self) -> None:
        keys = {self.node.json("put", "t/list", "-", stdin=b"%d" % i)["key"] for i in range(5)}
        seen: list[str] = []
        after: list[str] = []
        while True:
            page = self.node.json("ls", "t/list", "--limit", "2", *after)
            self.assertLessEqual(len(page["blocks"]), 2)
            seen += [block["key"] for block in page["blocks"]]
            if page["next"] is None:
                break
            after = ["--after", page["next"]]
        self.assertEqual(len(seen), 5)
        self.assertEqual(set(seen), keys)
        every = self.node.json("ls", "t/list", "--limit", "0")["blocks"]
        self.assertEqual({block["key"] for block in every}, keys)
        self.assertTrue(self.node.json("ls", "t/list", "--key", seen[0])["there"])
        self.assertFalse(self.node.json("ls", "t/list", "--key", "0" * 31 + "1")["there"])
        self.assertEqual(self.node.json("ls", "t/list", "--layout")["parts"], 1)
        people = self.node.run("ls", "t/list").stdout.decode()
        self.assertEqual(len(people.splitlines()), 6, people)

    def test_advance_fences(self) -> None:
        self.node.json("put", "t/fence", "-", "--name", "n", stdin=b"of version 0")
        self.assertEqual(self.node.json("advance", "t/fence", "3")["floor"], 3)
        self.assertEqual(self.node.json("advance", "t/fence", "2")["floor"], 3)
        self.assertEqual(self.node.run("get", "t/fence", "--name", "n").returncode, MISS)
        old = self.node.run("get", "t/fence", "--name", "n", "--version", "0")
        self.assertEqual(old.returncode, FAILED)
        self.assertTrue(old.stderr)

    def test_drop_asks_and_flush_keeps_the_namespace(self) -> None:
        self.node.json("put", "t/drop", "-", "--name", "n", stdin=b"x")
        self.assertEqual(self.node.run("drop", "t/drop").returncode, USAGE)
        self.assertEqual(self.node.run("get", "t/drop", "--name", "n").stdout, b"x")
        self.assertEqual(self.node.json("drop", "t/drop", "--flush", "--yes")["removed"], 1)
        self.assertEqual(self.node.run("get", "t/drop", "--name", "n").returncode, MISS)
        self.assertEqual(self.node.json("ls", "t/drop")["blocks"], [])
        self.node.json("drop", "t/drop", "--yes")
        self.assertEqual(self.node.run("ls", "t/drop").returncode, MISS)

    def test_stats_count_and_read_well(self) -> None:
        self.node.json("put", "t/stats", "-", stdin=b"x")
        spaces = {row["name"]: row for row in self.node.json("stats")["namespaces"]}
        self.assertEqual(spaces["t/stats"]["blocks"], 1)
        self.assertIn("t/stats", self.node.run("stats").stdout.decode())
        about = self.node.run("stats", "--about")
        self.assertIn(b"of this client", about.stderr)
        self.assertIn(f"client of {self.node.address}", about.stdout.decode())
        self.assertTrue(self.node.json("stats", "--about")["version"])

    def test_doctor_finds_the_node(self) -> None:
        done = self.node.run("doctor")
        self.assertIn(f"process {self.node.process.pid} ", done.stdout.decode())
        self.assertIn("answers, version", done.stdout.decode())

    def test_bench_leaves_nothing_behind(self) -> None:
        self.assertEqual(len(self.node.json("bench")["figures"]), 5)
        names = [row["name"] for row in self.node.json("ls")["namespaces"]]
        self.assertFalse([name for name in names if name.startswith("weft-bench/")])


class Daemon(unittest.TestCase):
    def test_a_supervisor_is_told_each_state(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.bind(f"\0weft-notify-{os.getpid()}")
            supervisor.settimeout(LIMIT_S)
            node = Node(environment={"NOTIFY_SOCKET": f"@weft-notify-{os.getpid()}"})
            self.assertIn(b"READY=1", supervisor.recv(1000))
            self.assertEqual(node.ready["listen"], node.address)
            node.process.send_signal(signal.SIGHUP)
            self.assertIn(b"RELOADING=1", supervisor.recv(1000))
            self.assertEqual(supervisor.recv(1000), b"READY=1")
            self.assertEqual(node.end(), OK)
            self.assertEqual(supervisor.recv(1000), b"STOPPING=1")

    def test_a_successor_serves_at_once_after_a_clean_end(self) -> None:
        node = Node()
        node.json("put", "t/a", "-", "--name", "n", stdin=b"x")
        self.assertEqual(node.end(), OK)
        self.assertEqual(node.run("stats").returncode, UNREACHABLE)
        node.start()
        self.assertEqual(node.json("ls")["namespaces"], [])
        self.assertEqual(node.end(), OK)

    def test_floors_outlive_a_node_with_state(self) -> None:
        node = Node()
        self.assertEqual(node.end(), OK)
        state = node.folder / "state"
        state.mkdir()
        node.start("--state", str(state))
        node.json("put", "t/a", "-", "--name", "n", stdin=b"x")
        node.json("advance", "t/a", "5")
        self.assertEqual(node.end(), OK)
        node.start("--state", str(state))
        self.assertEqual(node.json("ls")["namespaces"][0]["floor"], 5)
        self.assertEqual(node.end(), OK)

    def test_tokens_are_read_again_on_sighup(self) -> None:
        node = Node()
        self.assertEqual(node.end(), OK)
        tokens, mine = node.folder / "tokens", node.folder / "mine"
        tokens.write_text("other * read,write\n")
        mine.write_text("mine\n")
        node.start("--tokens", str(tokens))
        put = ["put", "t/a", "-", "--name", "n", "--token-file", str(mine)]
        self.assertEqual(node.run(*put, stdin=b"x").returncode, DENIED)
        tokens.write_text("other * read,write\nmine t/* read,write\n")
        node.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + LIMIT_S
        while node.run(*put, stdin=b"x").returncode == DENIED and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(node.run(*put, stdin=b"x").returncode, OK)
        self.assertEqual(
            node.run("advance", "t/a", "1", "--token-file", str(mine)).returncode, DENIED
        )
        self.assertEqual(node.end(), OK)

    def test_the_command_line_wins_over_the_config_file(self) -> None:
        node = Node()
        self.assertEqual(node.end(), OK)
        config = node.folder / "weft.conf"
        config.write_text(
            '# a comment, with "quotes\nlisten=unix:/nonexistent/x.sock\n'
            "log_level=error\n\nmemory=1KiB,timeout_ms=2000\n"
        )
        node.start("--config", str(config))
        self.assertEqual(node.json("stats")["memory"], 96 << 20)
        self.assertEqual(node.end(), OK)

    def test_the_sample_config_is_understood(self) -> None:
        sample = Path(__file__).resolve().parents[2] / "capi/cli/weft.conf"
        node = Node()
        self.assertEqual(node.end(), OK)
        config = node.folder / "weft.conf"
        config.write_text(sample.read_text().replace("/var/lib/weft", str(node.folder / "state")))
        (node.folder / "state").mkdir()
        node.start("--config", str(config))
        self.assertEqual(node.end(), OK)
