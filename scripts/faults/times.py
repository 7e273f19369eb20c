"""How long recovery took, from the parts' logs and the catalogue's times."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from scripts.faults.environment import Testbed
from scripts.faults.leftovers import Row
from scripts.faults.supervisor import LogLine, log_lines

STARTED, FINISHED, RETRIED = "attachment started", "attachment finished", "attempt failed"


@dataclass(frozen=True)
class Times:
    """Seconds; None where nothing of that sort happened.

    `rerun`: from a worker's death until another one begins what it was at (n of them). `resume`: from the return of
    what was away until a worker finishes something; `settle`: until all that was unfinished then has ended. `answer`:
    how long the intake took. `exit`: from SIGTERM to the end.
    """

    reruns: int = 0
    rerun_p95: float | None = None
    rerun_max: float | None = None
    resume_max: float | None = None
    settle_max: float | None = None
    answer_p99: float | None = None
    answer_max: float | None = None
    exit_max: float | None = None


def times(testbed: Testbed, rows: list[Row]) -> Times:
    """The times of a run."""
    heard = {log: log_lines(log) for worker in testbed.workers for log in worker.lives}
    reruns = [took for at, log in testbed.observations.kills for took in _reruns(heard, log, at)]
    everything = sorted((line for lines in heard.values() for line in lines), key=lambda line: line.at)
    answers = [attempt.took_s for attempt in testbed.load.attempts]
    return Times(
        reruns=len(reruns),
        rerun_p95=percentile(reruns, 95),
        rerun_max=percentile(reruns, 100),
        resume_max=percentile([took for at in testbed.observations.returns for took in _first(everything, at)], 100),
        settle_max=percentile([took for at in testbed.observations.returns for took in _settled(rows, at)], 100),
        answer_p99=percentile(answers, 99),
        answer_max=percentile(answers, 100),
        exit_max=percentile(testbed.observations.stops_s, 100),
    )


def failed_attempts(testbed: Testbed) -> Counter[str]:
    """How often the workers' attempts failed and were made again, by code: whether a fault was felt at all."""
    lines = (line for worker in testbed.workers for log in worker.lives for line in log_lines(log))
    return Counter(str(line.facts.get("code")) for line in lines if line.event == RETRIED)


def percentile(values: list[float], percent: int) -> float | None:
    """The nearest rank, to a hundredth; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 2)


def _reruns(heard: dict[Path, list[LogLine]], log: Path, at: float) -> list[float]:
    """For what this life had begun and not brought to an end: how long until another one began it."""
    under_way: set[str] = set()
    for line in heard[log]:
        media_id = str(line.facts.get("id"))
        if line.event == STARTED:
            under_way.add(media_id)
        elif line.event in {FINISHED, RETRIED}:
            under_way.discard(media_id)
    others = [line for other, lines in heard.items() if other != log for line in lines]
    repeat_old: dict[str, float] = {}
    for line in sorted(others, key=lambda line: line.at):
        if line.event == STARTED and line.at > at and line.facts.get("id") in under_way:
            repeat_old.setdefault(line.facts["id"], line.at - at)
    return list(repeat_old.values())


def _first(lines: list[LogLine], at: float) -> list[float]:
    return [line.at - at for line in lines if line.event == FINISHED and line.at > at][:1]


def _settled(rows: list[Row], at: float) -> list[float]:
    waiting = [row.finished_at for row in rows if row.finished_at and row.received_at <= at < row.finished_at]
    return [max(waiting) - at] if waiting else []
