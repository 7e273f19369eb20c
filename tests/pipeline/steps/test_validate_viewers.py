"""Files that every viewer shows whole are accepted, and what lacks pixels is refused all the same."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.errors import Code
from pipeline.media_types import DECODER_MODULES
from pipeline.media_types.pictures import jpeg
from pipeline.models import Fetched
from pipeline.sandbox import Sandbox
from pipeline.steps.detect import StagedFile, detect_many
from tests.pipeline.steps.test_validate import peak_memory_mb
from tests.support import encrypted_media as encrypted
from tests.support import hostile_files as hostile
from tests.support.checking import (
    ALL_TYPES,
    DEFAULTS,
    HOSTILE,
    Checker,
    checker,
    error_of,
    sandbox,
    settings,
)
from tests.support.odd_pictures import (
    ANCILLARY,
    SHOWN_WHOLE,
    bad_crc,
    cut_gif,
    heic_sequence,
    lossless_jpeg,
    movie_behind,
    without_end,
)
from tests.support.samples import animation, media_type_of, pillow, png_by_hand, sample

__all__ = ["checker", "sandbox"]

FIRST_BOXES = [b"skip", b"free", b"pnot", b"wide", b"junk"]


@pytest.mark.parametrize("label", SHOWN_WHOLE)
def test_what_viewers_show_whole_is_accepted(checker: Checker, label: str) -> None:
    media_type = media_type_of(label)
    detected = checker.check(SHOWN_WHOLE[label](), settings=ALL_TYPES).detected
    assert (detected.mime, detected.ext, detected.kind) == (media_type.mime, media_type.ext, media_type.kinds[0])


@pytest.mark.parametrize("name", ANCILLARY)
def test_png_with_a_wrong_checksum_in_an_ancillary_chunk_is_accepted(checker: Checker, name: bytes) -> None:
    content = png_by_hand(chunks=bad_crc(name, ANCILLARY[name]))
    facts = checker.check(content).facts
    assert (facts.width, facts.height, facts.animated) == (3, 2, False)


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_png_with_a_wrong_checksum_of_its_header_or_palette_is_broken(checker: Checker, name: bytes) -> None:
    content = pillow("PNG", mode="P")
    at = content.index(name)
    end = at + 4 + int.from_bytes(content[at - 4 : at], "big")
    assert checker.error_code(content[:end] + b"\0\0\0\0" + content[end + 4 :]) == Code.BROKEN


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from(sorted(ANCILLARY)), min_size=1, max_size=6), data=st.data())
def test_damaged_ancillary_chunks_change_no_verdict_about_pixels(
    checker: Checker, names: list[bytes], data: st.DataObject
) -> None:
    plain, damaged = (
        png_by_hand(40, 30, chunks=b"".join(bad_crc(name, ANCILLARY[name]) for name in chunks))
        for chunks in ([], names)
    )
    assert checker.error_code(damaged) is None
    pixels = len(plain) - plain.index(b"IDAT")
    at, bit = data.draw(st.integers(16, pixels - 6)), data.draw(st.integers(0, 7))
    codes = [checker.error_code(with_flipped_bit(content, len(content) - at, bit)) for content in (plain, damaged)]
    assert codes[0] == codes[1]


def with_flipped_bit(content: bytes, at: int, bit: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


@st.composite
def jpegs(draw: st.DrawFn) -> bytes:
    """A JPEG of any form that Pillow writes, without its end mark."""
    options: dict[str, Any] = {
        "size": (draw(st.integers(1, 90)), draw(st.integers(1, 90))),
        "mode": draw(st.sampled_from(["RGB", "L", "CMYK"])),
        "quality": draw(st.integers(5, 100)),
        "progressive": draw(st.booleans()),
        "optimize": draw(st.booleans()),
        "restart_marker_rows": draw(st.integers(0, 2)),
    }
    if options["mode"] == "RGB":
        options["subsampling"] = draw(st.integers(0, 2))
    return without_end(**options)


def lacks_end_alone(content: bytes) -> bool:
    file = os.memfd_create("picture")
    try:
        os.write(file, content)
        return jpeg.lacks_end_alone(file)
    finally:
        os.close(file)


@hypothesis_settings(max_examples=150, deadline=None)
@given(content=jpegs(), missing=st.integers(1, 60))
def test_jpeg_without_its_end_differs_from_one_without_its_last_bytes(content: bytes, missing: int) -> None:
    assert lacks_end_alone(content)
    cut = content[:-missing]
    if cut.rfind(b"\xff\xda") == content.rfind(b"\xff\xda"):  # within the last scan
        assert not lacks_end_alone(cut)
        if content[-missing:].strip(b"\0"):  # zeros would bring lost zeros back
            assert not lacks_end_alone(cut + bytes(4000))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("behind", [b"", b"\xff", bytes(100_000)])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_cut_within_its_scan_is_broken(
    checker: Checker, *, progressive: bool, behind: bytes, share: float
) -> None:
    content = without_end(size=(320, 240), progressive=progressive, quality=90)
    assert checker.error_code(content) is None
    assert checker.error_code(content[: int(len(content) * share)] + behind) == Code.BROKEN


def test_progressive_jpeg_cut_between_two_scans_is_broken(checker: Checker) -> None:
    content = without_end(progressive=True)
    scans = [at for at in range(len(content)) if content.startswith(b"\xff\xc4", at)]
    assert len(scans) > 5
    for at in scans[4:]:
        assert checker.error_code(content[:at]) == Code.BROKEN


def test_lossless_jpeg_that_is_cut_is_broken(checker: Checker) -> None:
    content = lossless_jpeg().rstrip(b"\0")
    for missing in (1, 2, 3, 50, 5000):
        assert checker.error_code(content[:-missing]) == Code.BROKEN, missing


def test_gif_needs_one_whole_frame(checker: Checker) -> None:
    facts = checker.check(cut_gif(4)).facts
    assert facts.animated
    assert checker.check(cut_gif(2)).facts.animated is False
    one = animation("GIF", frames=1)
    assert checker.error_code(one[: int(len(one) * 0.9)]) == Code.BROKEN


def test_gif_with_a_damaged_frame_before_its_cut_is_broken(checker: Checker) -> None:
    content = bytearray(cut_gif(4))
    second = content.index(b"\x21\xf9", content.index(b"\x21\xf9") + 1)
    content[second + 8] = 0  # a block that is neither an image nor an extension
    assert checker.error_code(bytes(content)) == Code.BROKEN or not checker.check(bytes(content)).facts.animated


def test_heic_sequence_that_is_cut_or_too_long_is_refused(checker: Checker) -> None:
    content = heic_sequence()
    facts = checker.check(content).facts
    assert (facts.width, facts.height, facts.animated) == (160, 120, True)
    assert checker.error_code(content, settings=settings(max_frames=3)) == Code.TOO_MANY_FRAMES
    assert checker.error_code(content, settings=settings(max_image_mpx=0.01)) == Code.TOO_MANY_PIXELS
    data = content.index(b"mdat") + 4
    assert checker.error_code(content[:data] + bytes(len(content) - data)) == Code.BROKEN


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.lists(st.sampled_from(FIRST_BOXES), min_size=1, max_size=2))
def test_movie_behind_any_boxes_is_quicktime(checker: Checker, first: list[bytes]) -> None:
    assert checker.check(movie_behind(*first)).detected.mime == "video/quicktime"


def test_mp4_behind_a_free_box_keeps_its_type(checker: Checker) -> None:
    content = b"\0\0\0\x08free" + sample("mp4/fragmented")
    assert checker.check(content).detected.mime == "video/mp4"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: hostile.movie_of_boxes(200_000), Code.TYPE_NOT_ALLOWED),
        (hostile.movie_with_endless_box, Code.TYPE_NOT_ALLOWED),
        (hostile.movie_of_nested_boxes, Code.BROKEN),
        (lambda: hostile.movie_of_tracks(2000), Code.TOO_COSTLY),  # FFmpeg makes a decoder for each
        (lambda: b"\0\0\0\x08skip" * 10, Code.TYPE_NOT_ALLOWED),
    ],
)
def test_boxes_without_a_movie_are_refused(checker: Checker, make: Any, code: Code) -> None:
    assert checker.error_code(make(), kind="video") == code


def test_png_with_a_chunk_of_two_gigabytes_is_accepted_with_little_memory(tmp_path: Path) -> None:
    sandbox = Sandbox(processes=1, memory_mb=1024, cpu_s=10, wall_s=20, preload=(*DECODER_MODULES, HOSTILE))
    checker = Checker(tmp_path, sandbox)
    file = checker.staged(sample("png/hand"), kind="document")
    content = sample("png/hand")
    pixels = content.index(b"IDAT") - 4
    large = tmp_path / "large.png"
    with large.open("wb") as out:
        out.write(content[:pixels] + (1_900_000_000).to_bytes(4, "big") + b"prVt")
        out.seek(1_900_000_004, os.SEEK_CUR)  # a hole: the content and a wrong checksum
        out.write(content[pixels:])
    fetched = Fetched(size=large.stat().st_size, sha256="0" * 64)
    start = time.monotonic()
    (detected,) = detect_many([StagedFile(file.attachment, fetched, str(large))], sandbox=sandbox, settings=DEFAULTS)
    assert time.monotonic() - start < 2
    assert getattr(detected, "checked", None) is not None, detected
    assert getattr(detected, "mime", None) == "image/png"
    assert peak_memory_mb(checker) < 256
    sandbox.close()


ENCRYPTED = {
    "mp4": encrypted.cenc_video,
    "fragmented mp4": lambda: encrypted.cenc_video(movflags="frag_keyframe+empty_moov+default_base_moof"),
    "m4a": encrypted.cenc_sound,
    "fairplay": encrypted.fairplay_sound,
    "webm": encrypted.encrypted_webm,
}


@pytest.mark.parametrize("label", ENCRYPTED)
def test_encrypted_media_are_named_so(checker: Checker, label: str) -> None:
    content = ENCRYPTED[label]()
    validated = checker.check(content, settings=ALL_TYPES)
    assert validated.facts.flags == ("encrypted",)
    sound = label in {"m4a", "fairplay"}
    assert validated.detected.kind == ("audio" if sound else "video")
    assert validated.facts.duration_ms is not None
    strict = settings(active_documents="reject", allowed_types=["webm"])
    error = error_of(lambda: checker.check(content, settings=strict))
    assert error is not None
    assert error.code == Code.ACTIVE_CONTENT
    assert error.message.startswith("holds active content: encrypted")


def test_media_that_declare_encryption_without_data_are_broken(checker: Checker) -> None:
    content = encrypted.cenc_video(movflags="faststart")
    data = content.index(b"mdat") - 4
    assert checker.error_code(content[:data], kind="video") == Code.BROKEN


def test_ordinary_media_are_not_called_encrypted(checker: Checker) -> None:
    for label in ("mp4/h264", "mp4/fragmented", "m4a/aac", "mov/h264", "3gp/h263", "webm/vp9", "mkv/h264"):
        assert checker.check(sample(label), settings=ALL_TYPES).facts.flags == (), label


def test_text_with_control_characters_inside_stays_refused(checker: Checker) -> None:
    assert checker.error_code(b"Ola\x1a\x00\x01mundo\x1a", settings=ALL_TYPES) == Code.TYPE_NOT_ALLOWED
