"""Thumbnails: an image is shrunk and encoded as WebP, with its ThumbHash."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from pipeline.media_types.previews.thumbhash import thumbhash

EDGE = 320  # pixels
HASH_EDGE = 64  # pixels of the image that is hashed; a larger one changes no visible bit of the ThumbHash
QUALITY = 75


def shrink(image: Image.Image) -> Image.Image:
    """Shrinks an image to at most 320 × 320 pixels, in place; a smaller image stays as it is."""
    image.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


def scaled_size(width: float, height: float, edge: int = EDGE) -> tuple[int, int]:
    """Width and height in whole pixels, at least 1, shrunk so that neither exceeds `edge`."""
    scale = min(1.0, edge / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def as_webp(image: Image.Image) -> dict[str, Any]:
    """The fields of Rendered for a shrunk RGB or RGBA image. Its metadata is left out."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        image = image.convert("RGB")
    out = io.BytesIO()
    Image.frombytes(image.mode, image.size, image.tobytes()).save(out, "WEBP", quality=QUALITY, method=4)
    return {
        "webp": base64.b64encode(out.getvalue()).decode(),
        "width": image.width,
        "height": image.height,
        "thumbhash": base64.b64encode(_hash(image)).decode(),
    }


def _hash(image: Image.Image) -> bytes:
    small = image.convert("RGBA")
    small.thumbnail((HASH_EDGE, HASH_EDGE), Image.Resampling.BOX)
    return thumbhash(*small.size, small.tobytes())
