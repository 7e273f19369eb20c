"""Every call to the sandbox ends with a result or an error, however its decoder behaves."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, StagingLostError
from pipeline.metrics import COUNTER_BUFFER
from pipeline.sandbox import Sandbox

HOSTILE = "tests.support.hostile_decoders"
MEMORY_MB = 200


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    # The wall time is long because one second of CPU may take many seconds on a busy machine.
    sandbox = Sandbox(processes=2, memory_mb=MEMORY_MB, cpu_s=1, wall_s=20)
    yield sandbox
    sandbox.close()


@pytest.fixture
def one_child() -> Iterator[Sandbox]:
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=3)
    yield sandbox
    sandbox.close()


def test_decoder_whose_library_is_missing_is_no_fault_of_the_file() -> None:
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=60, preload=["tests.support.unloadable"])
    try:
        for _ in range(2):
            with pytest.raises(RetryableError, match="a decoder cannot be loaded") as raised:
                sandbox.call("tests.support.unloadable:decode")
            assert raised.value.code is Code.INTERNAL
    finally:
        sandbox.close()


def call(sandbox: Sandbox, name: str, **arguments: Any) -> object:
    return sandbox.call(f"{HOSTILE}:{name}", **arguments)


@pytest.mark.parametrize(
    ("name", "wall_s", "cause"),
    [
        ("segfault", 60, "crash"),
        ("spin_in_c", 60, "cpu"),
        ("kill_self", 60, "killed"),
        ("hang", 1, "overdue"),
        ("echo", 60, None),
    ],
)
def test_child_deaths_are_counted_by_cause(name: str, wall_s: float, cause: str | None) -> None:
    COUNTER_BUFFER.drain()
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=wall_s)
    with suppress(PipelineError):
        call(sandbox, name)
    expected = {"esteira_sandbox_starts_total": 1} | ({f"esteira_sandbox_deaths_total|{cause}": 1} if cause else {})
    assert COUNTER_BUFFER.drain() == expected
    call(sandbox, "echo")
    assert COUNTER_BUFFER.drain() == ({"esteira_sandbox_starts_total": 1} if cause else {})
    sandbox.close()


def test_arguments_and_results_are_json(sandbox: Sandbox) -> None:
    arguments = {"text": "ção \n \u2028", "number": 1.5, "nothing": None, "list": [1, {"a": "b"}]}
    assert call(sandbox, "echo", **arguments) == arguments


def test_calls_run_in_another_process(sandbox: Sandbox) -> None:
    assert call(sandbox, "pid") != os.getpid()


def test_a_refusal_keeps_its_code_and_its_text_is_built_from_its_numbers(sandbox: Sandbox) -> None:
    with pytest.raises(PermanentError) as caught:
        call(sandbox, "refuse", reason="TOO_MANY_PIXELS", values={"width": 9000, "height": 8000, "allowed_mpx": 50.0})
    assert caught.value.code == Code.TOO_MANY_PIXELS
    assert caught.value.message == "has 9000 × 8000 pixels; at most 50 Mpx are allowed (MAX_IMAGE_MPX)"


def test_a_refusal_that_says_nothing_about_the_file_is_retryable(sandbox: Sandbox) -> None:
    with pytest.raises(RetryableError) as caught:
        call(sandbox, "refuse", reason="NO_THREAD", values={})
    assert caught.value.code == Code.INTERNAL


def test_an_error_with_a_text_of_its_own_is_a_crash_without_it(sandbox: Sandbox) -> None:
    with pytest.raises(PermanentError) as caught:
        call(sandbox, "accuse", code="malware", message="API_TOKEN=very-secret")
    assert caught.value.code == Code.DECODER_CRASH
    assert caught.value.message == "the decoder failed with an exception of its own"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("segfault", Code.DECODER_CRASH),
        ("abort", Code.DECODER_CRASH),
        ("fail", Code.DECODER_CRASH),
        ("leak_all_files", Code.STAGING),
        ("eat_memory", Code.TOO_COSTLY),
        ("spin_in_python", Code.TOO_COSTLY),
        ("spin_in_c", Code.TOO_COSTLY),
        ("fork_bomb", Code.DECODER_CRASH),
        ("answer_much", Code.DECODER_CRASH),
    ],
)
def test_a_misbehaving_decoder_fails_one_call_and_the_next_call_works(sandbox: Sandbox, name: str, code: Code) -> None:
    with pytest.raises(PipelineError) as caught:
        call(sandbox, name)
    assert caught.value.code == code
    assert isinstance(caught.value, RetryableError) is (code == Code.STAGING)
    assert call(sandbox, "echo", after=name) == {"after": name}


def test_a_hanging_call_ends_at_its_wall_time_with_a_retryable_error(one_child: Sandbox) -> None:
    call(one_child, "echo")
    start = time.monotonic()
    with pytest.raises(RetryableError) as caught:
        call(one_child, "hang")
    assert caught.value.code == Code.TOO_COSTLY
    assert 2.5 < time.monotonic() - start < 10
    assert call(one_child, "echo", still="here") == {"still": "here"}


def test_other_calls_continue_during_a_hanging_call() -> None:
    sandbox = Sandbox(processes=2, memory_mb=MEMORY_MB, cpu_s=1, wall_s=4)
    sandbox.warm()
    with ThreadPoolExecutor(4) as threads:
        hanging = threads.submit(call, sandbox, "hang")
        time.sleep(0.2)
        call(sandbox, "echo")  # waits for the start of the second child
        start = time.monotonic()
        assert [call(sandbox, "echo", n=n) for n in range(20)] == [{"n": n} for n in range(20)]
        assert time.monotonic() - start < 2
        assert isinstance(hanging.exception(), RetryableError)
    sandbox.close()


def test_a_child_that_exits_is_a_crash_with_its_status(sandbox: Sandbox) -> None:
    with pytest.raises(PermanentError, match="status 3") as caught:
        call(sandbox, "exit_process", status=3)
    assert caught.value.code == Code.DECODER_CRASH


def test_a_crash_reports_the_exception_class_without_its_text(sandbox: Sandbox) -> None:
    with pytest.raises(PermanentError) as caught:
        call(sandbox, "fail")
    assert caught.value.message == "the decoder failed with ZeroDivisionError"


def test_a_crash_caused_by_an_earlier_file_is_not_held_against_the_next(one_child: Sandbox) -> None:
    assert [call(one_child, "segfault_if_used_before") for _ in range(3)] == ["ok"] * 3


def test_a_child_killed_while_idle_is_replaced(one_child: Sandbox) -> None:
    first = call(one_child, "pid")
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    time.sleep(0.05)
    assert call(one_child, "pid") != first


def test_a_child_killed_from_outside_is_a_retryable_error(one_child: Sandbox) -> None:
    with pytest.raises(RetryableError) as caught:
        call(one_child, "kill_self")
    assert caught.value.code == Code.INTERNAL


def test_a_missing_file_raises_staging_lost(sandbox: Sandbox) -> None:
    with pytest.raises(StagingLostError, match=r"gone\.bin"):
        call(sandbox, "read", file="/nowhere/gone.bin")


def test_a_function_reads_its_file_through_a_descriptor(sandbox: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "private"
    file.write_text("content")
    file.chmod(0o600)
    assert call(sandbox, "read", file=str(file)) == "content"


def test_a_link_in_place_of_a_staged_file_is_not_followed(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(RetryableError) as caught:
        call(sandbox, "read", file=str(tmp_path / "link"))
    assert caught.value.code == Code.STAGING


@pytest.mark.parametrize("function", ["tests.support.hostile_decoders:nothing", "no.such.module:f", "nonsense"])
def test_a_function_that_cannot_be_imported_is_a_retryable_error(sandbox: Sandbox, function: str) -> None:
    with pytest.raises(RetryableError) as caught:
        sandbox.call(function)
    assert caught.value.code == Code.INTERNAL


def test_output_of_a_library_does_not_become_an_answer(sandbox: Sandbox) -> None:
    assert call(sandbox, "print_much") == "true answer"


def test_a_child_that_leaks_memory_is_replaced_before_it_fails(one_child: Sandbox) -> None:
    pids = {call(one_child, "leak", megabytes=MEMORY_MB // 4) for _ in range(12)}
    assert 2 <= len(pids) <= 6


def test_a_child_that_leaks_files_is_replaced_before_it_fails(one_child: Sandbox) -> None:
    pids = {call(one_child, "leak_file") for _ in range(100)}
    assert len(pids) >= 3


def test_memory_limit_allows_the_configured_size_and_little_more(sandbox: Sandbox) -> None:
    assert call(sandbox, "take_at_once", megabytes=MEMORY_MB - 20) == (MEMORY_MB - 20) * 1_000_000
    with pytest.raises(PermanentError) as caught:
        call(sandbox, "take_at_once", megabytes=MEMORY_MB + 50)
    assert caught.value.code == Code.TOO_COSTLY


def test_cpu_time_of_earlier_calls_does_not_count(one_child: Sandbox) -> None:
    # The CPU limit is 1 s: without a limit per call this child would be ended before the last one.
    first = call(one_child, "pid")
    for _ in range(5):
        call(one_child, "work", seconds=0.5)
    assert call(one_child, "pid") == first


def test_many_threads_share_few_children(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: call(sandbox, "echo", n=n), range(400)))
        pids = set(threads.map(lambda _: call(sandbox, "pid"), range(100)))
    assert answers == [{"n": n} for n in range(400)]
    assert 1 <= len(pids) <= 2


def test_unneeded_children_are_not_started() -> None:
    sandbox = Sandbox(processes=4, memory_mb=MEMORY_MB, cpu_s=1, wall_s=3)
    before = len(psutil.Process().children())
    sandbox.warm()
    assert len(psutil.Process().children()) == before + 1
    for _ in range(5):
        call(sandbox, "echo")
    assert len(psutil.Process().children()) == before + 1
    sandbox.close()
    assert len(psutil.Process().children()) == before


def test_a_closed_sandbox_refuses_calls() -> None:
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=3)
    call(sandbox, "echo")
    sandbox.close()
    with pytest.raises(RetryableError):
        call(sandbox, "echo")


def test_close_waits_for_a_running_call(one_child: Sandbox) -> None:
    call(one_child, "echo")
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(call(one_child, "take_at_once", megabytes=100)))
    thread.start()
    thread.join(5)
    one_child.close()
    assert results == [100_000_000]


def test_warm_and_close_from_many_threads_do_not_deadlock() -> None:
    sandbox = Sandbox(processes=3, memory_mb=MEMORY_MB, cpu_s=1, wall_s=3)
    with ThreadPoolExecutor(8) as threads:
        for work in [sandbox.warm] * 8 + [sandbox.close] * 4:
            threads.submit(work)
    with pytest.raises(RetryableError):
        call(sandbox, "echo")
