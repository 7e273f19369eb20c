"""The limits that the decoders enforce, and their JSON form, which every call to the sandbox carries."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pipeline.media_types import MEDIA_TYPES, allowed_types
from pipeline.values.kinds import Kind

if TYPE_CHECKING:  # the sandbox reads no settings, and pydantic takes longer to import than some decoders
    from pipeline.config.settings import Settings

# All frames of an animation together may have as many pixels as this many pictures of the largest allowed size.
ANIMATION_PICTURES = 10


@dataclass(frozen=True)
class Limits:
    """Limits of one file's content.

    `pixels` of one picture, `frames` of an animation, `frame_pixels` of all its frames together, `duration_s` of audio
    and video, `pages` of a PDF. `expansion` is how many times its size an archive may expand to, `entries` how many
    entries it may hold. With `refuse_active`, macros, scripts and encryption are refused. `checks` maps the name of
    each allowed type to its check, `bytes_of` each kind to its largest file size.
    """

    pixels: int
    frames: int
    frame_pixels: int
    duration_s: int
    pages: int
    expansion: int
    entries: int
    refuse_active: bool
    checks: dict[str, str]
    bytes_of: dict[str, int]

    def to_json(self) -> str:
        """The argument `limits` of a call to the sandbox; `parse_limits` reads it there."""
        return json.dumps(vars(self))


@lru_cache(maxsize=8)
def parse_limits(text: str) -> Limits:
    """The limits that the parent process sent. Cached, because the parent sends the same text with each call."""
    return Limits(**json.loads(text))


def limits_from(settings: Settings) -> Limits:
    """The limits that the settings define."""
    pixels = int(settings.max_image_mpx * 1_000_000)
    return Limits(
        pixels=pixels,
        frames=settings.max_frames,
        frame_pixels=pixels * ANIMATION_PICTURES,
        duration_s=settings.max_duration_s,
        pages=settings.max_pages,
        expansion=settings.max_expansion_ratio,
        entries=settings.max_entries,
        refuse_active=settings.active_documents == "reject",
        checks={name: MEDIA_TYPES[name].check for name in sorted(allowed_types(settings.allowed_types))},
        bytes_of={kind.value: settings.max_bytes(kind) for kind in Kind},
    )


class Rules(NamedTuple):
    """What the settings demand of every file: the limits, the same as JSON, and a hash that identifies them."""

    limits: Limits
    limits_json: str
    limits_hash: str
    reject_mismatch: bool


_last: tuple[Settings, Rules] | None = None


def rules_from(settings: Settings) -> Rules:
    """The rules that the settings define. Computed once for each settings object."""
    global _last  # noqa: PLW0603 -- a cache of one entry: a process has one settings object and asks at every file
    last = _last
    if last is not None and last[0] is settings:
        return last[1]
    limits = limits_from(settings)
    limits_json = limits.to_json()
    limits_hash = hashlib.sha256(limits_json.encode()).hexdigest()[:16]
    rules = Rules(limits, limits_json, limits_hash, settings.mismatch == "reject")
    _last = settings, rules
    return rules
