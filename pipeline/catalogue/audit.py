"""The audit log: one row for each action that changes something, written before the action.

Rows are only added. The result of an action is written once, into the row that it began with; no other column is ever
updated. Old rows are removed after AUDIT_DAYS.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Select, bindparam, delete, insert, select, tuple_, update

from pipeline.catalogue.audit_models import Action, Actor, AuditFilters, AuditOutcome, AuditRecord
from pipeline.catalogue.database import Database
from pipeline.catalogue.tables import audit
from pipeline.values.gateway_values import clean_text

MAX_TEXT = 300  # characters of a name, an address, or one value of a target
MAX_ITEMS = 20  # items of a list in a target; their number is stored too
MAX_JSON = 4000  # characters of a target or a detail
TRIM_ROWS = 500  # rows that one transaction removes
END_OF_TIME = 2**63 - 1

_p = bindparam
_COLUMNS = [audit.c[name] for name in AuditRecord.model_fields]
_RESULT = ("count", "outcome", "detail", "ended_at")
_FILTERS = ("who", "action", "outcome", "via")

INSERT = insert(audit).values({name: _p(name) for name in AuditRecord.model_fields})
# A result is final: a row that has one is never updated again.
_open = (audit.c.id == _p("entry_id")) & (audit.c.ended_at.is_(None))
COMPLETE = update(audit).where(_open).values({name: _p(f"new_{name}") for name in _RESULT})
ADVANCE = update(audit).where(_open).values(count=_p("new_count"))
_oldest = select(audit.c.id).where(audit.c.at < _p("before")).order_by(audit.c.at).limit(_p("limit"))
TRIM = delete(audit).where(audit.c.id.in_(_oldest))


class Audit:
    """The table `audit`. `now` returns Unix ms. Every method raises what those of `Catalogue` do."""

    def __init__(self, database: Database, *, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def begin(self, actor: Actor, action: Action, target: Mapping[str, Any]) -> str:
        """Adds an entry for an action that starts now, with the outcome `started`; returns its id."""
        return self._add(self.row(actor, action, target, outcome=AuditOutcome.STARTED))

    def record(
        self,
        actor: Actor,
        action: Action,
        target: Mapping[str, Any],
        *,
        outcome: AuditOutcome,
        detail: Mapping[str, Any] | None = None,
    ) -> str:
        """Adds an entry for an action that has already ended, or was refused; returns its id."""
        return self._add(self.row(actor, action, target, outcome=outcome, detail=detail))

    def advance(self, entry_id: str, *, count: int) -> None:
        """Writes how much of a long action is done so far, in case its process dies."""
        self._database.write(lambda session: session.execute(ADVANCE, entry_id=entry_id, new_count=count))

    def complete(self, entry_id: str, outcome: AuditOutcome, *, count: int, detail: Mapping[str, Any]) -> None:
        """Writes the result of an action. A result that is already there stays."""
        result = (count, outcome.value, bounded_json(detail), self._now())
        values = {f"new_{name}": value for name, value in zip(_RESULT, result, strict=True)}
        self._database.write(lambda session: session.execute(COMPLETE, entry_id=entry_id, **values))

    def find(
        self, filters: AuditFilters, *, limit: int = 50, after: tuple[int, str] | None = None
    ) -> list[AuditRecord]:
        """Finds up to `limit` entries, newest first, after the (at, id) given by `after`."""
        values = filters.parameters()
        statement = listing(frozenset(values), paged=after is not None)
        until = END_OF_TIME if filters.until is None else filters.until
        values |= {"since": filters.since or 0, "until": until, "limit": limit}
        if after is not None:
            values |= {"after_at": after[0], "after_id": after[1]}
        return [_record(row) for row in self._database.read(lambda session: session.rows(statement, **values))]

    def trim(self, *, older_than_s: float) -> int:
        """Removes entries that are older than this; returns how many. Each transaction removes few of them."""
        values = {"before": self._now() - int(older_than_s * 1000), "limit": TRIM_ROWS}
        removed = 0
        while count := self._database.write(lambda session: session.execute(TRIM, **values)):
            removed += count
        return removed

    def row(
        self,
        actor: Actor,
        action: Action,
        target: Mapping[str, Any],
        *,
        outcome: AuditOutcome,
        detail: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The parameters of INSERT for an entry of this moment."""
        now = self._now()
        row = {name: _bounded(value) for name, value in actor.model_dump(mode="json").items()}
        row |= {"id": uuid.uuid4().hex, "at": now, "action": action.value, "outcome": outcome.value}
        row |= {"target": bounded_json(target), "detail": bounded_json(detail or {})}
        row["count"] = int(outcome is AuditOutcome.DONE)
        row["ended_at"] = None if outcome is AuditOutcome.STARTED else now
        return row

    def _add(self, row: dict[str, Any]) -> str:
        self._database.write(lambda session: session.execute(INSERT, **row))
        return str(row["id"])


@functools.cache
def listing(by: frozenset[str], *, paged: bool) -> Select[Any]:
    """Selects entries by the filters of these names, newest first."""
    conditions = [audit.c[name] == _p(name) for name in _FILTERS if name in by]
    conditions += [audit.c.at >= _p("since"), audit.c.at < _p("until")]
    if paged:
        conditions.append(tuple_(audit.c.at, audit.c.id) < tuple_(_p("after_at"), _p("after_id")))
    order = (audit.c.at.desc(), audit.c.id.desc())
    return select(*_COLUMNS).where(*conditions).order_by(*order).limit(_p("limit"))


def bounded_json(values: Mapping[str, Any]) -> str:
    """A mapping as JSON of limited length, in ASCII, so that any database can hold it.

    Long texts and long lists are cut, and `<name>_total` has the length of a list that was cut. Fields that do not fit
    are left out, and `cut` is then true.
    """
    fitting: dict[str, Any] = {}
    for name, value in values.items():
        if value in (None, "", (), []):
            continue
        items = list(value) if isinstance(value, list | tuple) else None
        fitting[name] = [_bounded(item) for item in items[:MAX_ITEMS]] if items is not None else _bounded(value)
        if items is not None and len(items) > MAX_ITEMS:
            fitting[f"{name}_total"] = len(items)
        if len(_json(fitting)) > MAX_JSON:
            del fitting[name]
            fitting["cut"] = True
    return _json(fitting)


def _bounded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = str(clean_text(value[: MAX_TEXT + 1]))
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))


def _record(row: Any) -> AuditRecord:
    values = dict(zip(AuditRecord.model_fields, row, strict=True))
    values |= {name: json.loads(values[name]) for name in ("target", "detail")}
    return AuditRecord.model_validate(values)
