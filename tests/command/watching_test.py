"""What an operator sees of a node: metrics, `weft top`, who holds its memory, why a key misses."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import shutil
import socket
import subprocess
import time
import unittest
from typing import Any, ClassVar

from node import LIMIT_S, WEFT, Node, weft
from scraping import Measured, Scrape, scrape

OK, FAILED, USAGE, MISS = range(4)


def connected(node: Node) -> http.client.HTTPConnection:
    host, port = node.ready["metrics"][len("http://") : -len("/metrics")].rsplit(":", 1)
    return http.client.HTTPConnection(host, int(port), timeout=LIMIT_S)


class Metrics(Measured):
    def test_every_metric_has_help_a_type_and_a_name_of_the_field(self) -> None:
        self.node.json("put", "m/names", "-", "--name", "n", stdin=b"x")
        got = scrape(self.node)
        families = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in got.values}
        self.assertEqual(families, set(got.type))
        self.assertEqual(families, set(got.help))
        for name, kind in got.type.items():
            self.assertRegex(name, r"^(weft|process)_[a-z_]+$")
            self.assertEqual(kind == "counter", name.endswith("_total"), name)
            self.assertEqual(kind == "histogram", name.endswith("_seconds") and "call" in name)
            self.assertTrue(got.help[name].endswith("."), name)

    def test_what_happens_is_counted(self) -> None:
        before = scrape(self.node)
        self.node.json("put", "m/counts", "-", "--name", "n", stdin=b"seven b")
        self.assertEqual(self.node.run("get", "m/counts", "--name", "n").returncode, OK)
        self.assertEqual(self.node.run("get", "m/counts", "--name", "none").returncode, MISS)
        got = scrape(self.node)
        space = 'namespace="m/counts"'
        self.assertEqual(got.of("weft_blocks", space), 1)
        self.assertEqual(got.of("weft_saved_bytes_total", space), 7)
        self.assertEqual(got.of("weft_loaded_bytes_total", space), 7)
        self.assertEqual(got.of("weft_hits_total", space), 1)
        self.assertEqual(got.of("weft_misses_total", f'{space},reason="absent"'), 1)
        self.assertEqual(got.of("weft_misses_total", f'{space},reason="evicted"'), 0)
        self.assertEqual(got.of("weft_memory_limit_bytes"), 96 << 20)
        self.assertGreater(got.of("weft_memory_used_bytes"), 0)
        self.assertGreaterEqual(got.of("weft_clients"), 1)
        published = 'verb="publish"'
        calls = "weft_call_duration_seconds_count"
        self.assertEqual(got.of(calls, published), before.of(calls, published) + 1)

    def test_a_histogram_is_one(self) -> None:
        self.node.json("put", "m/histogram", "-", "--name", "n", stdin=b"x")
        got = scrape(self.node)
        buckets = [
            value
            for (name, labels), value in got.values.items()
            if name == "weft_call_duration_seconds_bucket" and 'verb="publish"' in labels
        ]
        self.assertEqual(buckets, sorted(buckets))
        self.assertEqual(buckets[-1], got.of("weft_call_duration_seconds_count", 'verb="publish"'))
        self.assertGreater(got.of("weft_call_duration_seconds_sum", 'verb="publish"'), 0)

    @unittest.skipUnless(shutil.which("promtool"), "no promtool here: apt install prometheus")
    def test_promtool_finds_nothing_to_say(self) -> None:
        connection = connected(self.node)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read()
        connection.close()
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
        )
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""))

    def test_other_pages_and_methods_are_refused_and_the_root_leads_on(self) -> None:
        connection = connected(self.node)
        for method, path, status in [
            ("GET", "/", 200),
            ("HEAD", "/metrics", 200),
            ("GET", "/metrics?name=weft_blocks", 200),
            ("GET", "/favicon.ico", 404),
            ("POST", "/metrics", 405),
        ]:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            self.assertEqual(answer.status, status, path)
            if path == "/":
                self.assertIn(b"/metrics", body)
        connection.close()

    def test_connections_beyond_the_limit_are_closed_and_scrapes_go_on(self) -> None:
        idle = [connected(self.node) for _ in range(40)]
        for connection in idle:
            connection.connect()
        # Far less than the seconds after which those within the limit are closed too.
        ready, _, _ = select.select([connection.sock for connection in idle], [], [], 2)
        time.sleep(0.5)
        ready, _, _ = select.select([connection.sock for connection in idle], [], [], 0)
        self.assertEqual(len(ready), 8)  # 32 at a time
        self.assertEqual({connection.recv(1) for connection in ready}, {b""})
        for connection in idle:
            connection.close()
        self.wait_for_scrape()

    def wait_for_scrape(self) -> None:
        """Until the server has seen that connections ended."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            try:
                scrape(self.node)
                return
            except subprocess.CalledProcessError:
                time.sleep(0.05)
        self.fail("no scrape")

    def test_a_peer_that_takes_no_answer_is_closed_in_seconds(self) -> None:
        """Its questions go on until the node hears no more: answers fill the socket's buffers."""
        connection = connected(self.node)
        connection.connect()
        connection.sock.settimeout(3)
        with self.assertRaises(TimeoutError):
            while True:
                connection.sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        self.wait_for_scrape()
        poll = select.poll()
        poll.register(connection.sock, 0)  # POLLHUP and POLLERR alone: nothing is read here
        ended = poll.poll(10 * 10 * 1000)
        self.assertNotEqual(ended, [])
        connection.close()
        self.wait_for_scrape()

    def test_a_peer_that_says_nothing_is_closed_in_seconds(self) -> None:
        connection = connected(self.node)
        connection.connect()
        connection.sock.settimeout(LIMIT_S)
        connection.sock.send(b"GET /metr")
        connection.sock.recv(65536)  # the end, or a word about it first
        connection.close()
        self.wait_for_scrape()


class Addresses(unittest.TestCase):
    def refused(self, *metrics: str) -> str:
        done = weft("serve", "-l", f"unix:/tmp/weft-{os.getpid()}.sock", "--metrics", *metrics)
        self.assertNotEqual(done.returncode, OK)
        return done.stderr.decode()

    def test_a_bad_address_is_named_with_what_is_expected(self) -> None:
        for address, words in [
            ("nowhere", "HOST:PORT is expected"),
            ("127.0.0.1:99999", "HOST:PORT is expected"),
            ("example.org:9464", "no number of an IP address"),
            ("::1:9464", "HOST:PORT is expected"),
            ("192.0.2.1:9464", "Cannot assign requested address"),
            ("unix:", "unix:PATH is expected"),
            ("unix:/nonexistent/m.sock", "No such file or directory"),
        ]:
            said = self.refused(address)
            self.assertIn(f"metrics={address}", said)
            self.assertIn(words, said)

    def test_an_address_in_use_is_said(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.assertIn(f"metrics={address}: bind: Address already in use", self.refused(address))

    def test_a_path_is_served_and_goes_with_the_node(self) -> None:
        node = Node()
        self.assertEqual(node.end(), OK)
        path = node.folder / "m.sock"
        for _ in range(2):
            node.start("--metrics", f"unix:{path}")
            self.assertEqual(node.ready["metrics"], f"unix:{path}")
            done = subprocess.run(
                ["curl", "-sSf", "--unix-socket", str(path), "http://localhost/metrics"],
                capture_output=True,
                check=True,
            )
            self.assertEqual(Scrape(done.stdout.decode()).of("weft_pinned_blocks"), 0)
            self.assertEqual(node.end(), OK)
            self.assertFalse(path.exists())

    def test_a_node_without_the_option_serves_none(self) -> None:
        node = Node()
        self.assertEqual(node.ready["metrics"], "")
        self.assertEqual(node.end(), OK)


class Watching(unittest.TestCase):
    node: ClassVar[Node]

    @classmethod
    def setUpClass(cls) -> None:
        cls.node = Node()

    @classmethod
    def tearDownClass(cls) -> None:
        assert cls.node.end() == OK

    def key(self, name: str, **fields: str) -> Any:
        """What `weft doctor` says of a key; --json has the node's whole answer."""
        extra = [part for key, value in fields.items() for part in (f"--{key}", value)]
        done = self.node.run("doctor", "w/keys", "--name", name, *extra, "--json")
        answer = json.loads(done.stdout)["explain"]
        self.assertEqual(done.returncode, OK if answer["there"] else MISS)
        return answer

    def test_doctor_says_why_a_key_misses(self) -> None:
        put = ["put", "w/keys", "-", "--name"]
        self.node.json(*put, "there", stdin=b"x")
        there = self.key("there")
        self.assertEqual((there["there"], there["bytes"], there["pins"]), (True, 1, 0))
        self.assertLess(there["used_s_ago"], LIMIT_S)

        never = self.key("never")
        self.assertEqual(never["reason"], "absent")
        self.assertIn("never saved", never["why"])
        self.assertNotIn("left_s_ago", never)

        self.node.json(*put, "short", "--ttl", "1", stdin=b"x")
        self.assertIn("expires_in_s", self.key("short"))
        end = time.monotonic() + LIMIT_S
        while self.key("short")["there"] and time.monotonic() < end:
            time.sleep(0.2)
        self.assertEqual(self.key("short")["reason"], "expired")

        self.node.json("put", "w/other", "-", "--name", "elsewhere", stdin=b"x")
        elsewhere = self.key("elsewhere")
        self.assertEqual(elsewhere["reason"], "absent")
        self.assertIn("in namespace w/other at version 0", elsewhere["why"])

        self.node.json("advance", "w/keys", "2")
        self.assertEqual(self.key("there")["reason"], "fenced")
        people = self.node.run("doctor", "w/keys", "--name", "there")
        self.assertEqual(people.returncode, MISS)
        self.assertIn(
            "only lower versions of it are known", " ".join(people.stdout.decode().split())
        )

    def test_what_was_evicted_and_what_was_removed_is_told_apart(self) -> None:
        put = ["put", "w/evicted", "-", "--layout", "parts=1,part_bytes=0,quota=4194304", "--name"]
        self.node.json(*put, "first", stdin=bytes(1 << 20))
        for i in range(6):
            self.node.json(*put, f"n{i}", stdin=bytes(1 << 20))
        explain = ["doctor", "w/evicted", "--json", "--name"]
        evicted = json.loads(self.node.run(*explain, "first").stdout)["explain"]
        self.assertEqual(evicted["reason"], "evicted")
        self.assertLess(evicted["left_s_ago"], LIMIT_S)
        self.node.json("drop", "w/evicted", "--flush", "--yes")
        removed = json.loads(self.node.run(*explain, "n5").stdout)["explain"]
        self.assertEqual(removed["reason"], "absent")
        self.assertIn("removed about", removed["why"])

    def test_doctor_judges_a_node_by_what_it_counted(self) -> None:
        self.node.json("put", "w/doctor", "-", "--name", "n", stdin=b"x")
        self.assertEqual(self.node.run("get", "w/doctor", "--name", "none").returncode, MISS)
        found = self.node.json("doctor")["findings"]
        by_subject = {finding["subject"]: finding for finding in found}
        self.assertLessEqual({"misses", "holders", "calls"}, set(by_subject))
        (misses,) = (f for f in found if f["subject"] == "misses" and "w/doctor" in f["found"])
        self.assertIn("absent 1", misses["found"])
        self.assertTrue(misses["advice"])
        self.assertIn("99 % within", by_subject["calls"]["found"])

    def test_doctor_measures_beside_memcpy_and_leaves_nothing(self) -> None:
        found = self.node.json("doctor", "--speed")["findings"]
        (speed,) = (f for f in found if f["subject"] == "speed")
        self.assertRegex(
            speed["found"], r"a look-up takes .*, a call .*; loads run at .* memcpy at"
        )
        names = [row["name"] for row in self.node.json("ls")["namespaces"]]
        self.assertFalse([name for name in names if name.startswith("weft-doctor/")])

    def test_stats_name_the_processes_that_hold_memory(self) -> None:
        holder = subprocess.Popen(
            [str(WEFT), "bench", "-c", self.node.address, "--json"], stdout=subprocess.DEVNULL
        )
        rows: list[Any] = []
        try:
            while holder.poll() is None and sum(row["stocked_bytes"] for row in rows) == 0:
                every = self.node.json("stats", "--processes")["processes"]
                rows = [row for row in every if row["pid"] == holder.pid]
        finally:
            holder.wait(LIMIT_S)
        self.assertGreater(sum(row["stocked_bytes"] for row in rows), 0)
        self.assertEqual({row["process"] for row in rows}, {"weft"})
        self.assertEqual({row["connected"] for row in rows}, {True})
        self.assertTrue(all(row["namespace"].startswith("weft-bench/") for row in rows), rows)
        every = self.node.json("stats", "--processes")["processes"]
        self.assertNotIn(holder.pid, [row["pid"] for row in every])
        people = self.node.run("stats", "--processes").stdout.decode()
        self.assertIn("quarantine", people)
        self.assertIn("half within", self.node.run("stats").stdout.decode())

    def test_top_shows_a_frame_of_80_columns(self) -> None:
        self.node.json("put", "w/top", "-", "--name", "n", stdin=b"x")
        done = self.node.run("top", "--once", "--interval", "0.2")
        self.assertEqual(done.returncode, OK, done.stderr)
        lines = done.stdout.decode().splitlines()
        self.assertTrue(all(len(line) <= 80 for line in lines), lines)
        text = "\n".join(lines)
        for word in ["memory", "look-ups", "calls", "NAMESPACE", "PROCESS", "w/top"]:
            self.assertIn(word, text)

    def looked_up(self, frames: list[Any]) -> bool:
        """Whether these frames of `weft top` show a hit and a miss in w/rates."""
        rows = [row for f in frames for row in f["namespaces"] if row["name"] == "w/rates"]
        hits = sum(row["hits_per_s"] for row in rows)
        return hits > 0 and sum(row["misses_per_s"]["absent"] for row in rows) > 0

    def test_top_has_rates_for_programs(self) -> None:
        command = [str(WEFT), "top", "-c", self.node.address, "--json", "--interval", "0.5"]
        top = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert top.stdout is not None
            frames = [json.loads(top.stdout.readline())]
            end = time.monotonic() + LIMIT_S
            while not self.looked_up(frames) and time.monotonic() < end:
                self.node.json("put", "w/rates", "-", "--name", "r", stdin=b"x")
                for name in ["r", "none"]:
                    self.node.run("get", "w/rates", "--name", name)
                frames.append(json.loads(top.stdout.readline()))
        finally:
            top.kill()
            top.communicate()
        self.assertTrue(self.looked_up(frames), frames)
        self.assertGreater(sum(f["calls"]["per_s"] for f in frames), 0)

    def test_top_waits_for_a_node_that_is_gone_and_once_says_so(self) -> None:
        node = Node()
        top = subprocess.Popen(
            [str(WEFT), "top", "-c", node.address, "--json", "--interval", "0.2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert top.stdout is not None and top.stderr is not None
        try:
            top.stdout.readline()
            self.assertEqual(node.end(), OK)
            while b"cannot be reached" not in top.stderr.readline():
                self.assertIsNone(top.poll())
            self.assertEqual(node.run("top", "--once").returncode, 4)
            node.start()
            end = time.monotonic() + LIMIT_S
            frame = json.loads(top.stdout.readline())
            while frame["up_s"] > LIMIT_S and time.monotonic() < end:
                frame = json.loads(top.stdout.readline())
            self.assertEqual(frame["namespaces"], [])
        finally:
            top.kill()
            top.communicate()
            self.assertEqual(node.end(), OK)
