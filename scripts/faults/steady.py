"""No fault at all, for a while: what grows by itself?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from scripts.faults.environment import Testbed
from scripts.faults.resource_usage import Reading, Usage, measured, per_hour

EVERY_S = 10.0
# By so much the line through the last two thirds of a run may rise, for each role; in half an hour that is thrice as
# much an hour.
MAX_MB = 10.0
MAX_COUNT = 10.0  # of open files, and of threads


@dataclass(frozen=True)
class Growth:
    """What one role needed over a run. `rise` is that of the line through the last two thirds, `per_hour` its slope."""

    role: str
    measure: str
    first: float
    last: float
    per_hour: float
    rise: float

    @property
    def held(self) -> bool:
        return self.rise <= (MAX_MB if self.measure == "pss" else MAX_COUNT)

    def __str__(self) -> str:
        unit = " MB" if self.measure == "pss" else f" {self.measure}"
        return f"{self.role} {self.first:.0f} → {self.last:.0f}{unit} ({self.per_hour:+.1f}/h)"


def measure_growth(testbed: Testbed, seconds: float, progress: Callable[[float], None]) -> None:
    """Looks at the plant every ten seconds for so long; what grew goes into the marks, too much of it as broken."""
    ending = time.monotonic() + seconds
    with measured(testbed, every_s=EVERY_S) as readings:
        while (left := ending - time.monotonic()) > 0:
            progress(left)
            time.sleep(min(60.0, left))
    with (testbed.folder / "readings.jsonl").open("w") as out:
        out.writelines(json.dumps(asdict(reading)) + "\n" for reading in readings)
    found = growths(readings)
    testbed.observations.figures += [str(growth) for growth in found if growth.measure == "pss"]
    testbed.observations.figures += [
        str(growth) for growth in found if growth.measure != "pss" and growth.first != growth.last
    ]
    testbed.observations.broken += [f"grows: {growth}" for growth in found if not growth.held]


def growths(readings: Sequence[Reading]) -> list[Growth]:
    """Memory, files and threads of each role."""
    roles = sorted({role for reading in readings for role in reading.roles})
    return [_growth(readings, role, measure) for role in roles for measure in ("pss", "files", "threads")]


def _growth(readings: Sequence[Reading], role: str, measure: str) -> Growth:
    values = [float(getattr(reading.roles.get(role, Usage()), measure)) for reading in readings]
    skipped = len(readings) // 3  # in which caches fill and every path is taken once
    late = readings[skipped:]
    slope = per_hour(late, values[skipped:])
    rise = slope * (late[-1].at - late[0].at) / 3600
    return Growth(role, measure, values[0], values[-1], slope, rise)
