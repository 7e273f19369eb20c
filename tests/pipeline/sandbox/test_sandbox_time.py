"""Only the CPU time that a decoder used is held against its file."""

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
from pipeline.sandbox.exchange import Child, ChildOverdueError

HOSTILE = "tests.support.hostile_decoders"
MEMORY_MB = 200


@pytest.fixture
def one_child() -> Iterator[Sandbox]:
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=3)
    yield sandbox
    sandbox.close()


def call(sandbox: Sandbox, name: str, **arguments: object) -> object:
    return sandbox.call(f"{HOSTILE}:{name}", **arguments)


def test_a_stopped_child_is_a_retryable_error(one_child: Sandbox) -> None:
    child = call(one_child, "pid")
    assert isinstance(child, int)
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(call, one_child, "work", seconds=0.5)
        time.sleep(0.1)
        os.kill(child, signal.SIGSTOP)
        error = working.exception()
    assert isinstance(error, RetryableError)
    assert error.code == Code.TOO_COSTLY
    assert not psutil.pid_exists(child)
    assert call(one_child, "echo", still="here") == {"still": "here"}


def test_cpu_time_of_earlier_calls_is_not_held_against_a_file(one_child: Sandbox) -> None:
    first = call(one_child, "pid")
    for _ in range(3):
        call(one_child, "work", seconds=0.4)
    assert call(one_child, "pid") == first
    with pytest.raises(RetryableError):
        call(one_child, "hang")


def test_a_decoder_that_ignores_sigxcpu_is_a_permanent_error() -> None:
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=8)
    with pytest.raises(PermanentError) as caught:
        call(sandbox, "spin_past_its_limit")
    assert (caught.value.code, caught.value.message) == (
        Code.TOO_COSTLY,
        "takes longer than is allowed (SANDBOX_WALL_S, SANDBOX_CPU_S)",
    )
    sandbox.close()


@pytest.mark.parametrize(
    ("cpu_s", "wall_s", "used", "error"),
    [
        pytest.param(10, 20, 0.0, RetryableError, id="none"),
        pytest.param(10, 20, 7.0, RetryableError, id="most, so that it would have ended on an idle machine"),
        pytest.param(10, 20, 9.9, PermanentError, id="all"),
        pytest.param(10, 2, 1.0, RetryableError, id="half of a short time"),
        pytest.param(10, 2, 1.9, PermanentError, id="all of a short time"),
    ],
)
def test_an_overdue_call_is_permanent_only_if_it_used_its_cpu_time(
    monkeypatch: pytest.MonkeyPatch, cpu_s: int, wall_s: float, used: float, error: type[PipelineError]
) -> None:
    def overdue(*_: object, **__: object) -> None:
        raise ChildOverdueError(used)

    monkeypatch.setattr(Child, "run", overdue)
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=cpu_s, wall_s=wall_s)
    with pytest.raises(error) as caught:
        call(sandbox, "echo")
    assert caught.value.code == Code.TOO_COSTLY
    sandbox.close()


def test_a_child_whose_calls_took_much_time_together_is_replaced(
    one_child: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sandbox.slot.WALL_TIMES_PER_CHILD", 0.1)  # of wall_s: 0.3 s
    first = call(one_child, "pid")
    assert call(one_child, "pid") == first
    call(one_child, "nap", seconds=0.4)
    assert call(one_child, "pid") != first
