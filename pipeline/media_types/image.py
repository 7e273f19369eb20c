"""Check of images and stickers: limits first, then a decode of every frame. Runs in the sandbox."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pillow_heif
from PIL import AvifImagePlugin, GifImagePlugin, Image, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin

from pipeline.media_types.limits import Limits, parse_limits
from pipeline.media_types.rejections import decoding
from pipeline.sandbox import Reason, Refusal

ORIENTATION = 0x0112  # EXIF tag; 5 to 8 rotate the image by 90 degrees
FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "heic": "HEIF", "avif": "AVIF"}
ANIMATED = frozenset({"png", "webp", "gif", "avif"})  # a JPEG or HEIC with several images is not an animation
DRAFT = 8  # a JPEG is decoded at an eighth of its size: that detects every truncation at a third of the cost
DECODE_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
PILLOW_ERRORS = (*DECODE_ERRORS, RuntimeError, Image.DecompressionBombError, Image.DecompressionBombWarning)
PLUGINS = (AvifImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)

AvifImagePlugin.DEFAULT_MAX_THREADS = 1
pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
# Pillow only warns above its limit, and some plugins allocate memory before `_decode` sees the size.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def inspect(file: int, *, name: str, limits: str, **_: Any) -> dict[str, Any]:
    """Width and height as displayed (the EXIF orientation is applied), and whether the image is animated.

    Raises:
        PermanentError: `too_many_pixels`, `too_many_frames`, `broken`.
    """
    caps = parse_limits(limits)
    Image.MAX_IMAGE_PIXELS = caps.pixels
    if name == "webp":
        _check_size(*_webp_size(file), caps)
    with decoding(f"a {FORMATS[name]} image", *PILLOW_ERRORS):
        try:
            with open_image(file, name) as image:
                return _decode(image, name, caps)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise Refusal(Reason.MORE_PIXELS, allowed_mpx=caps.pixels / 1e6) from None


@contextmanager
def open_image(file: int, name: str) -> Iterator[Image.Image]:
    """The image in an open file, read from its start by the decoder of this type alone."""
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, "rb", closefd=False) as stream, Image.open(stream, formats=[FORMATS[name]]) as image:
        yield image


def _decode(image: Image.Image, name: str, caps: Limits) -> dict[str, Any]:
    width, height = image.size
    _check_size(width, height, caps)
    frames = 1
    if name in ANIMATED:
        frames = _decode_frames(image, name, caps)
    else:
        if name == "jpeg":
            image.draft(None, (max(1, width // DRAFT), max(1, height // DRAFT)))
        image.load()
    if _is_rotated(image):
        width, height = height, width
    return {"width": width, "height": height, "animated": frames > 1}


def _decode_frames(image: Image.Image, name: str, caps: Limits) -> int:
    """Decodes every frame and counts them. Every format but GIF states the number in advance."""
    if name != "gif":
        _check_frames(getattr(image, "n_frames", 1), image.size, caps)
    frames = 0
    while True:
        _check_size(*image.size, caps)  # a GIF frame may be larger than its canvas
        image.load()
        frames += 1
        try:
            image.seek(frames)
        except EOFError:
            return frames
        _check_frames(frames + 1, image.size, caps)


def _check_size(width: int, height: int, caps: Limits) -> None:
    if width * height > caps.pixels:
        raise Refusal(Reason.TOO_MANY_PIXELS, width=width, height=height, allowed_mpx=caps.pixels / 1e6)
    if width < 1 or height < 1:
        raise Refusal(Reason.NO_PIXELS)


def _check_frames(frames: int, size: tuple[int, int], caps: Limits) -> None:
    if frames > caps.frames:
        raise Refusal(Reason.TOO_MANY_FRAMES, frames=frames, allowed=caps.frames)
    width, height = size
    if frames * width * height > caps.frame_pixels:
        allowed_mpx = caps.frame_pixels / 1e6
        raise Refusal(Reason.FRAMES_TOO_LARGE, frames=frames, width=width, height=height, allowed_mpx=allowed_mpx)


def _is_rotated(image: Image.Image) -> bool:
    """Whether the EXIF orientation swaps width and height. Damaged EXIF is ignored."""
    if "exif" not in image.info:
        return False
    try:
        return image.getexif().get(ORIENTATION) in (5, 6, 7, 8)
    except DECODE_ERRORS:
        return False


def _webp_size(file: int) -> tuple[int, int]:
    """Canvas size of a WebP, read before the decoder allocates memory for it. Layout: RFC 9649."""
    head = os.pread(file, 30, 0)
    if len(head) < 30:
        raise Refusal(Reason.WEBP_CUT)
    chunk = head[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise Refusal(Reason.WEBP_WITHOUT_IMAGE)
