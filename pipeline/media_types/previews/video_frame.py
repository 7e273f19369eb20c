"""A frame that FFmpeg has decoded, as an image at preview size."""

from __future__ import annotations

from fractions import Fraction

from av import VideoFrame
from PIL import Image

from pipeline.media_types.previews.thumbnail import scaled_size

ROTATIONS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


def as_displayed(frame: VideoFrame, ratio: Fraction | None = None) -> Image.Image:
    """The frame with its rotation and the aspect ratio of its pixels (`ratio`) applied."""
    aspect = float(ratio) if ratio and 0.1 < ratio < 10 else 1.0
    width, height = scaled_size(frame.width * aspect, frame.height)
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    image: Image.Image = small.to_image()  # type: ignore[no-untyped-call]
    rotation = ROTATIONS.get(round(frame.rotation) % 360)
    return image if rotation is None else image.transpose(rotation)
