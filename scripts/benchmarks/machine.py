"""Programs that a measure starts: their processes, processor time and memory.

psutil reads the figures, except processor time below a clock tick (10 ms), which it does not offer.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil
import rich_click as click

from actors.middleware.parent_death import end_with_parent

STOP_S = 10.0  # after SIGTERM; then SIGKILL
POLL_S = 0.02
MAX_SCANS = 5


class BenchmarkError(click.ClickException):
    """Raised when a measure cannot run or its result is invalid. The message is for the user."""


def session_processes(session_ids: set[int]) -> set[psutil.Process]:
    """All processes of these sessions, and their descendants in other sessions."""
    processes: dict[int, psutil.Process] = {}
    members = [pid for pid in psutil.pids() if _session_id(pid) in session_ids]
    for pid in [*session_ids, *members]:
        if pid not in processes:  # each call of children() reads all of /proc
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                processes |= {member.pid: member for member in (process, *process.children(recursive=True))}
    return set(processes.values())


def _session_id(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def cpu_s(session_ids: set[int]) -> float:
    """Processor time of the processes of these sessions and of their reaped children, in steps of a tick (10 ms)."""
    seconds = _cpu_s_by_process(session_ids)
    for _ in range(
        MAX_SCANS
    ):  # a child that is reaped during a scan may be counted neither by itself nor by its parent
        again = _cpu_s_by_process(session_ids)
        if again.keys() == seconds.keys():
            break
        seconds = again
    return sum(seconds.values())


def _cpu_s_by_process(session_ids: set[int]) -> dict[psutil.Process, float]:
    seconds = {}
    for process in session_processes(session_ids):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            seconds[process] = times.user + times.system + times.children_user + times.children_system
    return seconds


def threads_cpu_ns(session_ids: set[int], *, without: Container[int] = ()) -> int:
    """Processor time of the living threads of these sessions, in nanoseconds.

    For work that takes less than a tick: /proc/PID/task/TID/schedstat, which psutil does not read. `without` are ids of
    threads that do not count, such as the caller's own, whose figure is only updated at each tick while it runs.
    """
    tasks = (task for process in session_processes(session_ids) for task in _tasks(process.pid))
    return sum(_task_ns(task) for task in tasks if int(task.name) not in without)


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _task_ns(task: Path) -> int:
    try:
        return int((task / "schedstat").read_text().split()[0])
    except (OSError, IndexError):
        return 0


def other_cpu_s() -> float:
    """Processor time of everything but this program and its children, with the time that a hypervisor withheld."""
    times = psutil.cpu_times()
    busy = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    return float(busy) - cpu_s({os.getpid()})


def memory_mb(session_ids: set[int]) -> tuple[float, float]:
    """RSS and PSS of the processes of these sessions, in 10^6 bytes. PSS counts a shared page once in all."""
    rss = pss = 0
    for process in session_processes(session_ids):
        with contextlib.suppress(psutil.Error):
            memory = process.memory_full_info()
            rss += memory.rss
            pss += memory.pss
    return rss / 1e6, pss / 1e6


class Program:
    """A program that runs in its own session, so that all processes that it starts can be processes."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    @property
    def session_ids(self) -> set[int]:
        return {self.process.pid}

    def exit_status(self) -> int | None:
        """The exit status, or None while it runs. The process is not reaped, so its processor time stays readable."""
        result = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return result.si_status if result else None

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def running_program(command: Sequence[str], log: Path, *, env: Mapping[str, str], cwd: Path) -> Iterator[Program]:
    """Runs a program for the duration of the block, with its output in `log`. Ends all of its processes afterwards."""
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
        yield Program(process, log)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Sends SIGTERM to the process group, as a supervisor does, and SIGKILL after 10 s to what still runs."""
    members = session_processes({process.pid})
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    members |= session_processes({process.pid})
    if not _wait_until_ended(members):
        members |= session_processes({process.pid})
        for member in _running(members):
            with contextlib.suppress(psutil.Error):
                member.kill()
        _wait_until_ended(members)
    process.wait(STOP_S)


def _wait_until_ended(members: Iterable[psutil.Process]) -> bool:
    """Waits at most STOP_S. All members are checked, because a shell may end before the programs that it started."""
    deadline = time.monotonic() + STOP_S
    while _running(members):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _running(members: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The members that have not ended; psutil.wait_procs() would wait for zombies too, and reap our own child."""
    return [member for member in members if _is_running(member)]


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_command(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, within_s: float = 600) -> str:
    """Runs a program to its end. Returns its output.

    Raises:
        BenchmarkError: It failed, or took longer than `within_s`.
    """
    try:
        done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{command[0]} did not end within {within_s:.0f} s") from None
    if done.returncode:
        raise BenchmarkError(
            f"{' '.join(command[:4])} ended with {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}"
        )
    return done.stdout


def wait_for(what: str, holds: Callable[[], object], *, within_s: float) -> None:
    """Waits until `holds()` is true. Checks every 20 ms.

    Raises:
        BenchmarkError: It is not true within `within_s`.
    """
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{what}: not within {within_s:.0f} s")
        time.sleep(POLL_S)
