"""Query and response models for attachments."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Path, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from esteira.web.errors import payload_error
from pipeline.catalogue import Filters, Preview, parse_since
from pipeline.errors import Code, PayloadError, PermanentError
from pipeline.history import HistoryEntry, HistoryOutcome
from pipeline.models import Record
from pipeline.services import services

MAX_PAGE = 200
DEFAULT_PAGE = 50
MAX_PAGE_TEXT = 500_000  # characters of the captions on one page: strangers write them, and an answer is in memory
_CURSOR = re.compile(r"(\d{1,16})\.([0-9a-f]{32})", re.ASCII)


def _since(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return int(value) if re.fullmatch(r"\d{11,16}", value, re.ASCII) else parse_since(value)


Since = Annotated[
    Annotated[int, Field(ge=0, lt=2**63)] | None,
    BeforeValidator(_since),
    WithJsonSchema({"type": "string", "description": "2h, 3d, an ISO date or time, or Unix milliseconds"}),
]


MediaId = Annotated[str, Path(description="The id of an attachment: 32 hex digits.")]


class MediaFilters(Filters):
    """The filters of attachments. Every filter that is set must match."""

    model_config = ConfigDict(extra="forbid")

    since: Since = None

    def filters(self) -> Filters:
        """The filters alone, without what subclasses add."""
        return Filters(**{name: getattr(self, name) for name in Filters.model_fields})


class MediaQuery(MediaFilters):
    """The parameters of `GET /media`. `next` is from the page before."""

    limit: int = Field(default=DEFAULT_PAGE, ge=1, le=MAX_PAGE, description="The most attachments of this page.")
    next: str | None = Field(default=None, description="`next` of the page before.")


class PreviewInfo(Preview):
    """The preview of a content: its state, and the size of its thumbnail, or the waveform of a sound."""

    sha256: str = Field(exclude=True)


class MediaItem(Record):
    """An attachment. Times are Unix milliseconds.

    `content` is the path of its content once it is stored. `preview` is null until one was made or tried.
    """

    storage_key: str | None = Field(default=None, exclude=True)
    content: str | None = None
    preview: PreviewInfo | None = None


class MediaPage(BaseModel):
    """A page of attachments, newest first. `next` is the parameter for the next page, and null on the last one."""

    media: list[MediaItem]
    next: str | None


class SessionAttempt(BaseModel):
    """An attempt at a stage, or an event between two attempts. `at` is Unix milliseconds, `ms` the duration."""

    run: int
    stage: str
    attempt: int
    at: int
    ms: float | None
    outcome: HistoryOutcome
    code: str | None
    message: str | None


class WorkerAttempt(SessionAttempt):
    """An attempt with its worker, `<host>:<process id>`. Only callers with the API_TOKEN see it."""

    worker: str | None


class MediaDetail(MediaItem):
    """An attachment with its history, the first attempt first."""

    history: list[WorkerAttempt | SessionAttempt]


def first_page(records: Sequence[Record], *, limit: int) -> Sequence[Record]:
    """The first records: at most `limit`, and no more after captions of MAX_PAGE_TEXT characters."""
    length = 0
    for count, record in enumerate(records[:limit]):
        if length > MAX_PAGE_TEXT:
            return records[:count]
        length += len(record.caption or "")
    return records[:limit]


def media_items(records: Sequence[Record]) -> list[MediaItem]:
    """Attachments with their previews, which are read with one query."""
    previews = services().catalogue.previews.get_many(record.sha256 for record in records if record.sha256)
    return [media_item(record, previews.get(record.sha256 or "")) for record in records]


def media_item(record: Record, preview: Preview | None = None) -> MediaItem:
    """An attachment as the API returns it."""
    has_content = record.storage_key is not None and record.deleted_at is None
    info = PreviewInfo.model_construct(**dict(preview)) if preview and has_content else None
    # `model_validate` takes 20 µs here, half of what `model_construct` takes for so many fields.
    return MediaItem.model_validate(
        {**dict(record), "content": f"/media/{record.id}/content" if has_content else None, "preview": info}
    )


def attempts(history: Iterable[HistoryEntry], *, with_worker: bool) -> list[WorkerAttempt | SessionAttempt]:
    """The history of an attachment. The worker's name shows hosts and processes, which a session may not see."""
    model = WorkerAttempt if with_worker else SessionAttempt
    return [model.model_validate(entry, from_attributes=True) for entry in history]


def unknown_media() -> PermanentError:
    """The error for an id that does not exist or belongs to another session; the two look the same."""
    return PermanentError(Code.NOT_FOUND, "unknown: there is no such attachment")


async def each_parameter_once(request: Request) -> None:
    """A dependency that refuses empty and repeated query parameters: ignored, they would widen the selection.

    Raises:
        PayloadError: a parameter is empty or given twice.
    """
    names: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name in names or not value:
            raise PayloadError(name, "is given twice" if value else "is empty")
        names.add(name)


def parse_filters(values: Mapping[str, Any]) -> Filters:
    """Filters from text.

    Raises:
        PayloadError: a filter is unknown or wrong.
    """
    try:
        return MediaFilters.model_validate(values).filters()
    except ValidationError as error:
        raise payload_error(error.errors(include_input=False, include_url=False)) from None


def encode_cursor(last: Record) -> str:
    """The `next` of a page that ends with this attachment."""
    return encode_position(last.received_at, last.id)


def encode_position(at: int, row_id: str) -> str:
    """The `next` of a page that ends with the row of this time and id."""
    return base64.urlsafe_b64encode(f"{at}.{row_id}".encode()).decode().rstrip("=")


def decode_cursor(text: str) -> tuple[int, str]:
    """The time and the id after which a page begins.

    Raises:
        PayloadError: it is not the `next` of a page.
    """
    try:
        match = _CURSOR.fullmatch(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    except ValueError:
        match = None
    if match is None:
        raise PayloadError("next", "must be the `next` of the page before")
    return int(match[1]), match[2]
