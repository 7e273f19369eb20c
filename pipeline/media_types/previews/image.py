"""The preview of a picture or sticker: its first frame, upright."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageCms, ImageOps

from pipeline.media_types.image import FAULTS, FAULTS_OF_PILLOW, FORMATS
from pipeline.media_types.limits import parse_limits
from pipeline.media_types.previews.thumbnail import EDGE, as_webp, fit
from pipeline.media_types.rejections import decoding

DEEP = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})  # more than 8 bits for each pixel
AS_IT_IS = frozenset({"L", "RGB", "RGBA", "CMYK"})
SRGB = ImageCms.createProfile("sRGB")


def render(path: str, *, name: str, limits: str) -> dict[str, Any]:
    """The first frame, turned as its EXIF orientation says, with its transparency.

    Raises:
        PermanentError: `broken`.
    """
    Image.MAX_IMAGE_PIXELS = parse_limits(limits).pixels
    with (
        decoding(f"a {FORMATS[name]} picture", *FAULTS_OF_PILLOW),
        Image.open(path, formats=[FORMATS[name]]) as image,
    ):
        image.draft(None, (2 * EDGE, 2 * EDGE))  # a JPEG is decoded no larger than is needed
        small = fit(_resizable(image))
        return as_webp(_upright(_in_srgb(small), image))


def _resizable(image: Image.Image) -> Image.Image:
    """In a mode whose pixels can be averaged."""
    if image.mode in DEEP:
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in AS_IT_IS:
        return image
    return image.convert("L" if image.mode in {"1", "F"} else "RGB")


def _in_srgb(image: Image.Image) -> Image.Image:
    """RGB or RGBA as every screen takes it: what is sent by telephones often has colours of its own."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    profile = image.info.get("icc_profile")
    if profile:
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, own, SRGB, outputMode=mode)
        except (*FAULTS, ImageCms.PyCMSError):  # of another kind of picture, or garbage: it is shown without
            converted = None
        if converted is not None:
            return converted
    return image.convert(mode)


def _upright(small: Image.Image, image: Image.Image) -> Image.Image:
    """Bad EXIF turns nothing."""
    try:
        turn = image.getexif()
        small.getexif()[0x0112] = turn.get(0x0112, 1)
        return ImageOps.exif_transpose(small)
    except FAULTS:
        return small
