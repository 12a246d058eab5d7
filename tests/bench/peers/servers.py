"""The stores' servers, each with its best documented settings, in processes of their own.

Invariants: a server has its folder, its free ports and its memory from here, is ready when its
start returns, and is gone when its Servers is closed; nothing of it stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Servers:
    """Processes that end with this object. memory: bytes for blocks; pool: of a client's own."""

    def __init__(self, memory: int, pool: int) -> None:
        self.memory = memory
        self.pool = pool
        self.folder = tempfile.mkdtemp(prefix="peer")
        self.shared = tempfile.mkdtemp(prefix="weft-peer", dir="/dev/shm")
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str) -> None:
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            )

    def wait(self, ready: Callable[[], bool]) -> None:
        for _ in range(600):
            if any(process.poll() is not None for process in self.processes):
                break
            if ready():
                return
            time.sleep(0.05)
        with open(os.path.join(self.folder, "log"), errors="replace") as log:
            words = log.read()[-1500:]
        raise RuntimeError(f"{self.processes[-1].args}: not ready\n{words}")

    def listening(self, port: int) -> Callable[[], bool]:
        def asked() -> bool:
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", port)) == 0

        return asked

    def close(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
        shutil.rmtree(self.folder)
        shutil.rmtree(self.shared)

    def weft(self) -> dict[str, Any]:
        path = os.path.join(self.folder, "weft.sock")
        words = ["--memory", str(self.memory), "--prefault", "--log-level", "warning"]
        self.run("weft", "serve", *words, "--listen", f"unix:{path}")
        self.wait(lambda: os.path.exists(path))
        return {"address": f"unix:{path}"}

    def weft_own(self) -> dict[str, Any]:
        return {"address": f"unix:{os.path.join(self.folder, 'weft.sock')}", "memory": self.memory}

    def redis(self) -> dict[str, Any]:
        """Nothing kept on disk; frees in the background; one thread, as two processors allow."""
        port, path = free_port(), os.path.join(self.folder, "redis.sock")
        words = ["--save", "", "--appendonly", "no", "--lazyfree-lazy-user-del", "yes"]
        words += ["--bind", "127.0.0.1", "--port", str(port), "--unixsocket", path]
        self.run("redis-server", *words, "--dir", self.folder)
        self.wait(lambda: os.path.exists(path))
        return {"port": port, "path": path}

    def redis_tcp(self) -> dict[str, Any]:
        return {"address": self.redis()["port"]}

    def redis_unix(self) -> dict[str, Any]:
        return {"address": self.redis()["path"]}

    def memcached(self, *where: str) -> None:
        words = ["-m", str((self.memory >> 20) + 256), "-I", "32m", "-t", "2", "-u", "root"]
        self.run("memcached", *words, *where)

    def memcached_tcp(self) -> dict[str, Any]:
        port = free_port()
        self.memcached("-l", "127.0.0.1", "-p", str(port), "-U", "0")
        self.wait(self.listening(port))
        return {"address": port}

    def memcached_unix(self) -> dict[str, Any]:
        path = os.path.join(self.folder, "memcached.sock")
        self.memcached("-s", path)
        self.wait(lambda: os.path.exists(path))
        return {"address": path}

    def mooncake_master(self) -> str:
        port = free_port()
        words = [f"--rpc_port={port}", f"--metrics_port={free_port()}"]
        self.run("mooncake_master", *words, "--rpc_enable_tcp_no_delay=true")
        self.wait(self.listening(port))
        return f"127.0.0.1:{port}"

    def mooncake_own(self) -> dict[str, Any]:
        return {"master": self.mooncake_master(), "memory": self.memory}

    def mooncake(self) -> dict[str, Any]:
        """The owner of the segment, which dummy clients ask over `client`."""
        master, port = self.mooncake_master(), free_port()
        words = ["--host=127.0.0.1", f"--port={port}", "--metadata_server=P2PHANDSHAKE"]
        words += [f"--global_segment_size={self.memory >> 20}MB", "--protocol=tcp"]
        self.run("mooncake_client", *words, f"--master_server_address={master}")
        self.wait(self.listening(port))
        time.sleep(1)  # its segment is mounted a little later, and nothing says so
        return {"master": master, "client": f"127.0.0.1:{port}", "pool": self.pool}

    def lmcache_cpu(self) -> dict[str, Any]:
        return {"memory": self.memory}

    def lmcache_files(self) -> dict[str, Any]:
        return {"folder": self.shared}
