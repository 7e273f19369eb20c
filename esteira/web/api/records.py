"""Attachments as the API tells them: pages of records, narrowed by what the caller asked for and may see."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from pipeline.catalogue import Filters, Preview, parse_since
from pipeline.errors import Code, PayloadError, PermanentError
from pipeline.history import HistoryEntry
from pipeline.models import Model, Record

FILTERS = tuple(Filters.model_fields)
MAX_BATCH = 200
USUAL = 50
M = TypeVar("M", bound=Model)
_CURSOR = re.compile(r"(\d{1,16})\.([0-9a-f]{32})", re.ASCII)


def record_json(record: Record, preview: Preview | None = None) -> dict[str, Any]:
    """The catalogue's row without what is storage's own; `content` is the path of its content, once it is stored.

    `preview` is null as long as none was made of it.
    """
    fields = record.model_dump(mode="json", exclude={"storage_key"})
    there = record.storage_key is not None and record.deleted_at is None
    shown = preview.model_dump(mode="json", exclude={"sha256"}) if preview and there else None
    return {**fields, "content": f"/media/{record.id}/content" if there else None, "preview": shown}


def history_json(history: Iterable[HistoryEntry], *, workers: bool) -> list[dict[str, Any]]:
    """Its way through the stages. `workers` names machines and processes, which are no business of a session's."""
    return [entry.model_dump(mode="json", exclude=None if workers else {"worker"}) for entry in history]


def unknown() -> PermanentError:
    """The answer to an id that does not exist, or not for this caller: nobody learns which of the two."""
    return PermanentError(Code.NOT_FOUND, "unknown: there is no such attachment")


def once_each(pairs: Iterable[tuple[str, str]], *, known: Iterable[str]) -> dict[str, str]:
    """The parameters of a query by their names.

    Raises:
        PayloadError: one is unknown, empty or given twice: ignored, it would widen what was meant to be narrowed.
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise PayloadError(name, f"is not known here; there are {', '.join(known)}")
        if name in found or not value:
            raise PayloadError(name, "is given twice" if value else "is empty")
        found[name] = value
    return found


def parse_filters(given: Mapping[str, Any]) -> Filters:
    """The filters among these parameters. `since` is Unix milliseconds, an age such as `2h`, or an ISO date or time.

    Raises:
        PayloadError: one is wrong.
    """
    return narrowed(Filters, given)


def narrowed(kind: type[M], given: Mapping[str, Any]) -> M:
    """As `filters_of`, for filters of this kind, which have a `since` among them.

    Raises:
        PayloadError: one is wrong.
    """
    wanted = {name: given[name] for name in kind.model_fields if name in given}
    try:
        if isinstance(since := wanted.get("since"), str):
            wanted["since"] = int(since) if re.fullmatch(r"\d{11,16}", since, re.ASCII) else parse_since(since)
        return kind.model_validate(wanted)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise PayloadError(".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")) from None
    except ValueError as error:
        raise PayloadError("since", str(error)) from None


def limit_of(text: str, *, most: int = MAX_BATCH) -> int:
    """How many are asked for.

    Raises:
        PayloadError: it is no number from 1 to `most`.
    """
    number = int(text) if re.fullmatch(r"\d{1,6}", text, re.ASCII) else 0
    if not 1 <= number <= most:
        raise PayloadError("limit", f"must be a number from 1 to {most}")
    return number


def encode_cursor(last: Record) -> str:
    """Where a page ends, for whoever asks for the next one."""
    return base64.urlsafe_b64encode(f"{last.received_at}.{last.id}".encode()).decode().rstrip("=")


def decode_cursor(text: str) -> tuple[int, str]:
    """The place behind which a page begins.

    Raises:
        PayloadError: it is no `next` of ours.
    """
    try:
        found = _CURSOR.fullmatch(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    except ValueError:
        found = None
    if found is None:
        raise PayloadError("next", "must be the `next` of the page before")
    return int(found[1]), found[2]
