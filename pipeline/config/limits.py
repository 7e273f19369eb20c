"""The settings of what is accepted: types, sizes, and the limits of what a file may contain."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode

from pipeline.config.types import Measure, Positive, as_list
from pipeline.models import Kind

MB = 1_000_000
# The fields with the size limits of the kinds, in MB.
SIZE_FIELDS = {
    Kind.IMAGE: "max_image_mb",
    Kind.STICKER: "max_sticker_mb",
    Kind.VIDEO: "max_video_mb",
    Kind.AUDIO: "max_audio_mb",
    Kind.PTT: "max_audio_mb",
    Kind.DOCUMENT: "max_document_mb",
}


class LimitSettings(BaseSettings):
    """The settings of accepted files, named like their environment variables in lower case."""

    allowed_types: Annotated[frozenset[str], NoDecode, BeforeValidator(as_list)] = frozenset()
    mismatch: Literal["correct", "reject"] = "correct"
    active_documents: Literal["accept", "reject"] = "accept"
    max_image_mb: Measure = 16
    max_sticker_mb: Measure = 1
    max_video_mb: Measure = 256
    max_audio_mb: Measure = 64
    max_document_mb: Measure = 2000
    max_image_mpx: Measure = 50
    max_frames: Positive = 1000
    max_pages: Positive = 10_000
    max_duration_s: Positive = 6 * 3600
    max_expansion_ratio: Positive = 100
    max_entries: Positive = 10_000

    def max_bytes(self, kind: Kind | None) -> int:
        """The size limit of a kind in bytes; the largest limit if the kind is not known yet."""
        return int(getattr(self, self._size_field(kind)) * MB)

    def size_setting(self, kind: Kind | None) -> str:
        """Name of the variable that limits the size of a kind; of the largest limit if the kind is not known yet."""
        return self._size_field(kind).upper()

    def _size_field(self, kind: Kind | None) -> str:
        return SIZE_FIELDS[kind] if kind else max(SIZE_FIELDS.values(), key=lambda field: float(getattr(self, field)))
