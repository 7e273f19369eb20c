"""Derive: what a content looks like before it is opened, made once for all attachments that carry it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from pipeline.catalogue import Catalogue, Preview, PreviewState
from pipeline.config.settings import MB, Settings
from pipeline.errors import Code, PermanentError
from pipeline.media_types import MEDIA_TYPES, media_type_for
from pipeline.media_types.limits import rules_from
from pipeline.models import Model, Record
from pipeline.sandbox import Sandbox
from pipeline.storage import Storage, content_key, thumbnail_key
from pipeline.storage.staging import Staging

MOST_BYTES = 256 * MB  # what is larger is not read a second time for a picture of it
MOST_WEBP = 512 * 1024
EDGE = 320


class Content(Model):
    """A stored content by its hash (64 hex digits), and its media type as MEDIA_TYPES calls it."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    type: str


def _bytes(text: object) -> object:
    return base64.b64decode(text, validate=True) if isinstance(text, str) else text


Edge = Annotated[int, Field(ge=1, le=EDGE)]
Peak = Annotated[int, Field(ge=0, le=100)]


class Rendered(Model):
    """What a child of the sandbox says that it has drawn. It read a stranger's bytes: whatever it says fits this."""

    webp: Annotated[bytes, Field(max_length=MOST_WEBP), BeforeValidator(_bytes)] | None = None
    width: Edge | None = None
    height: Edge | None = None
    thumbhash: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{7,40}={0,2}$")] | None = None
    peaks: Annotated[tuple[Peak, ...], Field(min_length=100, max_length=100)] | None = None

    @property
    def whole(self) -> bool:
        """Whether a picture comes with its size and its blur, or without all of it."""
        picture = (self.webp, self.width, self.height, self.thumbhash)
        there = sum(part is not None for part in picture)
        return there == 0 or (there == len(picture) and self.webp is not None and _is_webp(self.webp))


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def content_of(record: Record) -> Content | None:
    """The content of this attachment, if it is stored and of a type that there is something to show of."""
    if record.sha256 is None or record.storage_key is None or record.deleted_at is not None:
        return None
    found = media_type_for(record.mime, record.ext)
    return Content(sha256=record.sha256, type=found.name) if found and found.preview else None


def derive(content: Content, *, storage: Storage, staging: Staging, sandbox: Sandbox, settings: Settings) -> Preview:
    """Draws it in the sandbox and puts the picture beside the content; that is to be noted in the catalogue.

    Raises:
        PermanentError: `no_source`, if the content is gone; `broken` and what `Sandbox.call` raises.
        RetryableError: `storage`, `staging`, and what `Sandbox.call` raises.
        StagingLostError: the content went meanwhile.
    """
    key = content_key(content.sha256)
    size = storage.size(key)
    if size is None:
        raise PermanentError(Code.NO_SOURCE, "storage does not hold this content")
    row = MEDIA_TYPES.get(content.type)
    if row is None or row.preview is None or size > MOST_BYTES:
        return Preview(sha256=content.sha256, state=PreviewState.NONE)
    with _at_hand(key, storage, staging) as path:
        answer = sandbox.call(row.preview, path=str(path), name=row.name, limits=rules_from(settings).limits_json)
    rendered = _rendered(answer)
    if rendered.webp is not None:
        with staging.copy(content.sha256, [rendered.webp]) as picture:  # a link of it leaves no half behind
            storage.put_file(picture, thumbnail_key(content.sha256))
    shown = rendered.webp is not None or rendered.peaks is not None
    state = PreviewState.MADE if shown else PreviewState.NONE
    return Preview(sha256=content.sha256, state=state, **rendered.model_dump(exclude={"webp"}))


def keep(preview: Preview, *, storage: Storage, catalogue: Catalogue) -> None:
    """Notes a preview, unless its content was deleted meanwhile: then nothing of it is left.

    Whoever deletes notes that first, then removes all of it: this looks after its own note, so one of the two sees the
    other's.
    """
    catalogue.previews.save(preview)
    if not catalogue.deletions.is_content_in_use(preview.sha256):
        discard(preview.sha256, storage=storage, catalogue=catalogue)


def discard(sha256: str, *, storage: Storage, catalogue: Catalogue) -> None:
    """Removes what was made of a content."""
    storage.delete(thumbnail_key(sha256))
    catalogue.previews.delete(sha256)


@contextmanager
def _at_hand(key: str, storage: Storage, staging: Staging) -> Iterator[Path]:
    """The content as a file of this machine: where it stands, or a copy for as long as the block runs."""
    here = storage.local_path(key)
    if here is not None:
        yield here
        return
    with staging.copy(key.rpartition("/")[2], storage.chunks(key)) as path:
        yield path


def _rendered(answer: object) -> Rendered:
    try:
        found = Rendered.model_validate(answer)
    except (ValidationError, binascii.Error):
        found = None
    if found is None or not found.whole:
        raise PermanentError(Code.DECODER_CRASH, "the decoder's process answered nonsense")
    return found
