"""What is shown of a content before anybody opens it: a thumbnail, its blur, the waveform of a sound."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import Executable, Select, bindparam, delete, select

from pipeline.catalogue.database import Database
from pipeline.catalogue.dialects import PerDialect, insert
from pipeline.catalogue.tables import previews
from pipeline.models import Model

SIZES = (1, 20, 200)  # of one question: a statement for each number of hashes would be compiled anew every time


class PreviewState(StrEnum):
    """How the making of a preview ended."""

    MADE = "made"
    NONE = "none"  # there is nothing to show of this content
    FAILED = "failed"


class Preview(Model):
    """What there is to show of a content with the hash `sha256`, for all attachments that carry it.

    `thumbhash` is base64, `width` and `height` are pixels of the thumbnail; a sound has none of the three, but `peaks`:
    a hundred numbers from 0 to 100.
    """

    sha256: str
    state: PreviewState
    thumbhash: str | None = None
    width: int | None = None
    height: int | None = None
    peaks: tuple[int, ...] | None = None

    @property
    def has_thumbnail(self) -> bool:
        """Whether a WebP picture stands in storage beside the content."""
        return self.width is not None


_COLUMNS = tuple(previews.c[name] for name in Preview.model_fields)
_of_one = previews.c.sha256 == bindparam("sha256")


def _keeping(dialect: str) -> Executable:
    names = [column.name for column in previews.columns]
    row = insert(dialect, previews).values({name: bindparam(name) for name in names})
    news = {name: row.excluded[name] for name in names if name != "sha256"}
    return row.on_conflict_do_update(index_elements=["sha256"], set_=news)  # type: ignore[no-any-return]


@functools.cache
def _among(number: int) -> Select[Any]:
    return select(*_COLUMNS).where(previews.c.sha256.in_([bindparam(f"hash{at}") for at in range(number)]))


KEEP = PerDialect(_keeping)
FORGET = delete(previews).where(_of_one)


class Previews:
    """The catalogue's table of previews. `now` gives Unix milliseconds.

    Every method raises RetryableError and CatalogueError as Catalogue's do.
    """

    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def get_many(self, hashes: Iterable[str]) -> dict[str, Preview]:
        """The previews of these contents, by their hashes; one question for 200 of them."""
        wanted = sorted(set(hashes))
        found = [row for part in _parts(wanted) for row in self._rows(part)]
        return {row[0]: _preview(row) for row in found}

    def save(self, preview: Preview) -> None:
        """Notes how the making ended, in place of what was noted before."""
        row = preview.model_dump(mode="json") | {"peaks": _text(preview.peaks), "made_at": self._now()}
        self._database.write(lambda session: session.change(KEEP[self._database.dialect], **row))

    def delete(self, sha256: str) -> None:
        """Notes that there is none any more."""
        self._database.write(lambda session: session.change(FORGET, sha256=sha256))

    def _rows(self, hashes: Sequence[str]) -> list[Sequence[Any]]:
        number = next(size for size in SIZES if size >= len(hashes))
        given = {f"hash{at}": hashes[min(at, len(hashes) - 1)] for at in range(number)}
        return self._database.read(lambda session: session.rows(_among(number), **given))


def _parts(hashes: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(hashes), SIZES[-1]):
        yield hashes[at : at + SIZES[-1]]


def _text(peaks: tuple[int, ...] | None) -> str | None:
    return None if peaks is None else ",".join(map(str, peaks))


def _preview(row: Sequence[Any]) -> Preview:
    fields = dict(zip(Preview.model_fields, row, strict=True))
    if fields["peaks"] is not None:
        fields["peaks"] = tuple(map(int, fields["peaks"].split(",")))
    return Preview.model_validate(fields)
