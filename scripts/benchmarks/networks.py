"""Several hosts on one machine: network namespaces on a bridge, each with its own address and host name.

The whole measure runs in a network namespace of its own, so this machine's network is not changed, and the kernel
removes everything when the last process in it ends.
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
from scripts.benchmarks.machine import BenchmarkError, run_command, running_program, wait_for

ENTERED_VARIABLE = "ESTEIRA_BENCH_HOSTS"
NETWORK = "198.18.0.0/15"  # reserved for benchmarks (RFC 2544)
HUB = "198.18.0.1"
BRIDGE = "hub"
TOOLS = ("ip", "unshare", "nsenter")
UNSHARE_COMMANDS = (
    ("unshare", "--net"),
    ("unshare", "--user", "--map-current-user", "--keep-caps", "--net"),
)
NEEDED = f"ip link add {BRIDGE} type bridge && unshare --net --uts true"
START_S = 10.0


def enter(arguments: Sequence[str]) -> None:
    """Restarts this program in a new network namespace. Returns if it already runs in one.

    Raises:
        BenchmarkError: Network namespaces are not permitted, or the tools are missing.
    """
    if os.environ.get(ENTERED_VARIABLE):
        run_command(["ip", "link", "set", "lo", "up"], env=os.environ, cwd=ROOT)
        return
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        raise BenchmarkError(f"hosts need {', '.join(missing)}: install iproute2 and util-linux")
    command = next((command for command in UNSHARE_COMMANDS if is_permitted(command)), None)
    if command is None:
        raise BenchmarkError(
            "hosts need network namespaces, which are not permitted here, neither directly nor in a user namespace: "
            "run this as root, or allow them (kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0)"
        )
    program = [*command, sys.executable, "-m", "scripts.benchmarks", *arguments]
    os.execvpe(command[0], program, {**os.environ, ENTERED_VARIABLE: "1"})  # noqa: S606  (our own program)


def is_permitted(command: Sequence[str]) -> bool:
    """Whether this command can create a network namespace here."""
    return subprocess.run([*command, "sh", "-c", NEEDED], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Host:
    """A network namespace with a link to the bridge. `prefix` precedes a command that runs in it."""

    name: str
    address: str
    link_name: str
    pid: int

    @property
    def prefix(self) -> list[str]:
        spaces = Path("/proc") / str(self.pid) / "ns"
        return ["nsenter", f"--net={spaces / 'net'}", f"--uts={spaces / 'uts'}", "--"]

    def set_link(self, *, up: bool) -> None:
        """Connects or disconnects the host. Open connections are not closed."""
        _ip("link", "set", self.link_name, "up" if up else "down")


@contextlib.contextmanager
def bridge() -> Iterator[None]:
    """Creates the bridge of the hosts for the duration of the block, with the address HUB for shared servers."""
    _ip("link", "add", BRIDGE, "type", "bridge")
    try:
        _ip("addr", "add", f"{HUB}/15", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        yield
    finally:
        _ip("link", "del", BRIDGE)


@contextlib.contextmanager
def host(number: int, name: str, folder: Path) -> Iterator[Host]:
    """Creates a host on the bridge, with lo and one address, for the duration of the block. Logs to `folder`."""
    holder = ["unshare", "--net", "--uts", "--", "sh", "-c", f"hostname {name} && echo ready && exec sleep infinity"]
    log = folder / "host.log"
    with running_program(holder, log, env=os.environ, cwd=folder) as holder_process:
        wait_for(
            f"start of {name}",
            lambda: holder_process.exit_status() is not None or "ready" in holder_process.log_tail(),
            within_s=START_S,
        )
        created = Host(name, f"198.18.1.{number}", f"link{number}", holder_process.process.pid)
        _ip(
            "link",
            "add",
            created.link_name,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            str(created.pid),
        )
        _ip("link", "set", created.link_name, "master", BRIDGE, "up")
        for words in (("link", "set", "lo", "up"), ("addr", "add", f"{created.address}/15", "dev", "eth0")):
            _ip(*words, prefix=created.prefix)
        _ip("link", "set", "eth0", "up", prefix=created.prefix)
        try:
            yield created
        finally:
            _ip("link", "del", created.link_name)  # the kernel would remove it later


def _ip(*words: str, prefix: Sequence[str] = ()) -> None:
    run_command([*prefix, "ip", *words], env=os.environ, cwd=ROOT, within_s=START_S)
