"""The step validate: the limits, the decode, and the facts that it returns."""

from __future__ import annotations

import random
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.errors import Code, PermanentError, PipelineError
from pipeline.media_types import DECODER_MODULES, MEDIA_TYPES
from pipeline.models import Detected, Fetched, Kind
from pipeline.sandbox import Sandbox
from pipeline.steps.validate import validate
from tests.support import hostile_files as hostile
from tests.support.checking import (
    ALL_TYPES,
    DEFAULTS,
    HOSTILE,
    Checker,
    checker,
    error_code_of,
    error_of,
    sandbox,
    settings,
)
from tests.support.samples import SAMPLES, animation, pillow, sample, wav_by_wave

__all__ = ["checker", "sandbox"]

CLIP = {"width": 160, "height": 120}
FACTS: dict[str, dict[str, Any]] = {
    "jpeg/pillow": {"width": 160, "height": 120, "animated": False},
    "jpeg/turned": {"width": 120, "height": 160, "animated": False},
    "jpeg/two-pictures": {"width": 64, "height": 48, "animated": False},
    "png/animated": {"width": 64, "height": 48, "animated": True},
    "webp/turned": {"width": 120, "height": 160, "animated": False},
    "webp/animated": {"width": 64, "height": 48, "animated": True},
    "gif/animated": {"width": 64, "height": 48, "animated": True},
    "heic/libheif": {"width": 160, "height": 120, "animated": False},
    "mp4/h264": {**CLIP, "duration_ms": 1000},
    "mp4/fragmented": {**CLIP, "duration_ms": 400},
    "mp4/turned": {"width": 120, "height": 160, "duration_ms": 400},
    "avi/h264": {**CLIP, "duration_ms": 400},
    "mkv/h264": {**CLIP, "duration_ms": 1024},
    "wav/wave": {"duration_ms": 500},
    "amr/narrow": {"duration_ms": 1100},
    "pdf/hand": {"pages": 2},
    "pdf/garbage-in-front": {"pages": 2},
    "docm/python-docx": {"flags": ("macros",)},
    "doc/libreoffice": {},
}


@pytest.mark.parametrize("label", FACTS)
def test_validate_returns_the_facts_of_each_type(checker: Checker, label: str) -> None:
    facts = checker.check(sample(label), settings=ALL_TYPES).facts
    assert facts.model_dump(exclude_none=True) == {"flags": (), **FACTS[label]}


@pytest.mark.parametrize(
    "label", ["ogg/opus", "ogg/vorbis", "mp3/lame", "mp3/no-tag", "aac/adts", "m4a/aac", "flac/ffmpeg"]
)
def test_audio_duration_is_measured(checker: Checker, label: str) -> None:
    duration = checker.check(sample(label), settings=ALL_TYPES).facts.duration_ms
    assert duration is not None
    assert 990 <= duration <= 1080


@pytest.mark.parametrize(
    ("kind", "label", "limit"),
    [
        ("image", "jpeg/pillow", "max_image_mb"),
        ("sticker", "webp/pillow", "max_sticker_mb"),
        ("video", "mp4/h264", "max_video_mb"),
        ("audio", "ogg/opus", "max_audio_mb"),
        ("ptt", "ogg/opus", "max_audio_mb"),
        ("document", "jpeg/pillow", "max_document_mb"),
    ],
)
def test_size_limits_are_inclusive(checker: Checker, kind: str, label: str, limit: str) -> None:
    content = sample(label)
    at_limit, below = settings(**{limit: len(content) / 1e6}), settings(**{limit: (len(content) - 1) / 1e6})
    assert checker.error_code(content, kind=kind, settings=at_limit) is None
    error = error_of(lambda: checker.check(content, kind=kind, settings=below))
    assert error is not None
    assert (error.code, error.message.endswith(f"({limit.upper()})")) == (Code.TOO_LARGE, True)


def test_a_too_large_file_is_refused_without_being_opened(checker: Checker) -> None:
    detected = Detected(fetched=Fetched(size=10**12, sha256="0" * 64), kind=Kind.IMAGE, mime="image/png", ext="png")
    missing = checker.folder / "missing"
    assert validation_error(checker, detected, missing) == Code.TOO_LARGE


def validation_error(checker: Checker, detected: Detected, path: Path) -> Code | None:
    return error_code_of(lambda: validate(detected, path=path, sandbox=checker.sandbox, settings=DEFAULTS))


def peak_memory_mb(checker: Checker) -> float:
    pid = checker.sandbox.call("tests.support.hostile_decoders:pid")
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(hostile.huge_png, Code.TOO_MANY_PIXELS, id="pixels"),
        pytest.param(hostile.huge_jpeg, Code.TOO_MANY_PIXELS, id="jpeg"),
        pytest.param(hostile.huge_webp, Code.TOO_MANY_PIXELS, id="webp"),
        pytest.param(lambda: hostile.gif([(65535, 65535)]), Code.TOO_MANY_PIXELS, id="first frame"),
        pytest.param(lambda: hostile.gif([(4, 4), (65535, 65535)]), Code.TOO_MANY_PIXELS, id="second frame"),
        pytest.param(lambda: hostile.gif([(4, 4)], canvas=(65535, 65535)), Code.TOO_MANY_PIXELS, id="canvas"),
        pytest.param(lambda: hostile.png_text(200), None, id="one chunk"),
        pytest.param(lambda: hostile.png_text(1, 100), None, id="many chunks"),
        pytest.param(hostile.png_profile_bomb, None, id="profile"),
        pytest.param(lambda: hostile.png_empty_chunks(100_000), None, id="empty chunks"),
        pytest.param(hostile.png_chunk_beyond_the_file, Code.BROKEN, id="chunk beyond the file"),
        pytest.param(lambda: hostile.webp_frames(10_000), Code.TOO_MANY_FRAMES, id="webp"),
        pytest.param(lambda: hostile.gif([(4, 4)] * 10_000), Code.TOO_MANY_FRAMES, id="gif"),
        pytest.param(lambda: hostile.png_frames(10_000), Code.TOO_MANY_FRAMES, id="apng"),
        pytest.param(hostile.huge_animated_webp, Code.TOO_MANY_PIXELS, id="canvas"),
    ],
)
def test_image_bombs_take_little_time_and_memory(tmp_path: Path, make: Any, code: Code | None) -> None:
    content = make()
    sandbox = Sandbox(processes=1, memory_mb=1024, cpu_s=10, wall_s=20, preload=(*DECODER_MODULES, HOSTILE))
    checker = Checker(tmp_path, sandbox)
    checker.check(sample("png/hand"))
    start = time.monotonic()
    assert checker.error_code(content) == code
    assert time.monotonic() - start < 2
    assert peak_memory_mb(checker) < 256
    sandbox.close()


def test_total_pixels_of_all_frames_are_limited(checker: Checker) -> None:
    content = animation("GIF", frames=20, size=(64, 48))
    small = settings(max_image_mpx=64 * 48 / 1e6)
    assert checker.error_code(content, settings=small) == Code.TOO_MANY_FRAMES
    assert checker.error_code(animation("GIF", frames=10, size=(64, 48)), settings=small) is None


def test_frame_limit_is_inclusive(checker: Checker) -> None:
    assert checker.error_code(hostile.webp_frames(50), settings=settings(max_frames=50)) is None
    assert checker.error_code(hostile.webp_frames(51), settings=settings(max_frames=50)) == Code.TOO_MANY_FRAMES


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    "label",
    [
        "jpeg/pillow",
        "jpeg/progressive",
        "png/pillow",
        "webp/pillow",
        "webp/lossless",
        "webp/animated",
        "gif/pillow",
        "heic/libheif",
    ],
)
def test_a_truncated_image_is_broken(checker: Checker, label: str, share: float) -> None:
    content = sample(label)
    assert checker.error_code(content[: int(len(content) * share)]) == Code.BROKEN


def test_an_image_with_a_script_in_its_comment_is_accepted(checker: Checker) -> None:
    assert b"<?php" in sample("jpeg/grey")
    assert checker.check(sample("jpeg/grey"), filename="a.php.jpg").detected.mime == "image/jpeg"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(lambda: bytes(200_000) + sample("mp3/lame"), None, id="garbage in front"),
        pytest.param(
            lambda: random.Random(1).randbytes(200_000) + sample("mp3/no-tag"), None, id="other garbage in front"
        ),
        pytest.param(lambda: sample("mp3/no-tag"), None, id="no tag"),
        pytest.param(hostile.mp3_tag_only, Code.BROKEN, id="tag only"),
    ],
)
def test_mp3_is_identified_by_its_frames(checker: Checker, make: Any, code: Code | None) -> None:
    assert checker.error_code(make(), mimetype="audio/mpeg", filename="a.mp3", kind="audio") == code


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(lambda: sample("mp4/h264"), None, id="index at the end"),
        pytest.param(lambda: sample("mp4/fast-start"), None, id="index in front"),
        pytest.param(lambda: sample("mp4/fragmented"), None, id="fragments"),
        pytest.param(hostile.mp4_with_long_sizes, None, id="64-bit sizes"),
        pytest.param(hostile.mp4_with_too_long_data, None, id="data too long"),
        pytest.param(lambda: hostile.mp4_boxes((b"ftyp", b"isom")), Code.BROKEN, id="stub"),
        pytest.param(lambda: hostile.mp4_boxes(hostile.FTYP), Code.BROKEN, id="brand only"),
        pytest.param(lambda: hostile.mp4_boxes(hostile.FTYP, (b"moov", b"")), Code.BROKEN, id="no tracks"),
        pytest.param(lambda: sample("mp4/h264")[:-2000], Code.BROKEN, id="index cut off"),
    ],
)
def test_mp4_is_accepted_if_it_plays(checker: Checker, make: Any, code: Code | None) -> None:
    assert checker.error_code(make(), mimetype="video/mp4", kind="video") == code


def rf64() -> bytes:
    body = sample("wav/wave")
    samples = body[44:]
    sizes = b"ds64" + struct.pack("<IQQQI", 28, len(body) + 28, len(samples), len(samples) // 2, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + body[12:36] + b"data\xff\xff\xff\xff" + samples


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(rf64, None, id="rf64"),
        pytest.param(
            lambda: sample("wav/wave")[:36] + b"junk\x03\0\0\0abc\0" + sample("wav/wave")[36:], None, id="odd chunk"
        ),
        pytest.param(lambda: sample("wav/wave")[:-3000], None, id="truncated"),
        pytest.param(lambda: wav_by_wave(seconds=0), Code.EMPTY, id="empty"),
        pytest.param(lambda: sample("wav/wave")[:44], Code.EMPTY, id="nothing behind the header"),
        pytest.param(lambda: sample("wav/wave")[:20], Code.BROKEN, id="half a header"),
    ],
)
def test_wav_is_accepted_if_it_has_samples(checker: Checker, make: Any, code: Code | None) -> None:
    assert checker.error_code(make(), mimetype="audio/wav") == code


def test_audio_declared_as_video_and_video_declared_as_audio_get_their_real_kind(checker: Checker) -> None:
    assert checker.check(sample("m4a/isom"), kind="video").detected.kind == Kind.AUDIO
    assert checker.check(sample("mp4/mpeg4"), kind="ptt").detected.kind == Kind.VIDEO


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("video", "no video stream"), ("document", "no video stream and no audio stream"), (None, "no video stream")],
)
def test_error_names_the_missing_stream(checker: Checker, kind: str | None, missing: str) -> None:
    error = error_of(lambda: checker.check(hostile.mp4_boxes(hostile.FTYP, (b"moov", b"")), kind=kind))
    assert error is not None
    assert error.message == f"has {missing}"


def test_duration_limit(checker: Checker) -> None:
    assert checker.error_code(sample("ogg/opus"), settings=settings(max_duration_s=1)) == Code.TOO_LONG
    assert checker.error_code(sample("mp4/mpeg4"), settings=settings(max_duration_s=1)) is None


def test_pixel_limit_applies_to_video(checker: Checker) -> None:
    assert checker.error_code(sample("mp4/h264"), settings=settings(max_image_mpx=0.019)) == Code.TOO_MANY_PIXELS


def test_pixel_limit_is_inclusive(checker: Checker) -> None:
    assert checker.error_code(pillow("PNG", size=(100, 100)), settings=settings(max_image_mpx=0.01)) is None
    assert (
        checker.error_code(pillow("PNG", size=(100, 101)), settings=settings(max_image_mpx=0.01))
        == Code.TOO_MANY_PIXELS
    )


def test_an_avi_with_a_playlist_as_subtitles_opens_no_other_file(checker: Checker) -> None:
    content = sample("avi/h264")
    playlist = (
        b"GAB2\0\x02\0\x02\0\0\0a\0\x04\0" + len(b"#EXTM3U").to_bytes(4, "little") + b"#EXTM3U\nfile:///etc/passwd\n"
    )
    junk = b"JUNK" + len(playlist).to_bytes(4, "little") + playlist
    at = content.index(b"LIST", content.index(b"LIST") + 4)
    assert checker.check(content[:at] + junk + content[at:], kind="video").detected.ext == "avi"


def test_validate_reports_a_missing_file_as_staging_lost(checker: Checker) -> None:
    for label in ("jpeg/pillow", "ogg/opus", "pdf/hand", "doc/hand", "docx/hand"):
        detected = checker.detect(sample(label)).model_copy(update={"checked": None})
        assert validation_error(checker, detected, checker.folder / "missing") == Code.STAGING_LOST, label


@pytest.mark.parametrize(
    ("decoder", "code"),
    [
        ("segfault", Code.DECODER_CRASH),
        ("abort", Code.DECODER_CRASH),
        ("fail", Code.DECODER_CRASH),
        ("eat_memory", Code.TOO_COSTLY),
        ("spin_in_c", Code.TOO_COSTLY),
        ("hang", Code.TOO_COSTLY),
    ],
)
def test_a_dying_decoder_refuses_its_file_and_others_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: str, code: Code
) -> None:
    sandbox = Sandbox(processes=2, memory_mb=300, cpu_s=1, wall_s=2)
    checker = Checker(tmp_path, sandbox)
    hostile_gif = replace(MEDIA_TYPES["gif"], check=f"tests.support.hostile_decoders:{decoder}")
    monkeypatch.setitem(MEDIA_TYPES, "gif", hostile_gif)
    fresh = settings()  # the limits of DEFAULTS are computed already, with the real check
    with ThreadPoolExecutor(2) as threads:
        dying = threads.submit(checker.error_code, sample("gif/pillow"), settings=fresh)
        others = [checker.error_code(sample("png/hand"), settings=fresh) for _ in range(5)]
    assert dying.result() == code
    assert others == [None] * 5
    sandbox.close()


def test_relative_paths_are_resolved_in_the_parent(checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checker.folder)
    relative = Checker(Path(), checker.sandbox)
    assert relative.check(sample("png/hand")).detected.ext == "png"


FUZZED = [label for label in SAMPLES if label not in {"ppt/libreoffice", "png/palette"}]


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_accepted_or_refused_for_good(checker: Checker, data: st.DataObject) -> None:
    label = data.draw(st.sampled_from(FUZZED))
    content = bytearray(sample(label))
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(1, len(content))))
    error = error_of(lambda: checker.check(bytes(content[:cut]), settings=ALL_TYPES))
    assert error is None or isinstance(error, PermanentError)
    assert error is None or error.code not in {Code.DECODER_CRASH, Code.INTERNAL}, f"{label}: {error}"


def test_a_truncated_gif_raises_pipeline_error_and_keeps_the_child(checker: Checker) -> None:
    with pytest.raises(PipelineError):
        checker.check(b"GIF89a")
    assert psutil.pid_exists(checker.sandbox.call("tests.support.hostile_decoders:pid"))
