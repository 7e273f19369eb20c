"""Several calls in one exchange: each has its own result or error, and a slow call delays no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.sandbox import Call, Sandbox, StillRunning

HOSTILE = "tests.support.hostile_decoders"
MEMORY_MB = 200
SLOW_S = 1.0  # CPU seconds, far more than SLOW_CALL_S


@pytest.fixture
def one_child() -> Iterator[Sandbox]:
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=5, wall_s=60)
    sandbox.call(f"{HOSTILE}:echo")
    yield sandbox
    sandbox.close()


def call(name: str, *, content_id: str = "", **arguments: Any) -> Call:
    return Call(f"{HOSTILE}:{name}", arguments, content_id)


def run_all(sandbox: Sandbox, calls: list[Call]) -> list[Any]:
    """Calls the sandbox like the pipeline does: calls still running are repeated, each alone."""
    answers = sandbox.call_many(calls)
    return [
        sandbox.call_many([call])[0] if isinstance(answer, StillRunning) else answer
        for call, answer in zip(calls, answers, strict=True)
    ]


def comparable(answer: object) -> object:
    return (type(answer), answer.code) if isinstance(answer, PipelineError) else answer


def test_many_calls_are_answered_in_order_by_one_child(one_child: Sandbox) -> None:
    answers = run_all(one_child, [call("echo", n=n) for n in range(50)] + [call("pid")])
    assert answers[:-1] == [{"n": n} for n in range(50)]
    assert answers[-1] == one_child.call(f"{HOSTILE}:pid")


def test_an_empty_list_of_calls_starts_no_child() -> None:
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=5, wall_s=60)
    before = len(psutil.Process().children())
    assert sandbox.call_many([]) == []
    assert len(psutil.Process().children()) == before


def test_each_of_many_calls_fails_by_itself(one_child: Sandbox) -> None:
    failing = {
        "segfault": (PermanentError, Code.DECODER_CRASH),
        "fail": (PermanentError, Code.DECODER_CRASH),
        "eat_memory": (PermanentError, Code.TOO_COSTLY),
        "spin_in_c": (PermanentError, Code.TOO_COSTLY),
        "leak_all_files": (RetryableError, Code.STAGING),
        "kill_self": (RetryableError, Code.INTERNAL),
    }
    calls = [item for name in failing for item in (call("echo", before=name), call(name))] + [call("echo")]
    expected = [item for name in failing for item in ({"before": name}, failing[name])] + [{}]
    assert [comparable(answer) for answer in run_all(one_child, calls)] == expected


def test_an_error_of_one_of_many_calls_keeps_code_and_message(one_child: Sandbox) -> None:
    refused = call("refuse", reason="TOO_MANY_PAGES", values={"pages": 7, "allowed": 5})
    answers = run_all(one_child, [call("echo"), refused, call("echo")])
    assert (answers[1].code, answers[1].message) == (
        Code.TOO_MANY_PAGES,
        "has 7 pages; at most 5 are allowed (MAX_PAGES)",
    )
    assert answers[::2] == [{}, {}]


def test_a_crash_among_many_calls_is_not_held_against_the_next_ones(one_child: Sandbox) -> None:
    assert run_all(one_child, [call("segfault_if_used_before")] * 4) == ["ok"] * 4


def test_a_child_that_asks_for_replacement_does_not_run_the_rest(one_child: Sandbox) -> None:
    pids = run_all(one_child, [call("leak", megabytes=MEMORY_MB // 4)] * 12)
    assert 2 <= len(set(pids)) <= 6
    assert pids == sorted(pids, key=pids.index)  # each child answered its calls in a row


def test_requests_and_answers_may_exceed_a_pipe_buffer(one_child: Sandbox) -> None:
    texts = [str(n) + "x" * 20_000 for n in range(20)]
    assert run_all(one_child, [call("echo", text=text) for text in texts]) == [{"text": text} for text in texts]


def test_a_slow_call_does_not_delay_the_answers_before_it(one_child: Sandbox) -> None:
    start = time.monotonic()
    answers = one_child.call_many([call("echo", n=1), call("work_and_count", seconds=SLOW_S), call("echo", n=2)])
    assert time.monotonic() - start < SLOW_S
    assert answers[0] == {"n": 1}
    assert [type(answer) for answer in answers[1:]] == [StillRunning, StillRunning]


def test_the_work_of_a_slow_call_is_not_lost(one_child: Sandbox) -> None:
    slow = call("work_and_count", seconds=SLOW_S)
    assert isinstance(one_child.call_many([call("echo"), slow])[1], StillRunning)
    assert one_child.call_many([slow]) == [1]
    assert one_child.call_many([slow]) == [2]  # its answer was collected: this is a new call


def test_a_finished_slow_call_is_answered_among_others(one_child: Sandbox) -> None:
    slow = call("work_and_count", seconds=0.4)
    assert isinstance(one_child.call_many([call("echo"), slow])[1], StillRunning)
    time.sleep(1)
    answers = run_all(one_child, [call("echo", n=1), slow, call("echo", n=2)])
    assert answers == [{"n": 1}, 1, {"n": 2}]


def test_calls_behind_a_slow_call_are_not_begun(one_child: Sandbox) -> None:
    one_child.call_many(
        [
            call("work_and_count", seconds=SLOW_S),
            call("work_and_count", seconds=0.001),
            call("work_and_count", seconds=0.002),
        ]
    )
    assert one_child.call_many([call("work_and_count", seconds=0.003)]) == [2]


def test_another_child_runs_the_calls_that_were_not_begun() -> None:
    sandbox = Sandbox(processes=2, memory_mb=MEMORY_MB, cpu_s=20, wall_s=60)
    slow = call("work_and_count", seconds=5)
    sandbox.warm()
    assert isinstance(run_all(sandbox, [call("echo")])[0], dict)
    assert isinstance(sandbox.call_many([slow, call("echo", n=1)])[1], StillRunning)
    start = time.monotonic()
    assert sandbox.call_many([call("echo", n=1)]) == [{"n": 1}]
    assert time.monotonic() - start < 4
    assert isinstance(sandbox.call_many([slow, call("echo", n=2)])[0], StillRunning)
    sandbox.close()


def test_a_different_content_id_makes_a_different_call(one_child: Sandbox) -> None:
    one_child.call_many([call("work_and_count", seconds=0.5, content_id="a"), call("echo")])
    assert one_child.call_many([call("work_and_count", seconds=0.5, content_id="b")]) == [2]
    assert one_child.call_many([call("work_and_count", seconds=0.5, content_id="a")]) == [1]


def test_a_slow_call_that_crashes_fails_alone(one_child: Sandbox) -> None:
    crash = call("work_and_crash", seconds=0.5)
    answers = run_all(one_child, [call("echo"), crash, call("echo", n=2)])
    assert [comparable(answer) for answer in answers] == [{}, (PermanentError, Code.DECODER_CRASH), {"n": 2}]


def test_a_hanging_call_among_many_ends_at_its_own_wall_time() -> None:
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=2)
    answers = run_all(sandbox, [call("echo", n=1), call("hang"), call("echo", n=2)])
    assert [comparable(answer) for answer in answers] == [{"n": 1}, (RetryableError, Code.TOO_COSTLY), {"n": 2}]
    sandbox.close()


def test_wall_time_of_each_call_starts_with_the_call() -> None:
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=2)
    calls = [call("nap", seconds=0.05 + n / 10_000) for n in range(60)]  # three seconds in all
    assert not [answer for answer in run_all(sandbox, calls) if isinstance(answer, PipelineError)]
    sandbox.close()


def test_cpu_time_is_limited_for_each_call_separately() -> None:
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=60)
    calls = [call("work", seconds=0.3 + n / 10_000) for n in range(6)]  # of CPU; one may have a second
    assert run_all(sandbox, calls) == [None] * 6
    sandbox.close()


def test_close_waits_for_a_slow_call() -> None:
    sandbox = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=5, wall_s=60)
    slow = call("work_and_count", seconds=SLOW_S)
    sandbox.call_many([slow, call("echo")])
    sandbox.close()
    assert sandbox.call_many([slow]) == [1]
    assert isinstance(sandbox.call_many([call("echo")])[0], RetryableError)


def test_a_slot_is_not_lost_if_no_thread_can_be_started(one_child: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    slow = call("work_and_count", seconds=0.4)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        assert isinstance(one_child.call_many([call("echo"), slow])[1], StillRunning)
    assert one_child.call_many([slow]) == [1]
    assert one_child.call_many([slow]) == [2]
