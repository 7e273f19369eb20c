"""What can be done with many attachments at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from actors.operations.cancel import cancel, cancel_refusal
from actors.operations.delete import delete
from actors.operations.replay import replay_without_waiting
from pipeline.catalogue import Action
from pipeline.errors import Code
from pipeline.models import REPLAYABLE, Record, Status


@dataclass(frozen=True)
class BulkAction:
    """One action. `statuses` are those of attachments that it may apply to, `applies` decides for one of them.

    `misses` are the codes of errors that say that an attachment has changed in the meantime; others end the run.
    """

    name: str
    action: Action
    statuses: tuple[Status, ...]
    applies: Callable[[Record], bool]
    perform: Callable[[str], object]
    misses: frozenset[Code]


def _may_replay(record: Record) -> bool:
    return record.status in REPLAYABLE and record.deleted_at is None


def _may_cancel(record: Record) -> bool:
    return not (record.finished_at or record.cancelled_at or cancel_refusal(record))


def _may_delete(record: Record) -> bool:
    return record.finished_at is not None and record.deleted_at is None


REPLAY = BulkAction(
    "replay",
    Action.REPLAY,
    REPLAYABLE,
    _may_replay,
    replay_without_waiting,
    frozenset({Code.NOT_FOUND, Code.NOT_ENDED}),
)
CANCEL = BulkAction(
    "cancel",
    Action.CANCEL,
    (Status.RECEIVED,),
    _may_cancel,
    cancel,
    frozenset({Code.NOT_FOUND, Code.NOT_PENDING}),
)
DELETE = BulkAction(
    "delete",
    Action.DELETE,
    (Status.DONE, *REPLAYABLE),
    _may_delete,
    delete,
    frozenset({Code.NOT_FOUND, Code.NOT_ENDED}),
)
BULK_ACTIONS = (REPLAY, CANCEL, DELETE)
