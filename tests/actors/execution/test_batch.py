"""Batches: which deliveries run together, which thread leads, and that no delivery holds up the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from actors.delivery import Delivery, Finished, NextStage, Retry, stage_message
from actors.execution import batch as batch_module
from actors.execution.batch import MAX_BATCH, BatchLimits, StageBatcher
from actors.middleware.routing import StageRouter, next_stage
from pipeline.models import Detected, Facts, Fetched, Kind, Model, Stage, Validated

FETCHED = Fetched(size=3, sha256="ab")
DETECTED = Detected(fetched=FETCHED, kind=Kind.PTT, mime="audio/ogg", ext="ogg")
RESULTS: dict[Stage, Model | None] = {
    Stage.DETECT: DETECTED,
    Stage.VALIDATE: Validated(detected=DETECTED, facts=Facts()),
    Stage.PERSIST: None,
    Stage.NOTIFY: None,
}

RunStage = Callable[[Stage, Sequence[Delivery]], None]


def fetched(key: str, result: Fetched = FETCHED) -> Delivery:
    """A delivery whose fetch has succeeded."""
    delivery = Delivery(stage_message(key, Stage.FETCH), key=key, delivery_id=1, queue="fetch", crashes=0)
    delivery.result = result
    delivery.verdict = next_stage(Stage.FETCH, result)
    return delivery


def succeed(stage: Stage, deliveries: Sequence[Delivery]) -> None:
    for delivery in deliveries:
        delivery.result = RESULTS[stage]
        delivery.verdict = next_stage(stage, delivery.result)


class Batches:
    """A batcher whose stages are `run_stage`; records each call and the acknowledged deliveries."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        run_stage: RunStage = succeed,
        *,
        router: StageRouter | None = None,
        limits: BatchLimits = BatchLimits(),  # noqa: B008  it is frozen
    ) -> None:
        self.calls: list[tuple[Stage, list[str]]] = []
        self.acked: list[Delivery] = []
        self.detached: list[str] = []

        def recorded(stage: Stage, deliveries: Sequence[Delivery]) -> None:
            self.calls.append((stage, [delivery.key for delivery in deliveries]))
            run_stage(stage, deliveries)

        monkeypatch.setattr(batch_module, "run_stage", recorded)
        self.batcher = StageBatcher(
            router=router or StageRouter(), ack=self.acked.extend, detach=self.detached.append, limits=limits
        )

    def submit(self, key: str) -> None:
        self.batcher.submit(fetched(key))

    def verdicts(self) -> dict[str, object]:
        return {delivery.key: delivery.verdict for delivery in self.acked}


def test_single_delivery_runs_the_four_stages_after_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(monkeypatch)
    delivery = fetched("a")
    batches.batcher.continue_or_ack(delivery)
    assert batches.calls == [(stage, ["a"]) for stage in list(Stage)[1:]]
    assert batches.verdicts() == {"a": Finished()}
    assert delivery.in_batch
    assert batches.detached == ["a"]


def test_delivery_that_may_not_continue_here_is_left_to_the_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(monkeypatch, router=StageRouter(hop=True))
    delivery = fetched("a")
    batches.batcher.continue_or_ack(delivery)
    assert not delivery.in_batch
    assert delivery.verdict == NextStage(Stage.DETECT, FETCHED)
    assert (batches.calls, batches.acked, batches.detached) == ([], [], [])


@pytest.mark.parametrize("reason", ["quarantined", "large"])
def test_suspect_and_large_file_run_alone_in_their_own_thread(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    batches = Batches(monkeypatch, limits=BatchLimits(large_bytes=10))
    delivery = fetched("a", Fetched(size=11 if reason == "large" else 3, sha256="ab"))
    delivery.quarantined = reason == "quarantined"
    batches.batcher._waiting[:] = [fetched("other")]
    batches.batcher.continue_or_ack(delivery)
    assert batches.verdicts() == {"a": Finished()}
    assert batches.detached == []


def test_deliveries_that_become_ready_during_a_batch_form_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> None:
        if stage is Stage.DETECT and deliveries[0].key == "first":
            for number in range(MAX_BATCH + 1):
                batches.submit(f"{number:02d}")  # returns, because another thread leads
        succeed(stage, deliveries)

    batches = Batches(monkeypatch, run_stage)
    batches.submit("first")
    sizes = [len(keys) for stage, keys in batches.calls if stage is Stage.NOTIFY]
    assert sizes == [1, MAX_BATCH, 1]
    assert len(batches.acked) == MAX_BATCH + 2


def test_failed_delivery_leaves_the_batch_and_the_others_continue(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> None:
        succeed(stage, deliveries)
        for delivery in deliveries:
            if stage is Stage.VALIDATE and delivery.key == "bad":
                delivery.verdict = Retry(2000, 2)

    batches = Batches(monkeypatch, run_stage)
    batches.batcher.run([fetched("good"), fetched("bad")])
    assert batches.verdicts() == {"good": Finished(), "bad": Retry(2000, 2)}


def test_bug_in_a_stage_leaves_every_delivery_of_the_batch_without_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> None:
        raise ZeroDivisionError

    batches = Batches(monkeypatch, run_stage)
    batches.submit("a")
    assert batches.verdicts() == {"a": None}


@pytest.mark.parametrize(("parallel", "leaders"), [(1, 1), (2, 2)])
def test_second_thread_leads_when_a_full_batch_waits(
    monkeypatch: pytest.MonkeyPatch, parallel: int, leaders: int
) -> None:
    started, may_end = threading.Semaphore(0), threading.Event()

    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> None:
        if stage is Stage.DETECT and not may_end.is_set():
            started.release()
            assert may_end.wait(10)
        succeed(stage, deliveries)

    monkeypatch.setattr(batch_module, "LEADER_STALL_S", 60)
    batches = Batches(monkeypatch, run_stage, limits=BatchLimits(parallel, leaders=2))
    threads = [threading.Thread(target=batches.submit, args=("first",))]
    threads[0].start()
    assert started.acquire(timeout=10)
    for number in range(MAX_BATCH):
        threads.append(threading.Thread(target=batches.submit, args=(f"{number:02d}",)))
        threads[-1].start()
        if number < MAX_BATCH - 1:
            threads[-1].join(10)
    if leaders > 1:
        assert started.acquire(timeout=10)
    may_end.set()
    for thread in threads:
        thread.join(10)
    assert not started.acquire(blocking=False)
    assert len(batches.acked) == MAX_BATCH + 1


def test_another_thread_leads_when_the_only_leader_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    started, slow_may_end, announced = threading.Event(), threading.Event(), threading.Event()

    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> None:
        if deliveries[0].key == "slow":
            started.set()
            assert slow_may_end.wait(10)
        elif stage is Stage.NOTIFY:
            announced.set()
        succeed(stage, deliveries)

    monkeypatch.setattr(batch_module, "LEADER_STALL_S", 0.05)
    batches = Batches(monkeypatch, run_stage, limits=BatchLimits(leaders=2))
    leader = threading.Thread(target=batches.submit, args=("slow",))
    leader.start()
    assert started.wait(10)
    for key in ("quick", "next"):
        announced.clear()
        batches.submit(key)
        assert announced.wait(10)
    batches.batcher.wait(10)
    assert batches.verdicts() == {"quick": Finished(), "next": Finished()}
    slow_may_end.set()
    leader.join(10)
    assert batches.verdicts()["slow"] == Finished()


def test_slow_file_continues_alone_and_the_others_finish_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slow_may_end = threading.Event()

    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> None:
        keys = [delivery.key for delivery in deliveries]
        if stage is not Stage.DETECT or "slow" not in keys:
            succeed(stage, deliveries)
        elif len(keys) == 1:
            assert slow_may_end.wait(10)
            succeed(stage, deliveries)
        else:
            index = keys.index("slow")
            succeed(stage, deliveries[:index])
            for delivery in deliveries[index:]:  # the sandbox has not reached these
                delivery.verdict = NextStage(Stage.DETECT, FETCHED)

    batches = Batches(monkeypatch, run_stage)
    batches.batcher._waiting[:] = [fetched("before"), fetched("slow")]
    batches.submit("behind")
    assert batches.verdicts() == {"before": Finished(), "behind": Finished()}
    slow_may_end.set()
    batches.batcher.wait(10)
    assert batches.verdicts()["slow"] == Finished()


def test_leader_continues_when_a_delivery_cannot_be_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(monkeypatch)

    def refuse_bad(deliveries: Sequence[Delivery]) -> None:
        if any(delivery.key == "bad" and delivery.verdict for delivery in deliveries):
            raise MemoryError
        batches.acked.extend(deliveries)

    def refuse_all(deliveries: Sequence[Delivery]) -> None:
        raise MemoryError

    batches.batcher._ack = refuse_bad
    batches.batcher._waiting[:] = [fetched("before"), fetched("bad")]
    batches.submit("behind")
    assert batches.verdicts() == {"before": Finished(), "bad": None, "behind": Finished()}
    batches.batcher._ack = refuse_all
    batches.submit("gone")
    batches.batcher._ack = batches.acked.extend
    batches.submit("next")
    assert batches.verdicts()["next"] == Finished()


def test_slow_file_continues_through_redis_when_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = NextStage(Stage.DETECT, FETCHED)

    def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            delivery.verdict = verdict

    def out_of_threads(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    batches = Batches(monkeypatch, run_stage)
    monkeypatch.setattr(threading.Thread, "start", out_of_threads)
    batches.batcher._waiting[:] = [fetched("a")]
    batches.submit("b")
    assert batches.verdicts() == {"a": verdict, "b": verdict}
    batches.batcher.wait(0)  # there is no thread to wait for
