"""Routing: which stage follows, and whether this worker may run it itself."""

from __future__ import annotations

import pytest

from actors.delivery import Finished, NextStage, Retry, encode_message, stage_message
from actors.middleware.routing import StageRouter, next_stage
from pipeline.models import Detected, Fetched, Kind, Stage

FETCHED = Fetched(size=3, sha256="ab")


def test_stages_follow_each_other_in_their_order() -> None:
    assert next_stage(Stage.FETCH, FETCHED) == NextStage(Stage.DETECT, FETCHED)
    assert next_stage(Stage.NOTIFY, None) == Finished(None)
    assert [stage.value for stage in Stage] == ["fetch", "detect", "validate", "persist", "notify"]


@pytest.mark.parametrize(
    ("queues", "hop", "can_run_locally"),
    [(None, False, True), ({"detect"}, False, True), ({"fetch"}, False, False), (None, True, False)],
)
def test_worker_runs_only_stages_of_its_queues_and_none_in_hop_mode(
    queues: set[str] | None, hop: bool, can_run_locally: bool
) -> None:
    router = StageRouter(hop=hop)
    router.worker_queues = frozenset(queues) if queues else None
    assert router.can_run_locally(NextStage(Stage.DETECT, FETCHED)) is can_run_locally


def test_retry_is_never_run_locally() -> None:
    assert not StageRouter().can_run_locally(Retry(10, 2))
    assert not StageRouter().can_run_locally(None)


def test_stage_inputs_are_encoded_as_plain_json() -> None:
    detected = Detected(fetched=FETCHED, kind=Kind.PTT, mime="audio/ogg", ext="ogg")
    message = stage_message("a" * 32, Stage.VALIDATE, inputs=detected)
    wire = encode_message(message)
    assert b'"kind":"ptt"' in wire
    assert Detected.model_validate(type(message).decode(wire).kwargs["inputs"]) == detected
