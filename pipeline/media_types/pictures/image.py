"""Check of images and stickers: limits first, then a decode of every frame. Runs in the sandbox."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO

import pillow_heif
from PIL import AvifImagePlugin, GifImagePlugin, Image, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin

from pipeline.media_types.limits import Limits, parse_limits
from pipeline.media_types.pictures import gif, jpeg, picture_streams, png
from pipeline.media_types.pictures.picture_limits import check_frames, check_size
from pipeline.media_types.rejections import decoding
from pipeline.sandbox import Reason, Refusal

ORIENTATION = 0x0112  # EXIF tag; 5 to 8 rotate the image by 90 degrees
FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "heic": "HEIF", "avif": "AVIF"}
ANIMATED = frozenset({"png", "webp", "gif", "avif"})  # a JPEG or HEIC with several images is not an animation
# Where the size of the canvas ends, by the name of the first chunk. The smallest picture, a VP8L, has 26 bytes.
WEBP_SIZE_ENDS = {b"VP8X": 30, b"VP8L": 25, b"VP8 ": 30}
# A larger PNG is read without the chunks that its pixels do not need: Pillow takes each into memory whole.
MAX_PLAIN_PNG_BYTES = 64_000_000
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
        check_size(*_webp_size(file), caps)
    with decoding(f"a {FORMATS[name]} image", *PILLOW_ERRORS):
        try:
            return _inspect(file, name, caps)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise Refusal(Reason.MORE_PIXELS, allowed_mpx=caps.pixels / 1e6) from None


def _inspect(file: int, name: str, caps: Limits) -> dict[str, Any]:
    """The facts, found in a second way if Pillow refuses the file as it is: viewers show more than it takes."""
    try:
        if name == "png" and os.fstat(file).st_size > MAX_PLAIN_PNG_BYTES:
            raise ValueError
        with open_image(file, name) as image:
            return _decode(image, file, name, caps)
    except (Refusal, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise
    except (*PILLOW_ERRORS, MemoryError):
        facts = _inspect_again(file, name, caps)
        if facts is None:
            raise
        return facts


def _inspect_again(file: int, name: str, caps: Limits) -> dict[str, Any] | None:
    """The facts of a PNG without what its pixels do not need, of a JPEG that lacks its end mark alone, and so on."""
    if name == "png":
        with Image.open(png.pixel_chunks(file), formats=["PNG"]) as image:
            return _decode(image, file, name, caps)
    if name == "jpeg" and jpeg.lacks_end_alone(file):
        with Image.open(jpeg.with_end(file), formats=["JPEG"]) as image:
            return _decode(image, file, name, caps)
    if picture_streams.is_decodable(file, name):
        return picture_streams.inspect(file, name, caps)
    return None


# Streams of a file that the check has accepted: without what its pixels do not need, or with what it may lack.
ACCEPTED: dict[str, Callable[[int], BinaryIO]] = {"png": png.pixel_chunks, "jpeg": jpeg.with_end}


@contextmanager
def open_image(file: int, name: str) -> Iterator[Image.Image]:
    """The image in an open file, read from its start by the decoder of this type alone."""
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, "rb", closefd=False) as stream, Image.open(stream, formats=[FORMATS[name]]) as image:
        yield image


def open_accepted(file: int, name: str) -> AbstractContextManager[Image.Image]:
    """The image in a file that `inspect` accepts, also if Pillow alone would refuse it."""
    if name not in ACCEPTED:
        return open_image(file, name)
    return Image.open(ACCEPTED[name](file), formats=[FORMATS[name]])


def _decode(image: Image.Image, file: int, name: str, caps: Limits) -> dict[str, Any]:
    width, height = image.size
    check_size(width, height, caps)
    frames = 1
    if name in ANIMATED:
        frames = _decode_frames(image, file, name, caps)
    else:
        if name == "jpeg":
            image.draft(None, (max(1, width // DRAFT), max(1, height // DRAFT)))
        image.load()
        if name == "jpeg" and jpeg.ends_in_zeros(file):
            raise Refusal(Reason.NOT_DECODABLE, form="a JPEG image")
    if _is_rotated(image):
        width, height = height, width
    return {"width": width, "height": height, "animated": frames > 1}


def _decode_frames(image: Image.Image, file: int, name: str, caps: Limits) -> int:
    """Decodes every frame and counts them. Every format but GIF states the number in advance.

    A GIF that ends within a frame counts the frames before it, as a film that is cut: players show those.
    """
    if name != "gif":
        check_frames(getattr(image, "n_frames", 1), image.size, caps)
    frames = 0
    while True:
        try:
            check_size(*image.size, caps)  # a GIF frame may be larger than its canvas
            image.load()
            frames += 1
            image.seek(frames)
        except EOFError:
            return frames
        except DECODE_ERRORS:
            if name == "gif" and frames and frames == gif.frames_before_cut(file):
                return frames
            raise
        check_frames(frames + 1, image.size, caps)


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
    chunk = head[12:16]
    if len(head) < WEBP_SIZE_ENDS.get(chunk, 16):
        raise Refusal(Reason.WEBP_CUT)
    if chunk == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise Refusal(Reason.WEBP_WITHOUT_IMAGE)
