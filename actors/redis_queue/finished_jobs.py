"""The lists of finished jobs in Redis: the newest jobs, kept as BullMQ's removeOnComplete and removeOnFail say.

They are for inspection only. A replay needs nothing but the catalogue, so trimming the lists loses nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pipeline.config.job_retention import JobRetention
from pipeline.config.settings import Settings
from pipeline.models import Record, Status


@dataclass(frozen=True)
class FinishedJobList:
    """One list: its name, its length and maximum age, and the time after which Redis removes it if nothing is added."""

    name: str
    retention: JobRetention
    ttl_s: int

    @property
    def limits(self) -> tuple[int, int, int]:
        """Time to live in ms, length, maximum age in ms; -1 where there is no limit."""
        age, count = self.retention.age, self.retention.count
        return self.ttl_s * 1000, -1 if count is None else count, -1 if age is None else age * 1000


@dataclass(frozen=True)
class FinishedJobs:
    """The two lists, as BullMQ has them."""

    completed: FinishedJobList
    failed: FinishedJobList

    @classmethod
    def of(cls, settings: Settings) -> FinishedJobs:
        return cls(
            completed=FinishedJobList("completed", settings.remove_on_complete, settings.result_ttl_completed_s),
            failed=FinishedJobList("failed", settings.remove_on_fail, settings.result_ttl_failed_s),
        )

    def list_for(self, record: Record) -> FinishedJobList:
        """`completed` for done attachments, `failed` for all others: in BullMQ each of them would throw."""
        return self.completed if record.status is Status.DONE else self.failed


def job_entry(record: Record) -> str:
    """The entry of a finished job, as JSON."""
    fields = {
        "id": record.id,
        "session": record.session,
        "message_id": record.message_id,
        "status": record.status,
        "stage": record.stage,
        "attempts": record.attempts,
        "kind": record.kind,
        "name": record.name,
        "size": record.size,
        "error_code": record.error_code,
        "finished_at": record.finished_at,
        "duration_ms": (record.finished_at or record.received_at) - record.received_at,
    }
    return json.dumps(fields)
