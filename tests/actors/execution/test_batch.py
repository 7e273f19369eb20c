"""Crews: what goes together, who leads, and who is not held up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from actors.delivery import Delivery, Finished, NextStage, Retry, stage_message
from actors.execution import batch as crews
from actors.execution import executor
from actors.execution.batch import MAX_BATCH, BatchLimits, StageBatcher
from actors.middleware.retries import Retries, RetryPolicy
from actors.middleware.routing import StageRouter, next_stage
from pipeline.errors import Code, RetryableError
from pipeline.models import Detected, Facts, Fetched, Kind, Model, Stage, Validated

FETCHED = Fetched(size=3, sha256="ab")
DETECTED = Detected(fetched=FETCHED, kind=Kind.PTT, mime="audio/ogg", ext="ogg")
RESULTS: dict[Stage, Model | None] = {
    Stage.DETECT: DETECTED,
    Stage.VALIDATE: Validated(detected=DETECTED, facts=Facts()),
    Stage.PERSIST: None,
    Stage.NOTIFY: None,
}

RunAll = Callable[[Stage, Sequence[Delivery]], list[BaseException | None]]


def fetched(key: str) -> Delivery:
    delivery = Delivery(stage_message(key, Stage.FETCH), key=key, delivery_id=1, queue="fetch", crashes=0)
    delivery.verdict = next_stage(Stage.FETCH, FETCHED)
    return delivery


def well(stage: Stage, deliveries: Sequence[Delivery]) -> list[BaseException | None]:
    for delivery in deliveries:
        delivery.result = RESULTS[stage]
    return [None] * len(deliveries)


class Ship:
    """A crew whose stages are `run_all`; remembers which attachments were in which, and what became of each."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, run_stage: RunAll = well, *, leaders: int = 1, abreast: int = 1
    ) -> None:
        self.ran: list[tuple[Stage, list[str]]] = []
        self.settled: list[Delivery] = []

        def noted(stage: Stage, deliveries: Sequence[Delivery]) -> list[BaseException | None]:
            self.ran.append((stage, [delivery.key for delivery in deliveries]))
            return run_stage(stage, deliveries)

        monkeypatch.setattr(crews, "run_stage", noted)
        places = BatchLimits(abreast, leaders)
        self.crew = StageBatcher(
            router=StageRouter(), retries=Retries(RetryPolicy()), settle=self.settled.extend, limits=places
        )

    def verdicts(self) -> dict[str, object]:
        return {delivery.key: delivery.verdict for delivery in self.settled}


def test_one_alone_goes_through_the_four_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    ship = Ship(monkeypatch)
    ship.crew.submit(fetched("a"))
    assert ship.ran == [(stage, ["a"]) for stage in list(Stage)[1:]]
    assert ship.verdicts() == {"a": Finished()}


def test_what_is_fetched_while_one_leads_goes_together_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> list[BaseException | None]:
        if stage is Stage.DETECT and deliveries[0].key == "first":
            for number in range(MAX_BATCH + 1):
                ship.crew.submit(fetched(f"{number:02d}"))  # returns: somebody leads
        return well(stage, deliveries)

    ship = Ship(monkeypatch, run_stage)
    ship.crew.submit(fetched("first"))
    sizes = [len(keys) for stage, keys in ship.ran if stage is Stage.NOTIFY]
    assert sizes == [1, MAX_BATCH, 1]
    assert len(ship.settled) == MAX_BATCH + 2


def test_who_fails_ends_alone_and_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> list[BaseException | None]:
        well(stage, deliveries)
        bad = stage is Stage.VALIDATE
        return [RetryableError(Code.INTERNAL, "no") if bad and one.key == "bad" else None for one in deliveries]

    ship = Ship(monkeypatch, run_stage)
    ship.crew.run([fetched("good"), fetched("bad")])
    assert ship.verdicts() == {"good": Finished(), "bad": Retry(2000, 2)}


def test_a_fault_of_ours_leaves_nobody_with_a_wrong_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> list[BaseException | None]:
        raise ZeroDivisionError

    ship = Ship(monkeypatch, run_stage)
    ship.crew.submit(fetched("a"))
    assert ship.verdicts() == {"a": None}


@pytest.mark.parametrize(("abreast", "led"), [(1, 1), (2, 2)])
def test_a_second_leader_begins_when_a_whole_crew_waits(
    monkeypatch: pytest.MonkeyPatch, abreast: int, led: int
) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> list[BaseException | None]:
        if stage is Stage.DETECT and not go_on.is_set():
            begun.release()
            assert go_on.wait(10)
        return well(stage, deliveries)

    monkeypatch.setattr(crews, "LEADER_STALL_S", 60)
    ship = Ship(monkeypatch, run_stage, leaders=2, abreast=abreast)
    threads = [threading.Thread(target=ship.crew.submit, args=(fetched("first"),))]
    threads[0].start()
    assert begun.acquire(timeout=10)
    for number in range(MAX_BATCH):
        threads.append(threading.Thread(target=ship.crew.submit, args=(fetched(f"{number:02d}"),)))
        threads[-1].start()
        if number < MAX_BATCH - 1:
            threads[-1].join(10)
    if led > 1:
        assert begun.acquire(timeout=10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert not begun.acquire(blocking=False)
    assert len(ship.settled) == MAX_BATCH + 1


def test_nobody_waits_long_for_a_leader_whose_only_one_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, slow_ends, told = threading.Event(), threading.Event(), threading.Event()

    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> list[BaseException | None]:
        if deliveries[0].key == "slow":
            begun.set()
            assert slow_ends.wait(10)
        elif stage is Stage.NOTIFY:
            told.set()
        return well(stage, deliveries)

    monkeypatch.setattr(crews, "LEADER_STALL_S", 0.05)
    ship = Ship(monkeypatch, run_stage, leaders=2)
    leader = threading.Thread(target=ship.crew.submit, args=(fetched("slow"),))
    leader.start()
    assert begun.wait(10)
    for key in ("quick", "next"):
        told.clear()
        ship.crew.submit(fetched(key))
        assert told.wait(10)
    ship.crew.wait(10)
    assert ship.verdicts() == {"quick": Finished(), "next": Finished()}
    slow_ends.set()
    leader.join(10)
    assert ship.verdicts()["slow"] == Finished()


def test_one_that_takes_long_goes_on_alone_and_the_others_go_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slow_ends = threading.Event()

    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> list[BaseException | None]:
        keys = [delivery.key for delivery in deliveries]
        if stage is not Stage.DETECT or "slow" not in keys:
            return well(stage, deliveries)
        if len(keys) == 1:
            assert slow_ends.wait(10)
            return well(stage, deliveries)
        at = keys.index("slow")
        well(stage, deliveries[:at])
        for delivery in deliveries[at:]:  # as the sandbox says it: these were not reached
            delivery.verdict = NextStage(Stage.DETECT, FETCHED)
        return [None] * len(deliveries)

    ship = Ship(monkeypatch, run_stage)
    ship.crew._waiting[:] = [fetched("before"), fetched("slow")]
    ship.crew.submit(fetched("behind"))
    assert ship.verdicts() == {"before": Finished(), "behind": Finished()}
    slow_ends.set()
    ship.crew.wait(10)
    assert ship.verdicts()["slow"] == Finished()


def test_who_leads_goes_on_when_a_verdict_cannot_be_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ship = Ship(monkeypatch)

    def settle(deliveries: Sequence[Delivery]) -> None:
        if any(delivery.key == "bad" and delivery.verdict for delivery in deliveries):
            raise MemoryError
        ship.settled.extend(deliveries)

    ship.crew._settle = settle
    ship.crew._waiting[:] = [fetched("before"), fetched("bad")]
    ship.crew.submit(fetched("behind"))
    assert ship.verdicts() == {"before": Finished(), "bad": None, "behind": Finished()}
    ship.crew._settle = broken
    ship.crew.submit(fetched("gone"))
    ship.crew._settle = ship.settled.extend
    ship.crew.submit(fetched("next"))
    assert ship.verdicts()["next"] == Finished()


def broken(deliveries: Sequence[Delivery]) -> None:
    raise MemoryError


def out_of_threads(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_one_that_takes_long_goes_on_through_redis_where_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    onward = NextStage(Stage.DETECT, FETCHED)

    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> list[BaseException | None]:
        for delivery in deliveries:
            delivery.verdict = onward
        return [None] * len(deliveries)

    ship = Ship(monkeypatch, run_stage)
    monkeypatch.setattr(threading.Thread, "start", out_of_threads)
    ship.crew._waiting[:] = [fetched("a")]
    ship.crew.submit(fetched("b"))
    assert ship.verdicts() == {"a": onward, "b": onward}
    ship.crew.wait(0)  # knows of none


def test_what_is_wrong_with_one_before_or_after_its_step_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def task(tools: object, stage: Stage, delivery: Delivery) -> executor.Task | None:
        if delivery.key == "before":
            raise ValueError(delivery.key)
        return executor.Task(None, None, 1)  # type: ignore[arg-type]

    def take_in(tools: object, stage: Stage, delivery: Delivery, outcome: object) -> None:
        if delivery.key == "after":
            raise ValueError(delivery.key)

    monkeypatch.setattr(executor, "services", lambda: None)
    monkeypatch.setattr(executor, "run_steps", lambda tools, stage, tasks: [FETCHED] * len(tasks))
    monkeypatch.setattr(executor, "_task", task)
    monkeypatch.setattr(executor, "_take_in", take_in)
    raised = executor.run_stage(Stage.DETECT, [fetched(key) for key in ("a", "before", "after", "b")])
    assert [str(error) if error else None for error in raised] == [None, "before", "after", None]
