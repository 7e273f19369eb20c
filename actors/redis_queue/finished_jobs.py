"""The ledger: the newest finished jobs in Redis, kept as the seed's removeOnComplete and removeOnFail say.

It is for looking at. What a replay needs stands in the catalogue, so trimming the ledger loses nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pipeline.config.settings import JobRetention, Settings
from pipeline.models import Record, Status


@dataclass(frozen=True)
class FinishedJobList:
    """One of the ledger's two lists: how many entries it keeps, how old they may get and their time to live."""

    name: str
    retention: JobRetention
    ttl_s: int

    @property
    def limits(self) -> tuple[int, int, int]:
        """Time to live in ms, most entries, longest age in ms; -1 for no limit."""
        age, count = self.retention.age, self.retention.count
        return self.ttl_s * 1000, -1 if count is None else count, -1 if age is None else age * 1000


@dataclass(frozen=True)
class FinishedJobs:
    """Which shelf a job goes to, and what is written on it."""

    completed: FinishedJobList
    failed: FinishedJobList

    @classmethod
    def of(cls, settings: Settings) -> FinishedJobs:
        return cls(
            completed=FinishedJobList("completed", settings.remove_on_complete, settings.result_ttl_completed_s),
            failed=FinishedJobList("failed", settings.remove_on_fail, settings.result_ttl_failed_s),
        )

    def list_for(self, record: Record) -> FinishedJobList:
        """`completed` for what is done; everything else has failed, as a thrown error fails a BullMQ job."""
        return self.completed if record.status is Status.DONE else self.failed


def entry(record: Record) -> str:
    """What the ledger says of a finished job, as JSON."""
    took = (record.finished_at or record.received_at) - record.received_at
    shown = {
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
        "duration_ms": took,
    }
    return json.dumps(shown)
