"""The executor: each delivery of a stage gets its own verdict, whatever happens to the others."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors.delivery import Delivery, NextStage, Retry, stage_message
from actors.execution import executor
from pipeline.models import Fetched, Stage

FETCHED = Fetched(size=3, sha256="ab")


def detecting(key: str) -> Delivery:
    message = stage_message(key, Stage.DETECT, inputs=FETCHED)
    return Delivery(message, key=key, delivery_id=1, queue="detect", crashes=0)


def test_error_before_or_after_a_step_concerns_its_own_delivery_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(tools: object, stage: Stage, delivery: Delivery) -> executor.Task:
        if delivery.key == "before":
            raise ValueError(delivery.key)
        return executor.Task(None, None, 1)  # type: ignore[arg-type]

    def conclude(tools: object, stage: Stage, delivery: Delivery, outcome: Fetched) -> None:
        if delivery.key == "after":
            raise ValueError(delivery.key)
        delivery.verdict = NextStage(Stage.VALIDATE, outcome)

    settings = SimpleNamespace(media_attempts=3, media_backoff_ms=2000)
    monkeypatch.setattr(executor, "process_services", lambda: SimpleNamespace(settings=settings))
    monkeypatch.setattr(executor, "run_steps", lambda tools, stage, tasks: [FETCHED] * len(tasks))
    monkeypatch.setattr(executor, "_prepare", prepare)
    monkeypatch.setattr(executor, "_conclude", conclude)
    deliveries = [detecting(key) for key in ("a", "before", "after", "b")]
    executor.run_stage(Stage.DETECT, deliveries)
    assert [type(delivery.verdict) for delivery in deliveries] == [NextStage, Retry, Retry, NextStage]
