"""Pictures for the demo: small, and different in each run, so that none is a duplicate of an earlier run."""

from __future__ import annotations

import io
import random

from PIL import Image, ImageDraw
from pillow_heif import from_pillow

SIZE = (480, 360)


def picture(size: tuple[int, int] = SIZE) -> Image.Image:
    """A random picture: soft colours and a few shapes."""
    noise = Image.effect_noise((size[0] // 16, size[1] // 16), 80).resize(size, Image.Resampling.BICUBIC)
    tint = ["#" + "".join(random.choices("0123456789abcdef", k=6)) for _ in range(2)]  # noqa: S311
    image = Image.composite(Image.new("RGB", size, tint[0]), Image.new("RGB", size, tint[1]), noise)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, r = random.randrange(size[0]), random.randrange(size[1]), random.randrange(10, 60)  # noqa: S311
        draw.ellipse((x - r, y - r, x + r, y + r), outline="white", width=3)
    return image


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    """The picture encoded in one of Pillow's formats."""
    out = io.BytesIO()
    image.save(out, file_format, **options)
    return out.getvalue()


def jpeg() -> bytes:
    return saved(picture(), "JPEG", quality=80)


def png() -> bytes:
    return saved(picture(), "PNG")


def webp() -> bytes:
    return saved(picture(), "WEBP", quality=60)


def gif() -> bytes:
    return saved(picture(), "GIF", save_all=True, append_images=[picture() for _ in range(3)], duration=120)


def heic() -> bytes:
    out = io.BytesIO()
    from_pillow(picture()).save(out, quality=50)
    return out.getvalue()


def sticker() -> bytes:
    return saved(picture((512, 512)), "WEBP", quality=40)


def animated_sticker() -> bytes:
    frames = [picture((256, 256)) for _ in range(4)]
    return saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100, quality=30)


def pdf() -> bytes:
    return saved(picture(), "PDF", save_all=True, append_images=[picture()])
