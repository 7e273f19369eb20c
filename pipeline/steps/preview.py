"""Previews: makes the thumbnail or the waveform of a content, once for all attachments with that content."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from pipeline.catalogue import Catalogue, Preview, PreviewState
from pipeline.config.limits import MB
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.media_types import MEDIA_TYPES, media_type_for
from pipeline.media_types.limits import rules_from
from pipeline.models import Model, Record
from pipeline.sandbox import InvalidAnswerError, Sandbox
from pipeline.storage import Storage, content_key, thumbnail_key
from pipeline.storage.staging import Staging

MAX_BYTES = 256 * MB  # larger content gets no preview, because reading it again costs too much
MAX_WEBP_BYTES = 512 * 1024
MAX_EDGE = 320  # pixels of the longer side of a thumbnail


class Content(Model):
    """A stored content: its hash (64 hex digits), and the name of its type in MEDIA_TYPES."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    type: str


def _bytes(text: object) -> object:
    return base64.b64decode(text, validate=True) if isinstance(text, str) else text


Edge = Annotated[int, Field(ge=1, le=MAX_EDGE)]
Peak = Annotated[int, Field(ge=0, le=100)]


class Rendering(Model):
    """The answer of the sandbox process. It is validated strictly, because that process read untrusted bytes."""

    webp: Annotated[bytes, Field(max_length=MAX_WEBP_BYTES), BeforeValidator(_bytes)] | None = None
    width: Edge | None = None
    height: Edge | None = None
    thumbhash: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{7,40}={0,2}$")] | None = None
    peaks: Annotated[tuple[Peak, ...], Field(min_length=100, max_length=100)] | None = None

    @property
    def complete(self) -> bool:
        """Whether the picture, its size and its thumbhash are all present or all missing."""
        parts = (self.webp, self.width, self.height, self.thumbhash)
        present = sum(part is not None for part in parts)
        return present == 0 or (present == len(parts) and self.webp is not None and _is_webp(self.webp))


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def content_of(record: Record) -> Content | None:
    """The content of this attachment, if it is stored and its type has previews."""
    if record.sha256 is None or record.storage_key is None or record.deleted_at is not None:
        return None
    media_type = media_type_for(record.mime, record.ext)
    return Content(sha256=record.sha256, type=media_type.name) if media_type and media_type.preview else None


def make_preview(
    content: Content, *, storage: Storage, staging: Staging, sandbox: Sandbox, settings: Settings
) -> Preview:
    """Renders a content in the sandbox and stores the thumbnail next to it. `save_preview` saves the result.

    Raises:
        PermanentError: `no_source`, if the content is gone; `broken` and what `Sandbox.call` raises.
        RetryableError: `storage`, `staging`, and what `Sandbox.call` raises.
        StagingLostError: the content was deleted in the meantime.
    """
    key = content_key(content.sha256)
    size = storage.size(key)
    if size is None:
        raise PermanentError(Code.NO_SOURCE, "storage does not hold this content")
    media_type = MEDIA_TYPES.get(content.type)
    if media_type is None or media_type.preview is None or size > MAX_BYTES:
        return Preview(sha256=content.sha256, state=PreviewState.NONE)
    with _local_file(key, storage, staging) as path:
        limits = rules_from(settings).limits_json
        answer = sandbox.call(media_type.preview, file=str(path), name=media_type.name, limits=limits)
    try:
        rendering = _validated(answer)
    except InvalidAnswerError:
        sandbox.distrust()
        raise
    if rendering.webp is not None:
        with staging.copy(content.sha256, [rendering.webp]) as picture:  # a hard link cannot leave half a file
            storage.put_file(picture, thumbnail_key(content.sha256))
    has_content = rendering.webp is not None or rendering.peaks is not None
    state = PreviewState.MADE if has_content else PreviewState.NONE
    return Preview(sha256=content.sha256, state=state, **rendering.model_dump(exclude={"webp"}))


def save_preview(preview: Preview, *, storage: Storage, catalogue: Catalogue) -> None:
    """Saves a preview; removes it again if its content was deleted in the meantime.

    A deletion is recorded before it removes anything, and this looks for deletions after it has saved. So at least one
    of the two sees the other.
    """
    catalogue.previews.save(preview)
    if not catalogue.deletions.is_content_in_use(preview.sha256):
        discard_preview(preview.sha256, storage=storage, catalogue=catalogue)


def discard_preview(sha256: str, *, storage: Storage, catalogue: Catalogue) -> None:
    """Removes the preview of a content."""
    storage.delete(thumbnail_key(sha256))
    catalogue.previews.delete(sha256)


@contextmanager
def _local_file(key: str, storage: Storage, staging: Staging) -> Iterator[Path]:
    """The content as a local file: the stored one, or a copy that is removed at the end of the block."""
    path = storage.local_path(key)
    if path is not None:
        yield path
        return
    with staging.copy(key.rpartition("/")[2], storage.chunks(key)) as copy:
        yield copy


def _validated(answer: object) -> Rendering:
    try:
        rendering = Rendering.model_validate(answer)
    except (ValidationError, binascii.Error):
        rendering = None
    if rendering is None or not rendering.complete:
        raise InvalidAnswerError
    return rendering
