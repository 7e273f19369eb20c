"""Limits of a picture's pixels and of an animation's frames. Runs in the sandbox."""

from __future__ import annotations

from pipeline.media_types.limits import Limits
from pipeline.sandbox import Reason, Refusal


def check_size(width: int, height: int, caps: Limits) -> None:
    """Checks the pixels of one frame.

    Raises:
        PermanentError: `too_many_pixels`, `broken` if there are none.
    """
    if width * height > caps.pixels:
        raise Refusal(Reason.TOO_MANY_PIXELS, width=width, height=height, allowed_mpx=caps.pixels / 1e6)
    if width < 1 or height < 1:
        raise Refusal(Reason.NO_PIXELS)


def check_frames(frames: int, size: tuple[int, int], caps: Limits) -> None:
    """Checks the number of frames, and their pixels together.

    Raises:
        PermanentError: `too_many_frames`.
    """
    if frames > caps.frames:
        raise Refusal(Reason.TOO_MANY_FRAMES, frames=frames, allowed=caps.frames)
    width, height = size
    if frames * width * height > caps.frame_pixels:
        allowed_mpx = caps.frame_pixels / 1e6
        raise Refusal(Reason.FRAMES_TOO_LARGE, frames=frames, width=width, height=height, allowed_mpx=allowed_mpx)
