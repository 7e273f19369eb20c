"""The steady run: the load without faults. Fails if memory, open files or threads grow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from scripts.faults.environment import Testbed
from scripts.faults.resource_usage import Reading, Usage, measured, per_hour

EVERY_S = 10.0
# Allowed growth of each role over the last two thirds of a run, measured by linear regression. In a run of half an hour
# this corresponds to three times as much per hour.
MAX_MB = 10.0
MAX_COUNT = 10.0  # of open files, and of threads


@dataclass(frozen=True)
class Growth:
    """Usage of one role over a run. `rise`: growth by regression over the last two thirds; `per_hour`: the slope."""

    role: str
    measure: str
    first: float
    last: float
    per_hour: float
    rise: float

    @property
    def within_limit(self) -> bool:
        return self.rise <= (MAX_MB if self.measure == "pss" else MAX_COUNT)

    def __str__(self) -> str:
        unit = " MB" if self.measure == "pss" else f" {self.measure}"
        return f"{self.role} {self.first:.0f} → {self.last:.0f}{unit} ({self.per_hour:+.1f}/h)"


def measure_growth(testbed: Testbed, seconds: float, progress: Callable[[float], None]) -> None:
    """Measures the test system every ten seconds; records the growth, and too much growth as a problem."""
    deadline = time.monotonic() + seconds
    with measured(testbed, every_s=EVERY_S) as readings:
        while (remaining_s := deadline - time.monotonic()) > 0:
            progress(remaining_s)
            time.sleep(min(60.0, remaining_s))
    with (testbed.folder / "readings.jsonl").open("w") as out:
        out.writelines(json.dumps(asdict(reading)) + "\n" for reading in readings)
    found_growth = growths(readings)
    testbed.observations.figures += [str(growth) for growth in found_growth if growth.measure == "pss"]
    testbed.observations.figures += [
        str(growth) for growth in found_growth if growth.measure != "pss" and growth.first != growth.last
    ]
    testbed.observations.problems += [f"grows: {growth}" for growth in found_growth if not growth.within_limit]


def growths(readings: Sequence[Reading]) -> list[Growth]:
    """Returns the growth of memory, files and threads of each role."""
    roles = sorted({role for reading in readings for role in reading.roles})
    return [_growth(readings, role, measure) for role in roles for measure in ("pss", "files", "threads")]


def _growth(readings: Sequence[Reading], role: str, measure: str) -> Growth:
    values = [float(getattr(reading.roles.get(role, Usage()), measure)) for reading in readings]
    skipped = len(readings) // 3  # warm-up: caches fill and all modules are loaded
    late = readings[skipped:]
    slope = per_hour(late, values[skipped:])
    rise = slope * (late[-1].at - late[0].at) / 3600
    return Growth(role, measure, values[0], values[-1], slope, rise)
