"""The processes of this machine: whole families of them, their processor time and their memory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import rich_click as click

from actors.middleware.parent_death import end_with_parent

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STOP_S = 10.0
STATE, PARENT, SESSION, USER, STARTED = 0, 1, 3, 11, 19  # places in /proc/PID/stat from the state on (proc(5))


class Trouble(click.ClickException):
    """What stands in the way of a measure, for its user to read."""


def family(leaders: set[int]) -> dict[int, list[str]]:
    """These processes, their sessions and all descendants: the fields of /proc/PID/stat by process id."""
    table = _stats()
    found = {pid for pid, stat in table.items() if pid in leaders or int(stat[SESSION]) in leaders}
    while more := {pid for pid, stat in table.items() if int(stat[PARENT]) in found} - found:
        found |= more
    return {pid: table[pid] for pid in found}


def _stats() -> dict[int, list[str]]:
    table = {}
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(entry.path, "stat").read_text(errors="replace")
                table[int(entry.name)] = stat.rpartition(")")[2].split()
    return table


def cpu_s(leaders: set[int]) -> float:
    """Processor time of a family so far, with that of the children it has buried, in steps of a tick (10 ms)."""
    known: dict[int, list[str]] = {}
    for _ in range(5):  # one that is buried between two looks would be missing from both
        now = family(leaders)
        if now.keys() == known.keys():
            break
        known = now
    return sum(int(ticks) for stat in known.values() for ticks in stat[USER : USER + 4]) / TICKS_PER_S


def run_ns(leaders: set[int], *, without: Container[int] = ()) -> int:
    """Processor time of the threads of a family that live, in nanoseconds: for what takes less than a tick.

    `without` are threads that do not count, such as the one that asks: what runs just now is known to a tick alone.
    """
    tasks = (task for pid in family(leaders) for task in _tasks(pid))
    return sum(_task_ns(task) for task in tasks if int(task.name) not in without)


def _tasks(pid: int) -> list[Path]:
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def _task_ns(task: Path) -> int:
    try:
        return int((task / "schedstat").read_text().split()[0])
    except (OSError, IndexError):
        return 0


def others_cpu_s() -> float:
    """Processor time that went to anything but this program and its children, also what a host has withheld."""
    user, nice, system, _, _, irq, softirq, steal = map(int, (PROC / "stat").read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S - cpu_s({os.getpid()})


def memory_mb(leaders: set[int]) -> tuple[float, float]:
    """RSS and PSS (a page that several share counted once) of a family, in 10^6 bytes."""
    rss = pss = 0
    for pid in family(leaders):
        with contextlib.suppress(OSError):
            rss += int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES
            pss += _pss_bytes(pid)
    return rss / 1e6, pss / 1e6


def _pss_bytes(pid: int) -> int:
    rollup = (PROC / str(pid) / "smaps_rollup").read_text()
    return 1024 * int(rollup.partition("\nPss:")[2].split()[0]) if "\nPss:" in rollup else 0


class Running:
    """A program in a session of its own, so that all that it starts is found."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    @property
    def leaders(self) -> set[int]:
        return {self.process.pid}

    def ended(self) -> int | None:
        """Its exit status, once it has ended. Leaves it unburied, so that its processor time can still be read."""
        gone = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return gone.si_status if gone else None

    def said(self, lines: int = 15) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, *, env: Mapping[str, str], cwd: Path) -> Iterator[Running]:
    """A program for the length of the block, with its output in `log`. Nothing of it is left afterwards."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=partial(end_with_parent, signal.SIGTERM),  # noqa: PLW1509  (it takes no lock)
        )
    try:
        yield Running(process, log)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """TERM to its group as a supervisor sends it; after ten seconds KILL to whatever is left of the family."""
    members = family({process.pid})
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    members |= family({process.pid})
    if not _gone(members, within_s=STOP_S):
        members |= family({process.pid})
        for pid in _alive(members):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _gone(members, within_s=STOP_S)
    process.wait(STOP_S)


def _gone(members: Mapping[int, list[str]], *, within_s: float) -> bool:
    """Whether all of them have ended, at the latest after so many seconds. A shell ends before what it has started."""
    deadline = time.monotonic() + within_s
    while _alive(members):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _alive(members: Mapping[int, list[str]]) -> list[int]:
    """Those that are there still; another process may have the same number meanwhile."""
    now = _stats()
    return [
        pid
        for pid, stat in members.items()
        if pid in now and now[pid][STARTED] == stat[STARTED] and now[pid][STATE] != "Z"
    ]


def call(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, within_s: float = 600) -> str:
    """Runs a program to its end; what it printed.

    Raises:
        Trouble: it failed, or took too long.
    """
    try:
        done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired:
        raise Trouble(f"{command[0]} did not end within {within_s:.0f} s") from None
    if done.returncode:
        raise Trouble(f"{' '.join(command[:4])} ended with {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def wait_for(what: str, holds: Callable[[], object], *, within_s: float) -> None:
    """Returns once `holds()` is true; looks every 20 ms.

    Raises:
        Trouble: the time is over.
    """
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise Trouble(f"{what}: not within {within_s:.0f} s")
        time.sleep(0.02)
