"""Preview of an image or sticker: its first frame, upright."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageCms, ImageOps

from pipeline.media_types.limits import parse_limits
from pipeline.media_types.pictures import picture_streams
from pipeline.media_types.pictures.image import DECODE_ERRORS, FORMATS, ORIENTATION, PILLOW_ERRORS, open_accepted
from pipeline.media_types.previews.thumbnail import EDGE, as_webp, shrink
from pipeline.media_types.previews.video_frame import as_displayed
from pipeline.media_types.rejections import decoding

DEEP_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})  # more than 8 bits a channel
KEPT_MODES = frozenset({"L", "RGB", "RGBA", "CMYK"})  # Pillow resizes these without a conversion
SRGB = ImageCms.createProfile("sRGB")


def render(file: int, *, name: str, limits: str) -> dict[str, Any]:
    """The first frame with its transparency, rotated as its EXIF orientation says.

    Raises:
        PermanentError: `broken`.
    """
    Image.MAX_IMAGE_PIXELS = parse_limits(limits).pixels
    with decoding(f"a {FORMATS[name]} image", *PILLOW_ERRORS):
        try:
            with open_accepted(file, name) as image:
                return _thumbnail(image)
        except PILLOW_ERRORS:
            if not picture_streams.is_decodable(file, name):
                raise
        return as_webp(as_displayed(picture_streams.first_frame(file, name)))


def _thumbnail(image: Image.Image) -> dict[str, Any]:
    image.draft(None, (2 * EDGE, 2 * EDGE))  # a JPEG is decoded at a reduced size
    small = shrink(_resizable(image))
    return as_webp(_upright(_in_srgb(small), image))


def _resizable(image: Image.Image) -> Image.Image:
    """The image in a mode that can be resized with averaging."""
    if image.mode in DEEP_MODES:
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in KEPT_MODES:
        return image
    return image.convert("L" if image.mode in {"1", "F"} else "RGB")


def _in_srgb(image: Image.Image) -> Image.Image:
    """The image as RGB or RGBA in the sRGB colour space; phones often embed other profiles."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, SRGB, outputMode=mode)
        except (*DECODE_ERRORS, ImageCms.PyCMSError):  # damaged, or for another mode: ignored
            converted = None
        if converted is not None:
            return converted
    return image.convert(mode)


def _upright(small: Image.Image, image: Image.Image) -> Image.Image:
    """`small`, rotated by the EXIF orientation of `image`. Damaged EXIF is ignored."""
    try:
        exif = image.getexif()
        small.getexif()[ORIENTATION] = exif.get(ORIENTATION, 1)
        return ImageOps.exif_transpose(small)
    except DECODE_ERRORS:
        return small
