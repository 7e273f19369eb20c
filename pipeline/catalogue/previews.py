"""Previews of content: a thumbnail with its blurred placeholder, or the waveform of a sound."""

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

SIZES = (1, 20, 200)  # hashes in one query; a statement for every other number would have to be compiled each time


class PreviewState(StrEnum):
    """The result of making a preview."""

    MADE = "made"
    NONE = "none"  # this content has nothing to show
    FAILED = "failed"


class Preview(Model):
    """The preview of the content with the hash `sha256`, for all attachments with that content.

    `thumbhash` is base64, `width` and `height` are pixels of the thumbnail. A sound has none of the three, but `peaks`:
    100 numbers from 0 to 100.
    """

    sha256: str
    state: PreviewState
    thumbhash: str | None = None
    width: int | None = None
    height: int | None = None
    peaks: tuple[int, ...] | None = None

    @property
    def has_thumbnail(self) -> bool:
        """Whether storage has a WebP thumbnail next to the content."""
        return self.width is not None


_COLUMNS = tuple(previews.c[name] for name in Preview.model_fields)


def _upsert(dialect: str) -> Executable:
    names = [column.name for column in previews.columns]
    row = insert(dialect, previews).values({name: bindparam(name) for name in names})
    new_values = {name: row.excluded[name] for name in names if name != "sha256"}
    return row.on_conflict_do_update(index_elements=["sha256"], set_=new_values)  # type: ignore[no-any-return]


@functools.cache
def _by_hashes(number: int) -> Select[Any]:
    hashes: list[Any] = [bindparam(f"hash{index}") for index in range(number)]
    return select(*_COLUMNS).where(previews.c.sha256.in_(hashes))


SAVE = PerDialect(_upsert)
DELETE = delete(previews).where(previews.c.sha256 == bindparam("sha256"))


class Previews:
    """The table `previews`. `now` returns Unix ms. Every method raises what those of `Catalogue` do."""

    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def get_many(self, hashes: Iterable[str]) -> dict[str, Preview]:
        """The previews of these contents by hash, with one query for each 200 of them."""
        unique = sorted(set(hashes))
        rows = [row for part in _parts(unique) for row in self._rows(part)]
        return {row[0]: _preview(row) for row in rows}

    def save(self, preview: Preview) -> None:
        """Saves a preview in place of an earlier one."""
        row = preview.model_dump(mode="json") | {"peaks": _join(preview.peaks), "made_at": self._now()}
        self._database.write(lambda session: session.execute(SAVE[self._database.dialect], **row))

    def delete(self, sha256: str) -> None:
        """Deletes the preview of a content, if there is one."""
        self._database.write(lambda session: session.execute(DELETE, sha256=sha256))

    def _rows(self, hashes: Sequence[str]) -> list[Sequence[Any]]:
        number = next(size for size in SIZES if size >= len(hashes))
        values = {f"hash{index}": hashes[min(index, len(hashes) - 1)] for index in range(number)}
        return self._database.read(lambda session: session.rows(_by_hashes(number), **values))


def _parts(hashes: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(hashes), SIZES[-1]):
        yield hashes[start : start + SIZES[-1]]


def _join(peaks: tuple[int, ...] | None) -> str | None:
    return None if peaks is None else ",".join(map(str, peaks))


def _preview(row: Sequence[Any]) -> Preview:
    fields = dict(zip(Preview.model_fields, row, strict=True))
    if fields["peaks"] is not None:
        fields["peaks"] = tuple(map(int, fields["peaks"].split(",")))
    return Preview.model_validate(fields)
