"""ThumbHash: an image's colours, shape and transparency in about 25 bytes (https://evanw.github.io/thumbhash/).

Implemented here because the packages on PyPI differ from the reference or are slow: `thumbhash` 0.1.2 loses
transparency to an error of operator precedence, and another package overwrites a library that Esteira needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul
from typing import NamedTuple

MAX_EDGE = 100  # pixels, a limit of the algorithm


class _Channel(NamedTuple):
    """Cosine transform of a channel: its mean, the other terms scaled to 0..1, and their scale."""

    mean: float
    terms: list[float]
    scale: float


def thumbhash(width: int, height: int, rgba: bytes) -> bytes:
    """Hash of an image of at most 100 × 100 pixels. `rgba` has 4 bytes for each pixel, row by row, not premultiplied.

    Raises:
        ValueError: the image is larger, or `rgba` has another length.
    """
    if not (0 < width <= MAX_EDGE and 0 < height <= MAX_EDGE and len(rgba) == 4 * width * height):
        raise ValueError(f"{len(rgba)} bytes for {width} × {height} pixels")
    light, yellow, red, alpha = _planes(rgba)
    opaque = min(alpha) >= 1
    max_terms = 7 if opaque else 5
    across, down = (max(1, _round(max_terms * side / max(width, height))) for side in (width, height))
    size = (width, height)
    channels = [_transformed(light, size, max(3, across), max(3, down))]
    channels += [_transformed(yellow, size, 3, 3), _transformed(red, size, 3, 3)]
    head = _head(channels, opaque=opaque, landscape=width > height, shorter=min(across, down))
    if not opaque:
        channels.append(_transformed(alpha, size, 5, 5))
        head += bytes([_round(15 * channels[3].mean) | _round(15 * channels[3].scale) << 4])
    return head + _nibbles([term for channel in channels for term in channel.terms])


def _planes(rgba: bytes) -> tuple[list[float], list[float], list[float], list[float]]:
    """Lightness, yellow-blue, red-green and opacity, blended over the image's mean colour."""
    alpha = [value / 255 for value in rgba[3::4]]
    weight = sum(alpha)
    colours = []
    for plane in (rgba[0::4], rgba[1::4], rgba[2::4]):
        mean = sum(map(mul, plane, alpha)) / 255 / weight if weight else 0.0
        colours.append([mean * (1 - a) + a / 255 * value for value, a in zip(plane, alpha, strict=True)])
    pixels = list(zip(*colours, strict=True))
    light = [(r + g + b) / 3 for r, g, b in pixels]
    return light, [(r + g) / 2 - b for r, g, b in pixels], [r - g for r, g, _ in pixels], alpha


def _transformed(plane: Sequence[float], size: tuple[int, int], across: int, down: int) -> _Channel:
    """The transform's coefficients in the lower triangle of `across` × `down`."""
    width, height = size
    rows = [plane[at : at + width] for at in range(0, len(plane), width)]
    columns = [[sum(map(mul, row, waves)) for row in rows] for waves in _cosines(width, across)]
    coefficients = [
        sum(map(mul, columns[x], waves)) / (width * height)
        for y, waves in enumerate(_cosines(height, down))
        for x in range(across)
        if x * down < across * (down - y)
    ]
    mean, *terms = coefficients
    scale = max(map(abs, terms), default=0.0)
    return _Channel(mean, [0.5 + 0.5 / scale * term for term in terms] if scale else terms, scale)


def _cosines(length: int, number: int) -> list[list[float]]:
    return [[math.cos(math.pi / length * wave * (at + 0.5)) for at in range(length)] for wave in range(number)]


def _head(channels: Sequence[_Channel], *, opaque: bool, landscape: bool, shorter: int) -> bytes:
    light, yellow, red = channels
    first = _round(63 * light.mean) | _round(31.5 + 31.5 * yellow.mean) << 6 | _round(31.5 + 31.5 * red.mean) << 12
    first |= _round(31 * light.scale) << 18 | (not opaque) << 23
    second = shorter | _round(63 * yellow.scale) << 3 | _round(63 * red.scale) << 9 | landscape << 15
    return first.to_bytes(3, "little") + second.to_bytes(2, "little")


def _nibbles(terms: Sequence[float]) -> bytes:
    halves = [_round(15 * term) for term in terms]
    halves += [0] * (len(halves) % 2)
    return bytes(low | high << 4 for low, high in zip(halves[0::2], halves[1::2], strict=True))


def _round(number: float) -> int:
    """Rounds like JavaScript: halves go up."""
    return math.floor(number + 0.5)
