"""The workers' module with a fetch step that kills its process for URLs that end in `/poison`."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from actors.execution.executor import STEPS, StepInputs, StepOutcome
from actors.stages import broker
from pipeline.models import Stage
from pipeline.services import Services

__all__ = ["broker"]

real_fetch = STEPS[Stage.FETCH]


def fetch(services: Services, work: StepInputs) -> Sequence[StepOutcome]:
    if any((claim.attachment.url or "").endswith("/poison") for claim, _ in work):
        os.kill(os.getpid(), signal.SIGKILL)
    return real_fetch(services, work)


STEPS[Stage.FETCH] = fetch
