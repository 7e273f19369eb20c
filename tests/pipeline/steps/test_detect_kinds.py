"""The step detect: the kind of an attachment, from its content and its declaration."""

from __future__ import annotations

import pytest

from tests.support.checking import ALL_TYPES, Checker, checker, sandbox
from tests.support.odd_files import SOUND_ONLY
from tests.support.samples import media_type_of, sample

__all__ = ["checker", "sandbox"]


@pytest.mark.parametrize(
    ("label", "declared", "kind"),
    [
        ("webp/pillow", "sticker", "sticker"),
        ("webp/animated", "sticker", "sticker"),
        ("webp/pillow", "image", "image"),
        ("webp/pillow", None, "image"),
        ("png/pillow", "sticker", "image"),
        ("ogg/opus", "ptt", "ptt"),
        ("ogg/opus", "audio", "audio"),
        ("ogg/opus", None, "audio"),
        ("m4a/aac", "ptt", "ptt"),
        ("jpeg/pillow", "document", "document"),
        ("mp4/h264", "document", "document"),
        ("mp4/h264", "image", "video"),
        ("pdf/hand", "image", "document"),
        ("gif/animated", "video", "image"),
    ],
)
def test_kind_follows_from_content_and_declaration(
    checker: Checker, label: str, declared: str | None, kind: str
) -> None:
    detected = checker.detect(sample(label), kind=declared)
    assert detected.kind == kind
    assert bool(detected.mismatch) is (declared not in {None, kind})


@pytest.mark.parametrize(("declared", "kind"), [(None, "audio"), ("video", "audio"), ("ptt", "ptt"), ("document",) * 2])
@pytest.mark.parametrize("label", SOUND_ONLY)
def test_a_container_with_audio_alone_is_audio(checker: Checker, label: str, declared: str | None, kind: str) -> None:
    validated = checker.check(SOUND_ONLY[label](), kind=declared, settings=ALL_TYPES)
    detected, facts = validated.detected, validated.facts
    assert (detected.kind, detected.mime) == (kind, media_type_of(label).mime)
    assert bool(detected.mismatch) is (declared == "video")
    assert facts.width is None
    assert 990 <= (facts.duration_ms or 0) <= 1080


@pytest.mark.parametrize("declared", ["audio", "ptt"])
@pytest.mark.parametrize("label", ["mp4/h264", "mov/h264", "avi/mpeg4", "avi/h264", "3gp/h263", "mkv/h264", "webm/vp9"])
def test_a_video_declared_as_audio_is_video(checker: Checker, label: str, declared: str) -> None:
    detected = checker.check(sample(label), kind=declared, settings=ALL_TYPES).detected
    assert (detected.kind, detected.mime) == ("video", media_type_of(label).mime)
    assert detected.mismatch == f"sent as {declared}, is video"
