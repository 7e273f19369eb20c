"""Recovery times, computed from the logs of the workers and the times in the catalogue."""

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
    """Recovery times in seconds; None if there is no such measurement.

    `rerun`: from the kill of a worker until another worker starts its unfinished attachments (`reruns`: how many).
    `resume`: from the recovery of a service until a worker finishes an attachment. `settle`: from the recovery until
    everything unfinished at that time is finished; `settle_p95` is for 95 % of it. `answer`: response time of the
    intake. `exit`: from SIGTERM to exit.
    """

    reruns: int = 0
    rerun_p95: float | None = None
    rerun_max: float | None = None
    resume_max: float | None = None
    settle_p95: float | None = None
    settle_max: float | None = None
    answer_p99: float | None = None
    answer_max: float | None = None
    exit_max: float | None = None


def times(testbed: Testbed, rows: list[Row]) -> Times:
    """Computes the times of a run."""
    lines_of_logs = {log: log_lines(log) for worker in testbed.workers for log in worker.logs}
    reruns = [took for at, log in testbed.observations.kills for took in _reruns(lines_of_logs, log, at)]
    everything = sorted((line for lines in lines_of_logs.values() for line in lines), key=lambda line: line.at)
    settled = [took for at in testbed.observations.recoveries for took in _settled(rows, at)]
    answers = [attempt.took_s for attempt in testbed.load.attempts]
    return Times(
        reruns=len(reruns),
        rerun_p95=percentile(reruns, 95),
        rerun_max=percentile(reruns, 100),
        resume_max=percentile([took for at in testbed.observations.recoveries for took in _first(everything, at)], 100),
        settle_p95=percentile(settled, 95),
        settle_max=percentile(settled, 100),
        answer_p99=percentile(answers, 99),
        answer_max=percentile(answers, 100),
        exit_max=percentile(testbed.observations.exit_times_s, 100),
    )


def failed_attempts(testbed: Testbed) -> Counter[str]:
    """Returns the number of failed and retried attempts by error code."""
    lines = (line for worker in testbed.workers for log in worker.logs for line in log_lines(log))
    return Counter(str(line.facts.get("code")) for line in lines if line.event == RETRIED)


def percentile(values: list[float], percent: int) -> float | None:
    """Returns the percentile by nearest rank, rounded to 0.01; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 2)


def _reruns(lines_of_logs: dict[Path, list[LogLine]], log: Path, at: float) -> list[float]:
    """For each attachment that was unfinished in this log: the seconds until another process started it."""
    unfinished: set[str] = set()
    for line in lines_of_logs[log]:
        media_id = str(line.facts.get("id"))
        if line.event == STARTED:
            unfinished.add(media_id)
        elif line.event in {FINISHED, RETRIED}:
            unfinished.discard(media_id)
    others = [line for other, lines in lines_of_logs.items() if other != log for line in lines]
    rerun_after_s: dict[str, float] = {}
    for line in sorted(others, key=lambda line: line.at):
        if line.event == STARTED and line.at > at and line.facts.get("id") in unfinished:
            rerun_after_s.setdefault(line.facts["id"], line.at - at)
    return list(rerun_after_s.values())


def _first(lines: list[LogLine], at: float) -> list[float]:
    return [line.at - at for line in lines if line.event == FINISHED and line.at > at][:1]


def _settled(rows: list[Row], at: float) -> list[float]:
    return [row.finished_at - at for row in rows if row.finished_at and row.received_at <= at < row.finished_at]
