"""The limits that a decoder keeps, as they travel into the sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the sandbox needs no settings, and their library takes longer to load than some decoders
    from pipeline.settings import Settings

# All frames of an animation together may have the pixels of so many pictures of the largest size.
ANIMATION_PICTURES = 10


@dataclass(frozen=True)
class Limits:
    """Pixels of one picture, frames of an animation and pixels of all its frames; seconds; pages; how many times its
    size an archive may expand, and its entries. `refuse_active` refuses macros, scripts and encryption."""

    pixels: int
    frames: int
    frame_pixels: int
    duration_s: int
    pages: int
    expansion: int
    entries: int
    refuse_active: bool

    def to_json(self) -> dict[str, Any]:
        """As arguments of a call in the sandbox."""
        return dict(vars(self))


def limits_of(settings: Settings) -> Limits:
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
    )
