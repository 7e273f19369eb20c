"""Confinement of the sandbox's children, and their end with the parent."""

from __future__ import annotations

import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.errors import Code, PermanentError, PipelineError
from pipeline.sandbox import Sandbox, privileges

HOSTILE = "tests.support.hostile_decoders"
ROOT = Path(__file__).parents[3]

filtered = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "aarch64"}, reason="system calls are filtered on x86-64 and ARM64 only"
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(processes=1, memory_mb=200, cpu_s=2, wall_s=5)
    yield sandbox
    sandbox.close()


def permanent_error(sandbox: Sandbox, name: str, **arguments: object) -> Code:
    """Code of the permanent error that the hostile decoder ends with."""
    with pytest.raises(PipelineError) as caught:
        sandbox.call(f"{HOSTILE}:{name}", **arguments)
    assert isinstance(caught.value, PermanentError)
    return caught.value.code


def test_a_child_inherits_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "very-secret")
    sandbox = Sandbox(processes=1, memory_mb=200, cpu_s=2, wall_s=5)
    environment = sandbox.call(f"{HOSTILE}:environment")
    sandbox.close()
    assert "very-secret" not in str(environment)
    assert set(environment) <= {
        "PATH",
        "LC_ALL",
        "LC_CTYPE",
        "PYTHONPATH",
        "MALLOC_ARENA_MAX",
        "MALLOC_TRIM_THRESHOLD_",
        "MALLOC_MMAP_THRESHOLD_",
        "OMP_NUM_THREADS",
        "LD_LIBRARY_PATH",
    }


def test_a_child_cannot_connect_to_a_server(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        with pytest.raises(PipelineError):
            sandbox.call(f"{HOSTILE}:connect", port=server.getsockname()[1])
        with pytest.raises(TimeoutError):
            server.accept()


@filtered
def test_a_child_cannot_start_processes(sandbox: Sandbox) -> None:
    assert permanent_error(sandbox, "fork_bomb") == Code.DECODER_CRASH
    assert permanent_error(sandbox, "run_program") == Code.DECODER_CRASH


@filtered
def test_a_child_cannot_create_change_or_remove_files(sandbox: Sandbox, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"kept")
    assert permanent_error(sandbox, "write", path=str(tmp_path / "new")) == Code.DECODER_CRASH
    assert permanent_error(sandbox, "overwrite", path=str(kept)) == Code.DECODER_CRASH
    assert permanent_error(sandbox, "remove", path=str(kept)) == Code.DECODER_CRASH
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("kept", b"kept")]


@filtered
def test_a_child_cannot_change_the_limits_of_its_parent(sandbox: Sandbox) -> None:
    before = resource.prlimit(0, resource.RLIMIT_NOFILE)
    assert permanent_error(sandbox, "limit_process", process=os.getpid()) == Code.DECODER_CRASH
    assert resource.prlimit(0, resource.RLIMIT_NOFILE) == before


@filtered
def test_a_child_cannot_signal_its_parent(sandbox: Sandbox) -> None:
    assert permanent_error(sandbox, "signal_process", number=0, process=os.getpid()) == Code.DECODER_CRASH


def test_a_child_runs_in_its_own_session(sandbox: Sandbox) -> None:
    child = sandbox.call(f"{HOSTILE}:pid")
    assert os.getsid(child) == child != os.getsid(0)


PARENT = f"""
import sys, threading, time
from pipeline.sandbox import Sandbox, privileges
box = Sandbox(processes=2, memory_mb=200, cpu_s=30, wall_s=60)
print(box.call("{HOSTILE}:pid"), flush=True)
threading.Thread(target=lambda: box.call("{HOSTILE}:spin_in_c"), daemon=True).start()
time.sleep(0.3)
print(box.call("{HOSTILE}:pid"), flush=True)
time.sleep(60)
"""


def test_idle_and_busy_children_end_with_a_killed_parent() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        children = [psutil.Process(int(parent.stdout.readline())) for _ in range(2)]
        assert len({child.pid for child in children}) == 2
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=3)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []


def test_a_forked_process_starts_its_own_children() -> None:
    sandbox = Sandbox(processes=1, memory_mb=200, cpu_s=2, wall_s=5)
    own_child = sandbox.call(f"{HOSTILE}:pid")
    reading, writing = os.pipe()
    forked = os.fork()
    if forked == 0:
        os.write(writing, str(sandbox.call(f"{HOSTILE}:pid")).encode())
        os._exit(0)
    child_of_fork = int(os.read(reading, 20))
    os.waitpid(forked, 0)
    os.close(reading)
    os.close(writing)
    assert child_of_fork != own_child
    assert sandbox.call(f"{HOSTILE}:pid") == own_child
    sandbox.close()


def test_many_crashing_calls_leave_no_process_behind() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    sandbox = Sandbox(processes=2, memory_mb=200, cpu_s=1, wall_s=2)
    for name in ("segfault", "abort", "exit_process", "fork_bomb") * 2:
        with pytest.raises(PermanentError):
            sandbox.call(f"{HOSTILE}:{name}", **({"status": 1} if name == "exit_process" else {}))
    sandbox.close()
    deadline = time.monotonic() + 5
    while {child.pid for child in psutil.Process().children(recursive=True)} - before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("allowed", "highest"), [(resource.RLIM_INFINITY, 4096), (100_000, 4096), (400, 300), (1, 1)])
def test_the_limit_of_threads_does_not_grow_without_end(
    monkeypatch: pytest.MonkeyPatch, allowed: int, highest: int
) -> None:
    limits: list[int] = []
    monkeypatch.setattr(privileges, "can_start_thread", lambda: False)
    monkeypatch.setattr("resource.getrlimit", lambda _: (allowed, allowed))
    monkeypatch.setattr("resource.setrlimit", lambda _, values: limits.append(values[0]))
    with pytest.raises(BlockingIOError):  # EAGAIN
        privileges.limit_threads()
    assert max(limits) == highest
