"""What comes after a stage, and which of it a worker does itself."""

from __future__ import annotations

import pytest

from actors.delivery import Finished, NextStage, Retry, encode_message, stage_message
from actors.middleware.routing import StageRouter, next_stage
from pipeline.models import Detected, Fetched, Kind, Stage

FETCHED = Fetched(size=3, sha256="ab")


def test_the_five_stages_follow_each_other() -> None:
    assert next_stage(Stage.FETCH, FETCHED) == NextStage(Stage.DETECT, FETCHED)
    assert next_stage(Stage.NOTIFY, None) == Finished(None)
    assert [stage.value for stage in Stage] == ["fetch", "detect", "validate", "persist", "notify"]


@pytest.mark.parametrize(
    ("served", "hop", "can_run_locally"),
    [(None, False, True), ({"detect"}, False, True), ({"fetch"}, False, False), (None, True, False)],
)
def test_a_worker_runs_on_within_the_queues_that_it_serves(
    served: set[str] | None, hop: bool, can_run_locally: bool
) -> None:
    chain = StageRouter(hop=hop)
    chain.worker_queues = frozenset(served) if served else None
    assert chain.can_run_locally(NextStage(Stage.DETECT, FETCHED)) is can_run_locally


def test_a_retry_is_never_run_on() -> None:
    assert not StageRouter().can_run_locally(Retry(10, 2))
    assert not StageRouter().can_run_locally(None)


def test_inputs_travel_as_plain_json() -> None:
    detected = Detected(fetched=FETCHED, kind=Kind.PTT, mime="audio/ogg", ext="ogg")
    message = stage_message("a" * 32, Stage.VALIDATE, inputs=detected)
    wire = encode_message(message)
    assert b'"kind":"ptt"' in wire
    assert Detected.model_validate(type(message).decode(wire).kwargs["inputs"]) == detected
