"""Several calls in one exchange: each has its own answer or verdict, and a slow one holds up none of the others."""

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
LONG_S = 1.0  # of CPU: far beyond the patience of a call of many


@pytest.fixture
def single() -> Iterator[Sandbox]:
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=5, wall_s=60)
    box.call(f"{HOSTILE}:echo")
    yield box
    box.close()


def call(name: str, *, mark: str = "", **arguments: Any) -> Call:
    return Call(f"{HOSTILE}:{name}", arguments, mark)


def to_the_end(box: Sandbox, calls: list[Call]) -> list[Any]:
    """As a caller does: what is still out is asked for again, alone."""
    answers = box.call_many(calls)
    return [
        box.call_many([calls[place]])[0] if isinstance(answer, StillRunning) else answer
        for place, answer in enumerate(answers)
    ]


def verdict(answer: object) -> object:
    return (type(answer), answer.code) if isinstance(answer, PipelineError) else answer


def test_many_calls_are_answered_in_their_order_by_one_child(single: Sandbox) -> None:
    answers = to_the_end(single, [call("echo", n=n) for n in range(50)] + [call("pid")])
    assert answers[:-1] == [{"n": n} for n in range(50)]
    assert answers[-1] == single.call(f"{HOSTILE}:pid")


def test_no_calls_need_no_child() -> None:
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=5, wall_s=60)
    before = len(psutil.Process().children())
    assert box.call_many([]) == []
    assert len(psutil.Process().children()) == before


def test_each_of_many_fails_by_itself(single: Sandbox) -> None:
    spoilt = {
        "segfault": (PermanentError, Code.DECODER_CRASH),
        "fail": (PermanentError, Code.DECODER_CRASH),
        "eat_memory": (PermanentError, Code.TOO_COSTLY),
        "spin_in_c": (PermanentError, Code.TOO_COSTLY),
        "leak_all_files": (RetryableError, Code.STAGING),
        "kill_self": (RetryableError, Code.INTERNAL),
    }
    calls = [wanted for name in spoilt for wanted in (call("echo", before=name), call(name))] + [call("echo")]
    expected = [wanted for name in spoilt for wanted in ({"before": name}, spoilt[name])] + [{}]
    assert [verdict(answer) for answer in to_the_end(single, calls)] == expected


def test_an_error_of_one_of_many_arrives_as_it_was_raised(single: Sandbox) -> None:
    refused = call("refuse", code="broken", message="ends early: ção")
    answers = to_the_end(single, [call("echo"), refused, call("echo")])
    assert (answers[1].code, answers[1].message) == (Code.BROKEN, "ends early: ção")
    assert answers[::2] == [{}, {}]


def test_of_many_none_is_blamed_for_a_child_that_another_one_damaged(single: Sandbox) -> None:
    assert to_the_end(single, [call("segfault_if_used_before")] * 4) == ["well"] * 4


def test_a_child_that_is_tired_does_not_go_on_with_the_rest(single: Sandbox) -> None:
    seen = to_the_end(single, [call("leak", megabytes=MEMORY_MB // 4)] * 12)
    assert 2 <= len(set(seen)) <= 6
    assert seen == sorted(seen, key=seen.index)  # each child answered its calls in a row


def test_more_than_a_pipe_holds_goes_through_both_ways(single: Sandbox) -> None:
    texts = [str(n) + "x" * 20_000 for n in range(20)]
    assert to_the_end(single, [call("echo", text=text) for text in texts]) == [{"text": text} for text in texts]


def test_file_32_a_call_that_takes_long_holds_up_none_that_are_answered(single: Sandbox) -> None:
    start = time.monotonic()
    answers = single.call_many([call("echo", n=1), call("toil", seconds=LONG_S), call("echo", n=2)])
    assert time.monotonic() - start < LONG_S
    assert answers[0] == {"n": 1}
    assert [type(answer) for answer in answers[1:]] == [StillRunning, StillRunning]


def test_the_work_of_a_call_that_takes_long_is_not_lost(single: Sandbox) -> None:
    slow = call("toil", seconds=LONG_S)
    assert isinstance(single.call_many([call("echo"), slow])[1], StillRunning)
    assert single.call_many([slow]) == [1]
    assert single.call_many([slow]) == [2]  # its answer was given out: this is a call of its own


def test_an_answer_that_came_meanwhile_is_given_among_others(single: Sandbox) -> None:
    slow = call("toil", seconds=0.4)
    assert isinstance(single.call_many([call("echo"), slow])[1], StillRunning)
    time.sleep(1)
    answers = to_the_end(single, [call("echo", n=1), slow, call("echo", n=2)])
    assert answers == [{"n": 1}, 1, {"n": 2}]


def test_calls_behind_one_that_takes_long_are_not_begun(single: Sandbox) -> None:
    single.call_many([call("toil", seconds=LONG_S), call("toil", seconds=0.001), call("toil", seconds=0.002)])
    assert single.call_many([call("toil", seconds=0.003)]) == [2]


def test_another_free_child_takes_what_was_not_begun() -> None:
    box = Sandbox(processes=2, memory_mb=MEMORY_MB, cpu_s=20, wall_s=60)
    slow = call("toil", seconds=5)
    box.warm()
    assert isinstance(to_the_end(box, [call("echo")])[0], dict)
    assert isinstance(box.call_many([slow, call("echo", n=1)])[1], StillRunning)
    start = time.monotonic()
    assert box.call_many([call("echo", n=1)]) == [{"n": 1}]
    assert time.monotonic() - start < 4
    assert isinstance(box.call_many([slow, call("echo", n=2)])[0], StillRunning)
    box.close()


def test_with_another_mark_it_is_another_call(single: Sandbox) -> None:
    single.call_many([call("toil", seconds=0.5, mark="a"), call("echo")])
    assert single.call_many([call("toil", seconds=0.5, mark="b")]) == [2]
    assert single.call_many([call("toil", seconds=0.5, mark="a")]) == [1]


def test_file_32_a_call_that_took_long_and_crashed_is_blamed_only_by_itself(single: Sandbox) -> None:
    crash = call("toil_and_crash", seconds=0.5)
    answers = to_the_end(single, [call("echo"), crash, call("echo", n=2)])
    assert [verdict(answer) for answer in answers] == [{}, (PermanentError, Code.DECODER_CRASH), {"n": 2}]


def test_file_32_a_hang_among_many_ends_at_its_own_wall_time() -> None:
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=2)
    answers = to_the_end(box, [call("echo", n=1), call("hang"), call("echo", n=2)])
    assert [verdict(answer) for answer in answers] == [{"n": 1}, (RetryableError, Code.TOO_COSTLY), {"n": 2}]
    box.close()


def test_the_wall_time_of_each_of_many_begins_when_its_turn_comes() -> None:
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=2)
    calls = [call("nap", seconds=0.05 + n / 10_000) for n in range(60)]  # three seconds in all
    assert not [answer for answer in to_the_end(box, calls) if isinstance(answer, PipelineError)]
    box.close()


def test_the_cpu_time_of_each_of_many_is_its_own() -> None:
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=1, wall_s=60)
    calls = [call("work", seconds=0.3 + n / 10_000) for n in range(6)]  # of CPU; one may have a second
    assert to_the_end(box, calls) == [None] * 6
    box.close()


def test_close_waits_for_a_call_that_takes_long() -> None:
    box = Sandbox(processes=1, memory_mb=MEMORY_MB, cpu_s=5, wall_s=60)
    slow = call("toil", seconds=LONG_S)
    box.call_many([slow, call("echo")])
    box.close()
    assert box.call_many([slow]) == [1]
    assert isinstance(box.call_many([call("echo")])[0], RetryableError)


def test_a_child_is_not_lost_when_no_thread_can_be_started_to_wait_for_it(
    single: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    slow = call("toil", seconds=0.4)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        assert isinstance(single.call_many([call("echo"), slow])[1], StillRunning)
    assert single.call_many([slow]) == [1]
    assert single.call_many([slow]) == [2]
