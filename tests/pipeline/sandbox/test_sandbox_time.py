"""Only the CPU time that a decoder really used is held against its file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.sandbox import Sandbox
from pipeline.sandbox.process import Child, ChildOverdueError

HOSTILE = "tests.support.hostile_decoders"
MEMORY_MB = 200


@pytest.fixture
def single() -> Iterator[Sandbox]:
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=3)
    yield box
    box.close()


def call(sandbox: Sandbox, name: str, **arguments: object) -> object:
    return sandbox.call(f"{HOSTILE}:{name}", **arguments)


def test_a_child_that_is_stopped_says_nothing_about_its_file(single: Sandbox) -> None:
    child = call(single, "pid")
    assert isinstance(child, int)
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(call, single, "work", seconds=0.5)
        time.sleep(0.1)
        os.kill(child, signal.SIGSTOP)
        error = working.exception()
    assert isinstance(error, RetryableError)
    assert error.code == Code.TOO_COSTLY
    assert not psutil.pid_exists(child)
    assert call(single, "echo", still="here") == {"still": "here"}


def test_cpu_time_of_earlier_calls_does_not_condemn_a_file(single: Sandbox) -> None:
    first = call(single, "pid")
    for _ in range(3):
        call(single, "work", seconds=0.4)
    assert call(single, "pid") == first
    with pytest.raises(RetryableError):
        call(single, "hang")


def test_file_32_a_decoder_that_ignores_the_end_of_its_cpu_time_is_refused_for_good() -> None:
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=8)
    with pytest.raises(PermanentError) as caught:
        call(box, "spin_past_its_limit")
    assert (caught.value.code, caught.value.message) == (Code.TOO_COSTLY, "takes longer than is allowed")
    box.close()


@pytest.mark.parametrize(
    ("cpu_s", "wall_s", "used", "verdict"),
    [
        pytest.param(10, 20, 0.0, RetryableError, id="none"),
        pytest.param(10, 20, 7.0, RetryableError, id="most: on a machine at leisure it had ended"),
        pytest.param(10, 20, 9.9, PermanentError, id="all"),
        pytest.param(10, 2, 1.0, RetryableError, id="half of a short time"),
        pytest.param(10, 2, 1.9, PermanentError, id="all of a short time"),
    ],
)
def test_a_file_is_refused_for_its_cpu_time_and_not_for_the_time_by_the_clock(
    monkeypatch: pytest.MonkeyPatch, cpu_s: int, wall_s: float, used: float, verdict: type[PipelineError]
) -> None:
    def overdue(*_: object, **__: object) -> None:
        raise ChildOverdueError(used)

    monkeypatch.setattr(Child, "ask", overdue)
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=cpu_s, wall_s=wall_s)
    with pytest.raises(verdict) as caught:
        call(box, "echo")
    assert caught.value.code == Code.TOO_COSTLY
    box.close()
