"""Talks to players: processes of one language that make ABI calls for the driver, one line for
each call and one back.

A request is `VERB NAME=NUMBER...`, an answer `NAME=NUMBER...`; texts are hexadecimal, lists are
separated by commas, the parts of one item by colons. README.md has the verbs.

Invariants: a player that does not answer within kAnswer seconds, or ends, is a failure with
words, never a hang; a player that was not killed by the scenario has to end by itself with
status 0 when its input ends.
"""

import os
import select
import signal
import subprocess
import time

ANSWER_S = 60.0
END_S = 20.0


class Failed(Exception):
    """A step, or its player, did not do what was expected."""


class Player:
    def __init__(self, command: list, log):
        self.killed = False
        self.wakes = False  # it is stopped, and goes on when the next call has been sent to it
        self.rest = b""
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0
        )

    def ask(self, request: str) -> dict:
        try:
            self.process.stdin.write(request.encode() + b"\n")
        except BrokenPipeError:
            raise Failed(f"the player ended with {self.process.wait()} before: {request}") from None
        if self.wakes:
            self.wakes = False
            self.signal(signal.SIGCONT)
        answer = self.line(request)
        return dict(word.split("=", 1) for word in answer.split())

    def line(self, request: str) -> str:
        until = time.monotonic() + ANSWER_S
        while b"\n" not in self.rest:
            ready, _, _ = select.select(
                [self.process.stdout], [], [], max(0.0, until - time.monotonic())
            )
            if not ready:
                raise Failed(f"the player did not answer in {ANSWER_S:.0f} s: {request}")
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                raise Failed(f"the player ended with {self.process.wait()} in: {request}")
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.killed = True
            self.process.wait()

    def end(self) -> str:
        """Ends its input; returns what is wrong with how it ended, or nothing."""
        if self.killed:
            return ""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        try:
            status = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"a player did not end within {END_S:.0f} s of its input's end"
        return f"a player ended with {status}" if status else ""

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.killed = True
