"""`actors.stages` with files that block a stage, chosen by the end of their URL.

`/held` is not detected, and `/large` is not stored, before the file VAR_DIR/go exists. `/slow` leaves its batch for a
thread of its own, and its detection never ends.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from actors.execution.executor import STEPS, StepInputs, StepOutcome
from actors.stages import broker
from pipeline.models import Stage
from pipeline.sandbox import StillRunning
from pipeline.services import Services

__all__ = ["broker"]

original_detect, original_persist = STEPS[Stage.DETECT], STEPS[Stage.PERSIST]


def _has(work: StepInputs, name: str) -> bool:
    return any((claim.attachment.url or "").endswith(f"/{name}") for claim, _ in work)


def _wait(services: Services, name: str) -> None:
    while not (services.settings.var_dir / name).exists():
        time.sleep(0.01)


def detect(services: Services, work: StepInputs) -> Sequence[StepOutcome]:
    if _has(work, "held"):
        _wait(services, "go")
    if _has(work, "slow"):
        if len(work) == 1:
            _wait(services, "never")
        results = zip(work, original_detect(services, work), strict=True)
        return [StillRunning() if _has([item], "slow") else result for item, result in results]
    return original_detect(services, work)


def persist(services: Services, work: StepInputs) -> Sequence[StepOutcome]:
    if _has(work, "large"):
        _wait(services, "go")
    return original_persist(services, work)


STEPS[Stage.DETECT], STEPS[Stage.PERSIST] = detect, persist
