"""A call in the sandbox ends in an answer or in a verdict, whatever the decoder does."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, StagingLostError
from pipeline.metrics import COUNTER_BUFFER
from pipeline.sandbox import Sandbox

HOSTILE = "tests.support.hostile_decoders"
MEMORY_MB = 200


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    # A second of CPU may take many on a machine that tests share with others.
    box = Sandbox(processes=2, memory_mb=MEMORY_MB, cpu_s=1, wall_s=20)
    yield box
    box.close()


@pytest.fixture
def single() -> Iterator[Sandbox]:
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=3)
    yield box
    box.close()


def call(sandbox: Sandbox, name: str, **arguments: object) -> object:
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
def test_a_death_is_counted_by_its_cause(name: str, wall_s: float, cause: str | None) -> None:
    COUNTER_BUFFER.drain()
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=wall_s)
    with suppress(PipelineError):
        call(box, name)
    expected = {"esteira_sandbox_starts_total": 1} | ({f"esteira_sandbox_deaths_total|{cause}": 1} if cause else {})
    assert COUNTER_BUFFER.drain() == expected
    call(box, "echo")
    assert COUNTER_BUFFER.drain() == ({"esteira_sandbox_starts_total": 1} if cause else {})
    box.close()


def test_arguments_and_answer_are_json(sandbox: Sandbox) -> None:
    arguments = {"text": "ção \n \u2028", "number": 1.5, "nothing": None, "list": [1, {"a": "b"}]}
    assert call(sandbox, "echo", **arguments) == arguments


def test_a_call_runs_in_another_process(sandbox: Sandbox) -> None:
    assert call(sandbox, "pid") != os.getpid()


@pytest.mark.parametrize("retryable", [False, True])
def test_what_a_check_raises_arrives_with_its_code_message_and_permanence(sandbox: Sandbox, retryable: bool) -> None:
    with pytest.raises(PipelineError) as caught:
        call(sandbox, "refuse", code="broken", message="ends early: ção", retryable=retryable)
    assert type(caught.value) is (RetryableError if retryable else PermanentError)
    assert caught.value.code == Code.BROKEN
    assert caught.value.message == "ends early: ção"


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
def test_file_32_a_decoder_that_misbehaves_costs_one_call_and_the_next_one_works(
    sandbox: Sandbox, name: str, code: Code
) -> None:
    with pytest.raises(PipelineError) as caught:
        call(sandbox, name)
    assert caught.value.code == code
    assert isinstance(caught.value, RetryableError) is (code == Code.STAGING)
    assert call(sandbox, "echo", after=name) == {"after": name}


def test_file_32_a_hang_ends_at_the_wall_time_and_may_be_tried_again(single: Sandbox) -> None:
    call(single, "echo")
    start = time.monotonic()
    with pytest.raises(RetryableError) as caught:
        call(single, "hang")
    assert caught.value.code == Code.TOO_COSTLY
    assert 2.5 < time.monotonic() - start < 10
    assert call(single, "echo", still="here") == {"still": "here"}


def test_file_32_other_calls_go_on_beside_a_hang() -> None:
    sandbox = Sandbox(processes=2, memory_mb=MEMORY_MB, cpu_s=1, wall_s=4)
    sandbox.warm()
    with ThreadPoolExecutor(4) as threads:
        hanging = threads.submit(call, sandbox, "hang")
        time.sleep(0.2)
        call(sandbox, "echo")  # the second child takes a moment to start
        start = time.monotonic()
        assert [call(sandbox, "echo", n=n) for n in range(20)] == [{"n": n} for n in range(20)]
        assert time.monotonic() - start < 2
        assert isinstance(hanging.exception(), RetryableError)
    sandbox.close()


def test_a_status_of_a_child_that_leaves_is_a_crash(sandbox: Sandbox) -> None:
    with pytest.raises(PermanentError, match="status 3") as caught:
        call(sandbox, "leave", status=3)
    assert caught.value.code == Code.DECODER_CRASH


def test_a_crash_names_the_exception_and_tells_nothing_of_the_file(sandbox: Sandbox) -> None:
    with pytest.raises(PermanentError) as caught:
        call(sandbox, "fail")
    assert caught.value.message == "the decoder failed with ZeroDivisionError"


def test_a_file_is_not_blamed_for_a_child_that_another_one_damaged(single: Sandbox) -> None:
    assert [call(single, "segfault_if_used_before") for _ in range(3)] == ["well"] * 3


def test_a_child_killed_while_it_was_idle_is_replaced(single: Sandbox) -> None:
    first = call(single, "pid")
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    time.sleep(0.05)
    assert call(single, "pid") != first


def test_a_child_killed_from_outside_says_nothing_about_the_file(single: Sandbox) -> None:
    with pytest.raises(RetryableError) as caught:
        call(single, "kill_self")
    assert caught.value.code == Code.INTERNAL


def test_a_missing_file_is_lost_and_not_broken(sandbox: Sandbox) -> None:
    with pytest.raises(StagingLostError, match=r"gone\.bin"):
        call(sandbox, "read_missing", path="/nowhere/gone.bin")


@pytest.mark.parametrize("function", ["tests.support.hostile_decoders:nothing", "no.such.module:f", "nonsense"])
def test_a_function_that_cannot_be_loaded_is_no_fault_of_the_file(sandbox: Sandbox, function: str) -> None:
    with pytest.raises(RetryableError) as caught:
        sandbox.call(function)
    assert caught.value.code == Code.INTERNAL


def test_what_a_library_prints_does_not_become_an_answer(sandbox: Sandbox) -> None:
    assert call(sandbox, "print_much") == "true answer"


def test_a_child_that_leaks_memory_is_replaced_before_it_fails(single: Sandbox) -> None:
    seen = {call(single, "leak", megabytes=MEMORY_MB // 4) for _ in range(12)}
    assert 2 <= len(seen) <= 6


def test_a_child_that_leaks_files_is_replaced_before_it_fails(single: Sandbox) -> None:
    seen = {call(single, "leak_file") for _ in range(100)}
    assert len(seen) >= 3


def test_a_call_may_take_what_is_allowed_and_not_much_more(sandbox: Sandbox) -> None:
    assert call(sandbox, "take_at_once", megabytes=MEMORY_MB - 20) == (MEMORY_MB - 20) * 1_000_000
    with pytest.raises(PermanentError) as caught:
        call(sandbox, "take_at_once", megabytes=MEMORY_MB + 50)
    assert caught.value.code == Code.TOO_COSTLY


def test_the_time_of_earlier_calls_does_not_count(single: Sandbox) -> None:
    # The CPU limit is 1 s: without a limit per call this child would be ended before the last one.
    first = call(single, "pid")
    for _ in range(5):
        call(single, "work", seconds=0.5)
    assert call(single, "pid") == first


def test_many_threads_share_few_children(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: call(sandbox, "echo", n=n), range(400)))
        pids = set(threads.map(lambda _: call(sandbox, "pid"), range(100)))
    assert answers == [{"n": n} for n in range(400)]
    assert 1 <= len(pids) <= 2


def test_children_that_are_not_needed_are_not_started() -> None:
    box = Sandbox(processes=4, memory_mb=MEMORY_MB, cpu_s=1, wall_s=3)
    before = len(psutil.Process().children())
    box.warm()
    assert len(psutil.Process().children()) == before + 1
    for _ in range(5):
        call(box, "echo")
    assert len(psutil.Process().children()) == before + 1
    box.close()
    assert len(psutil.Process().children()) == before


def test_a_closed_sandbox_refuses_and_does_not_hang() -> None:
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=3)
    call(box, "echo")
    box.close()
    with pytest.raises(RetryableError):
        call(box, "echo")


def test_close_waits_for_a_call_that_is_under_way(single: Sandbox) -> None:
    call(single, "echo")
    failures: list[object] = []
    thread = threading.Thread(target=lambda: failures.append(call(single, "take_at_once", megabytes=100)))
    thread.start()
    thread.join(5)
    single.close()
    assert failures == [100_000_000]


def test_starting_and_closing_from_many_threads_ends() -> None:
    box = Sandbox(processes=3, memory_mb=MEMORY_MB, cpu_s=1, wall_s=3)
    with ThreadPoolExecutor(8) as threads:
        for work in [box.warm] * 8 + [box.close] * 4:
            threads.submit(work)
    with pytest.raises(RetryableError):
        call(box, "echo")
