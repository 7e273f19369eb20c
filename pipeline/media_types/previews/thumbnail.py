"""The last steps of every picture: made to fit, and written as WebP with its ThumbHash."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from pipeline.media_types.previews.thumbhash import thumbhash

EDGE = 320  # pixels
BLUR_EDGE = 64  # of the picture that the ThumbHash is made of: more changes none of its bits that an eye could see
QUALITY = 75


def fit(image: Image.Image) -> Image.Image:
    """Makes a picture no larger than 320 × 320, and leaves a small one as it is."""
    image.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


def fitting(width: float, height: float, edge: int = EDGE) -> tuple[int, int]:
    """The size in whole pixels, at least one, of something that is not to be larger than `edge` either way."""
    scale = min(1.0, edge / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def as_webp(image: Image.Image) -> dict[str, Any]:
    """The fields of Rendered for an RGB or RGBA picture that fits. Nothing of its metadata goes along."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        image = image.convert("RGB")
    out = io.BytesIO()
    Image.frombytes(image.mode, image.size, image.tobytes()).save(out, "WEBP", quality=QUALITY, method=4)
    return {
        "webp": base64.b64encode(out.getvalue()).decode(),
        "width": image.width,
        "height": image.height,
        "thumbhash": base64.b64encode(_blur(image)).decode(),
    }


def _blur(image: Image.Image) -> bytes:
    small = image.convert("RGBA")
    small.thumbnail((BLUR_EDGE, BLUR_EDGE), Image.Resampling.BOX)
    return thumbhash(*small.size, small.tobytes())
