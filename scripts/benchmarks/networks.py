"""Several hosts on one machine: network namespaces on a bridge, each with an address and a name of its own.

The whole measure runs within a network namespace, so nothing of this machine's own network is touched, and the kernel
takes everything away when the last process in it has ended, however that came.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.environment import ROOT
from scripts.benchmarks.machine import Trouble, call, running, wait_for

INSIDE = "ESTEIRA_BENCH_HOSTS"
NETWORK = "198.18.0.0/15"  # kept for benchmarks (RFC 2544): nobody's own
HUB = "198.18.0.1"
BRIDGE = "hub"
TOOLS = ("ip", "unshare", "nsenter")
WAYS = (
    ("unshare", "--net"),
    ("unshare", "--user", "--map-current-user", "--keep-caps", "--net"),
)
NEEDED = f"ip link add {BRIDGE} type bridge && unshare --net --uts true"
START_S = 10.0


def enter(arguments: Sequence[str]) -> None:
    """Begins this program anew, with these arguments, in a network of its own; returns if it is in one already.

    Raises:
        Trouble: this machine lets nobody make one, or the tools for it are missing.
    """
    if os.environ.get(INSIDE):
        call(["ip", "link", "set", "lo", "up"], env=os.environ, cwd=ROOT)
        return
    if absent := [tool for tool in TOOLS if not shutil.which(tool)]:
        raise Trouble(f"hosts need {', '.join(absent)}: install iproute2 and util-linux")
    way = next((way for way in WAYS if permitted(way)), None)
    if way is None:
        raise Trouble(
            "hosts need network namespaces, which this machine lets us make neither as we are nor in a user namespace: "
            "run this as root, or allow it (kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0)"
        )
    program = [*way, sys.executable, "-m", "scripts.benchmarks", *arguments]
    os.execvpe(way[0], program, {**os.environ, INSIDE: "1"})  # noqa: S606  (it is our own)


def permitted(way: Sequence[str]) -> bool:
    """Whether this machine lets us make networks this way."""
    return subprocess.run([*way, "sh", "-c", NEEDED], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Host:
    """A network namespace with a cable to the bridge. `within` is what comes before a command that is to run there."""

    name: str
    address: str
    cable: str
    pid: int

    @property
    def within(self) -> list[str]:
        spaces = Path("/proc") / str(self.pid) / "ns"
        return ["nsenter", f"--net={spaces / 'net'}", f"--uts={spaces / 'uts'}", "--"]

    def plug(self, *, into: bool) -> None:
        """The cable is put in or pulled out. Nobody is told: no connection is closed."""
        _ip("link", "set", self.cable, "up" if into else "down")


@contextlib.contextmanager
def bridge() -> Iterator[None]:
    """What the hosts' cables lead to, with the address HUB, for servers that all of them share."""
    _ip("link", "add", BRIDGE, "type", "bridge")
    try:
        _ip("addr", "add", f"{HUB}/15", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        yield
    finally:
        _ip("link", "del", BRIDGE)


@contextlib.contextmanager
def host(number: int, name: str, folder: Path) -> Iterator[Host]:
    """A host on the bridge, with lo and one address, for the length of the block; `folder` is for its log."""
    holder = ["unshare", "--net", "--uts", "--", "sh", "-c", f"hostname {name} && echo ready && exec sleep infinity"]
    log = folder / "host.log"
    with running(holder, log, env=os.environ, cwd=folder) as held:
        wait_for(f"{name} is there", lambda: held.ended() is not None or "ready" in held.said(), within_s=START_S)
        made = Host(name, f"198.18.1.{number}", f"cable{number}", held.process.pid)
        _ip("link", "add", made.cable, "type", "veth", "peer", "name", "eth0", "netns", str(made.pid))
        _ip("link", "set", made.cable, "master", BRIDGE, "up")
        for words in (("link", "set", "lo", "up"), ("addr", "add", f"{made.address}/15", "dev", "eth0")):
            _ip(*words, within=made.within)
        _ip("link", "set", "eth0", "up", within=made.within)
        try:
            yield made
        finally:
            _ip("link", "del", made.cable)  # the kernel would take its time


def _ip(*words: str, within: Sequence[str] = ()) -> None:
    call([*within, "ip", *words], env=os.environ, cwd=ROOT, within_s=START_S)
