"""The limits that a decoder keeps, as they travel into the sandbox."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pipeline.media_types import MEDIA_TYPES, allowed_types
from pipeline.values.kinds import Kind

if TYPE_CHECKING:  # the sandbox needs no settings, and their library takes longer to load than some decoders
    from pipeline.config.settings import Settings

# All frames of an animation together may have the pixels of so many pictures of the largest size.
ANIMATION_PICTURES = 10


@dataclass(frozen=True)
class Limits:
    """Pixels of one picture, frames of an animation and pixels of all its frames; seconds; pages; how many times its
    size an archive may expand, and its entries. `refuse_active` refuses macros, scripts and encryption. `checks` names
    the types that are let in, with the check of each; `bytes_of` says how large a file of each kind may be."""

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
        """As an argument of a call in the sandbox; `parse_limits` reads it there."""
        return json.dumps(vars(self))


@lru_cache(maxsize=8)
def parse_limits(text: str) -> Limits:
    """The limits that the parent sent: the same ones with each call, so they are not read anew."""
    return Limits(**json.loads(text))


def limits_from(settings: Settings) -> Limits:
    """The limits that the settings ask for."""
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
    """What the settings say of every file, made once: the limits, these as JSON, and a name that no others have."""

    limits: Limits
    text: str
    mark: str
    reject_mismatch: bool


_last: tuple[Settings, Rules] | None = None


def rules_from(settings: Settings) -> Rules:
    """The rules that the settings ask for."""
    global _last  # noqa: PLW0603 -- settings are read once, and asked about at every file; one entry is enough
    last = _last
    if last is not None and last[0] is settings:
        return last[1]
    limits = limits_from(settings)
    text = limits.to_json()
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    rules = Rules(limits, text, mark, settings.mismatch == "reject")
    _last = settings, rules
    return rules
