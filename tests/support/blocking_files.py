"""The workers' module, with files that keep a step waiting until somebody lets them go.

By the name in their URL: `held` is not detected, and `large` not stored, before the file `go` is there; `slow` leaves
its crew, and is not detected at all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from actors.execution.executor import STEPS, Found, Work
from actors.stages import broker
from pipeline.models import Stage
from pipeline.sandbox import StillRunning
from pipeline.services import Services

__all__ = ["broker"]

detecting, persisting = STEPS[Stage.DETECT], STEPS[Stage.PERSIST]


def _has(work: Work, name: str) -> bool:
    return any((claim.attachment.url or "").endswith(f"/{name}") for claim, _ in work)


def _wait(services: Services, name: str) -> None:
    while not (services.settings.var_dir / name).exists():
        time.sleep(0.01)


def detect(services: Services, work: Work) -> Sequence[Found]:
    if _has(work, "held"):
        _wait(services, "go")
    if _has(work, "slow"):
        if len(work) == 1:
            _wait(services, "never")
        return [StillRunning() if _has([one], "slow") else found for one, found in _beside(services, work)]
    return detecting(services, work)


def _beside(services: Services, work: Work) -> Sequence[tuple[tuple[object, object], Found]]:
    return list(zip(work, detecting(services, work), strict=True))


def persist(services: Services, work: Work) -> Sequence[Found]:
    if _has(work, "large"):
        _wait(services, "go")
    return persisting(services, work)


STEPS[Stage.DETECT], STEPS[Stage.PERSIST] = detect, persist
