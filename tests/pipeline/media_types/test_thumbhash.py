"""ThumbHash, compared with the results of the reference implementation in JavaScript (npm, thumbhash 0.1.1)."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.media_types.previews.thumbhash import thumbhash

Pixel = tuple[int, int, int, int]
Painter = Callable[[int, int], Pixel]


def painted(width: int, height: int, pixel: Painter) -> bytes:
    return b"".join(bytes(pixel(x, y)) for y in range(height) for x in range(width))


def nibbles(data: bytes) -> list[int]:
    return list(itertools.chain.from_iterable((byte & 15, byte >> 4) for byte in data))


REFERENCE: list[tuple[int, int, Painter, str]] = [
    (100, 60, lambda x, y: (x * 3 % 256, y * 4 % 256, x * y % 256, 255), "3fcJLJgzSmlwd3d3d3Y0gDnzhw=="),
    (30, 90, lambda x, y: (x * x % 256, y * 2 % 256, (x * 7 + y * 3) % 256, 255), "2fYFMhIxUGWTlnd3RaA584c="),
    (
        *(64, 48),
        lambda x, y: (x * 4 % 256, y * 5 % 256, (x + y) % 256, x * y % 256),
        "GhqGDIwHkJiRiImIGAmZgI8HIgNkFnViAg==",
    ),
    (1, 1, lambda *_: (200, 100, 50, 255), "Hcs6zzII9wiIh4hwj3CI+AiIgIAICIgA"),
    (20, 20, lambda x, y: (x * 5, y * 5, 0, 0), "AAiCBQAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="),
]


@pytest.mark.parametrize(("width", "height", "pixel", "expected"), REFERENCE)
def test_thumbhash_equals_the_reference_except_for_rounding_ties(
    width: int, height: int, pixel: Painter, expected: str
) -> None:
    ours, reference = thumbhash(width, height, painted(width, height, pixel)), base64.b64decode(expected)
    assert len(ours) == len(reference)
    assert ours[:5] == reference[:5]
    # A term that is zero except for the last bit of a float is rounded to 7 or 8.
    differing = [pair for pair in zip(nibbles(ours), nibbles(reference), strict=True) if pair[0] != pair[1]]
    assert all(set(pair) == {7, 8} for pair in differing)
    assert len(differing) <= 1


@given(st.integers(1, 100), st.integers(1, 100), st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4))
@settings(max_examples=30, deadline=None)
def test_thumbhash_has_10_to_25_bytes_and_correct_flags(width: int, height: int, left: bytes, right: bytes) -> None:
    rgba = b"".join(left if x * 2 < width else right for _ in range(height) for x in range(width))
    digest = thumbhash(width, height, rgba)
    assert 10 <= len(digest) <= 25
    opaque = left[3] == right[3] == 255 or (width == 1 and left[3] == 255)
    assert bool(digest[2] & 0x80) is not opaque
    assert bool(digest[4] & 0x80) is (width > height)


def test_thumbhash_contains_the_mean_colour() -> None:
    header = int.from_bytes(thumbhash(10, 10, bytes((10, 200, 90, 255)) * 100)[:3], "little")
    light, yellow, red = (header & 63) / 63, (header >> 6 & 63) / 31.5 - 1, (header >> 12 & 63) / 31.5 - 1
    blue = light - 2 / 3 * yellow
    reds = (3 * light - blue + red) / 2
    assert [round(255 * value) for value in (reds, reds - red, blue)] == pytest.approx([10, 200, 90], abs=6)


@pytest.mark.parametrize(("width", "height", "size"), [(101, 1, 404), (1, 101, 404), (0, 4, 0), (2, 2, 15)])
def test_thumbhash_refuses_wrong_sizes(width: int, height: int, size: int) -> None:
    with pytest.raises(ValueError, match="pixels"):
        thumbhash(width, height, bytes(size))
